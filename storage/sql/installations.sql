-- name: save
-- Keep an installation, in place of an earlier one of the workspace
INSERT INTO installations (surface, workspace, bot_user, bot, app, scopes, tokens, installed_by)
VALUES (%(surface)s, %(workspace)s, %(bot_user)s, %(bot)s, %(app)s, %(scopes)s, %(tokens)s, %(installed_by)s)
ON CONFLICT (team_id, surface, workspace) DO UPDATE SET bot_user = excluded.bot_user, bot = excluded.bot, app = excluded.app,
  scopes = excluded.scopes, tokens = excluded.tokens, installed_by = excluded.installed_by, installed_at = now(), revoked_at = NULL;

-- name: get
-- The installation of a workspace
SELECT * FROM installations WHERE surface = %(surface)s AND workspace = %(workspace)s;

-- name: all
-- The team's installations
SELECT * FROM installations ORDER BY surface, workspace;

-- name: renew
-- Write the tokens anew: rotated by the surface, or encrypted with a newer key
UPDATE installations SET tokens = %(tokens)s WHERE surface = %(surface)s AND workspace = %(workspace)s AND revoked_at IS NULL;

-- name: revoke
-- Erase the tokens of an installation
UPDATE installations SET tokens = NULL, revoked_at = now() WHERE surface = %(surface)s AND workspace = %(workspace)s;
