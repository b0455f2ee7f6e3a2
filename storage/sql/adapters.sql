-- name: find
-- The adapter of a scope
SELECT * FROM adapters WHERE scope = %(scope)s AND person_id IS NOT DISTINCT FROM %(person_id)s::bigint;

-- name: ensure
-- Make the adapter of a scope; the update that changes nothing makes a race's loser see the winner's row
INSERT INTO adapters (scope, person_id, name) VALUES (%(scope)s, %(person_id)s, %(name)s)
ON CONFLICT (team_id, scope, person_id) DO UPDATE SET name = adapters.name RETURNING *;

-- name: all
-- All adapters
SELECT * FROM adapters ORDER BY id;

-- name: hold
-- Lock an adapter's row
SELECT id FROM adapters WHERE id = %(adapter_id)s FOR UPDATE;

-- name: registered
-- The version that a night registered for these very files
SELECT * FROM versions
WHERE adapter_id = %(adapter_id)s AND night_id = %(night_id)s AND sha256 = %(sha256)s AND uri = %(uri)s;

-- name: register
-- Register a candidate
INSERT INTO versions (adapter_id, number, base_model, uri, sha256, bytes, night_id, memory_ids)
SELECT %(adapter_id)s, coalesce((SELECT max(number) FROM versions WHERE adapter_id = %(adapter_id)s), 0) + 1,
  %(base_model)s, %(uri)s, %(sha256)s, %(bytes)s, %(night_id)s, %(memory_ids)s::bigint[]
RETURNING *;

-- name: serving
-- The version at work
SELECT * FROM versions WHERE adapter_id = %(adapter_id)s AND state = 'serving';

-- name: versions
-- All versions of an adapter
SELECT * FROM versions WHERE adapter_id = %(adapter_id)s ORDER BY number;

-- name: get
-- A version by id
SELECT * FROM versions WHERE id = %(id)s;

-- name: retire
-- Retire the version at work
UPDATE versions SET state = 'retired' WHERE adapter_id = %(adapter_id)s AND state = 'serving' AND id <> %(id)s;

-- name: withdraw
-- Retire the version at work without another in its place
UPDATE versions SET state = 'retired' WHERE id = %(id)s RETURNING *;

-- name: serve
-- Put a version to work
UPDATE versions SET state = 'serving' WHERE id = %(id)s RETURNING *;

-- name: tell
-- Tell it to whoever listens, at commit
SELECT pg_notify(%(channel)s, %(payload)s);

-- name: refuse
-- Refuse a version
UPDATE versions SET state = 'refused', why = %(why)s WHERE id = %(id)s AND state NOT IN ('serving', 'erased') RETURNING *;

-- name: earlier
-- The version of a number, or the newest retired one before the one at work
SELECT id FROM versions
WHERE adapter_id = %(adapter_id)s AND CASE
  WHEN %(number)s::integer IS NOT NULL THEN number = %(number)s
  ELSE state = 'retired' AND number < coalesce(
    (SELECT number FROM versions WHERE adapter_id = %(adapter_id)s AND state = 'serving'), 2147483647)
END
ORDER BY number DESC LIMIT 1;

-- name: erase
-- Mark what was trained on any of these memories as erased, but for what serves
UPDATE versions SET state = 'erased' WHERE memory_ids && %(memory_ids)s::bigint[] AND state NOT IN ('serving', 'erased') RETURNING *;
