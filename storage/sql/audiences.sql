-- name: find
-- An audience by what it is
SELECT * FROM audiences WHERE kind = %(kind)s AND key = %(key)s;

-- name: ensure
-- Make an audience or rename it
INSERT INTO audiences (kind, key, name) VALUES (%(kind)s, %(key)s, %(name)s)
ON CONFLICT (team_id, kind, key) DO UPDATE SET name = coalesce(nullif(excluded.name, ''), audiences.name)
RETURNING *;

-- name: add_member
-- Add one member
INSERT INTO audience_members (audience_id, person_id) VALUES (%(audience)s, %(person)s) ON CONFLICT DO NOTHING;

-- name: add_members
-- Add members
INSERT INTO audience_members (audience_id, person_id) SELECT %(audience)s, unnest(%(persons)s::bigint[]) ON CONFLICT DO NOTHING;

-- name: drop_member
-- Drop one member
DELETE FROM audience_members WHERE audience_id = %(audience)s AND person_id = %(person)s;

-- name: drop_members
-- Drop the members who are not named
DELETE FROM audience_members WHERE audience_id = %(audience)s AND person_id <> ALL(%(persons)s::bigint[]);

-- name: visible
-- The audiences that may be used where a person asks
WITH place AS (
  SELECT id, kind FROM audiences WHERE id = %(place)s
), private AS (
  SELECT %(place)s::bigint IS NULL OR EXISTS (SELECT FROM place WHERE kind = 'person' AND id IN (
    SELECT audience_id FROM audience_members WHERE person_id = %(person)s
  )) AS yes
)
SELECT a.id FROM audiences a, private
WHERE a.kind = 'team'
  OR a.id IN (SELECT id FROM place)
  OR (private.yes AND a.id IN (SELECT audience_id FROM audience_members WHERE person_id = %(person)s))
ORDER BY a.id;
