-- name: identified
-- The person behind a surface's user
SELECT p.* FROM identities i JOIN persons p ON p.team_id = i.team_id AND p.id = i.person_id
WHERE i.surface = %(surface)s AND i.surface_user_id = %(user)s;

-- name: make
-- Make a person with a first identity
WITH person AS (
  INSERT INTO persons (name, email) VALUES (%(name)s, %(email)s) RETURNING *
), identity AS (
  INSERT INTO identities (surface, surface_user_id, person_id) SELECT %(surface)s, %(user)s, id FROM person
)
SELECT * FROM person;

-- name: rename
-- Take over a changed name or email
UPDATE persons SET name = coalesce(nullif(%(name)s, ''), name), email = coalesce(%(email)s, email) WHERE id = %(id)s RETURNING *;

-- name: get
-- A person by id
SELECT * FROM persons WHERE id = %(id)s;

-- name: all
-- All persons of the team
SELECT * FROM persons ORDER BY id;

-- name: surfaces
-- The surfaces of each person
SELECT person_id, array_agg(DISTINCT surface ORDER BY surface) AS surfaces FROM identities GROUP BY person_id;

-- name: set_role
-- Make somebody an admin or a member
UPDATE persons SET role = %(role)s WHERE id = %(id)s;

-- name: choose
-- Set some of a person's own switches
UPDATE persons SET settings = settings || %(settings)s WHERE id = %(id)s RETURNING *;
