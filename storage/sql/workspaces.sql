-- name: link
-- A workspace belongs to a team from now on
INSERT INTO workspaces (surface, key, team) VALUES (%(surface)s, %(key)s, %(team)s)
ON CONFLICT (surface, key) DO UPDATE SET team = excluded.team;

-- name: team
-- The team of a workspace
SELECT t.* FROM teams t JOIN workspaces w ON w.team = t.id WHERE w.surface = %(surface)s AND w.key = %(key)s;

-- name: all
-- All workspaces of a surface
SELECT w.key, w.team FROM workspaces w WHERE w.surface = %(surface)s ORDER BY w.key;

-- name: unlink
-- A workspace belongs to no team any more
DELETE FROM workspaces WHERE surface = %(surface)s AND key = %(key)s;
