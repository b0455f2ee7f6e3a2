-- name: save
-- Keep a channel, with its name, kind and audience as they are now; how it is followed stays
INSERT INTO channels (surface, key, name, kind, audience_id, shared, follow)
VALUES (%(surface)s, %(key)s, %(name)s, %(kind)s, %(audience)s, %(shared)s, %(follow)s)
ON CONFLICT (team_id, surface, key) DO UPDATE SET name = excluded.name, kind = excluded.kind, audience_id = excluded.audience_id,
  shared = excluded.shared, left_at = NULL
RETURNING *;

-- name: get
-- A channel by its surface's id
SELECT * FROM channels WHERE surface = %(surface)s AND key = %(key)s;

-- name: all
-- The channels where the bot is
SELECT * FROM channels WHERE left_at IS NULL ORDER BY surface, name, key;

-- name: members
-- How many persons are known to be in each channel where the bot is; in a public one whoever was met on its surface may be
SELECT c.surface, c.key, CASE a.kind
    WHEN 'team' THEN (SELECT count(DISTINCT i.person_id) FROM identities i WHERE i.team_id = c.team_id AND i.surface = c.surface)
    ELSE (SELECT count(*) FROM audience_members m WHERE m.team_id = c.team_id AND m.audience_id = c.audience_id)
  END AS members
FROM channels c JOIN audiences a ON a.team_id = c.team_id AND a.id = c.audience_id WHERE c.left_at IS NULL;

-- name: follow
-- Choose what is answered in a channel
UPDATE channels SET follow = %(follow)s WHERE surface = %(surface)s AND key = %(key)s RETURNING *;

-- name: members_known
-- The members were read just now, unless somebody came or went meanwhile
UPDATE channels SET members_at = clock_timestamp() WHERE surface = %(surface)s AND key = %(key)s AND changes = %(changes)s;

-- name: members_stale
-- The members are to be read anew before anything is told there
UPDATE channels SET members_at = NULL, changes = changes + 1 WHERE surface = %(surface)s AND key = %(key)s RETURNING *;

-- name: left
-- The bot is no longer in a channel
UPDATE channels SET left_at = now(), members_at = NULL, changes = changes + 1 WHERE surface = %(surface)s AND key = %(key)s;
