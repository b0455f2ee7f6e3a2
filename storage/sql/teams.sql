-- name: ensure
-- Make a team, or rename it where a name is given
INSERT INTO teams (key, name) VALUES (%(key)s, coalesce(%(name)s, %(key)s))
ON CONFLICT (key) DO UPDATE SET name = coalesce(%(name)s, teams.name)
RETURNING *;

-- name: get
-- A team by its key
SELECT * FROM teams WHERE key = %(key)s;

-- name: hold
-- A team by its id, locked so that two changes cannot undo each other
SELECT * FROM teams WHERE id = %(id)s FOR UPDATE;

-- name: all
-- All teams
SELECT * FROM teams ORDER BY id;

-- name: update
-- Change a team's name, hours and settings
UPDATE teams SET name = %(name)s, timezone = %(timezone)s, night_at = %(night_at)s, settings = %(settings)s WHERE id = %(id)s;
