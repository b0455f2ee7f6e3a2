-- name: hold
-- Lock the adapter's row, so that two cannot begin at once
SELECT id FROM adapters WHERE id = %(adapter_id)s FOR UPDATE;

-- name: running
-- The running night of an adapter and for how long it has been silent
SELECT id, owner, extract(epoch FROM clock_timestamp() - beat_at)::double precision AS silent FROM nights
WHERE adapter_id = %(adapter_id)s AND state = 'running' FOR UPDATE;

-- name: begin
-- Begin a night
INSERT INTO nights (adapter_id, owner) VALUES (%(adapter_id)s, %(owner)s) RETURNING *;

-- name: take
-- Resume a night as its new owner
UPDATE nights SET owner = %(owner)s, beat_at = clock_timestamp() WHERE id = %(id)s RETURNING *;

-- name: step_started
-- Note that a step begins
UPDATE nights SET beat_at = clock_timestamp(), steps = steps || jsonb_build_object(%(name)s::text,
  jsonb_build_object('state', 'running', 'started_at', clock_timestamp(), 'seconds', 0, 'result', '{}'::jsonb))
WHERE id = %(id)s AND state = 'running' AND owner = %(owner)s RETURNING *;

-- name: step_done
-- Note that a step is done, with what it made
UPDATE nights SET beat_at = clock_timestamp(), steps = steps || jsonb_build_object(%(name)s::text, jsonb_build_object(
  'state', 'done',
  'started_at', coalesce(steps -> %(name)s ->> 'started_at', clock_timestamp()::text)::timestamptz,
  'seconds', coalesce(extract(epoch FROM clock_timestamp() - (steps -> %(name)s ->> 'started_at')::timestamptz), 0),
  'result', %(result)s::jsonb))
WHERE id = %(id)s AND state = 'running' AND owner = %(owner)s RETURNING *;

-- name: beat
-- A sign of life
UPDATE nights SET beat_at = clock_timestamp() WHERE id = %(id)s AND state = 'running' AND owner = %(owner)s RETURNING *;

-- name: end
-- End a night with its report
UPDATE nights SET state = %(state)s, report = %(report)s, error = %(error)s, ended_at = clock_timestamp()
WHERE id = %(id)s AND state = 'running' AND owner = %(owner)s RETURNING *;

-- name: latest
-- The newest night of an adapter
SELECT * FROM nights WHERE adapter_id = %(adapter_id)s ORDER BY id DESC LIMIT 1;

-- name: get
-- A night by id
SELECT * FROM nights WHERE id = %(id)s;

-- name: all
-- All nights
SELECT * FROM nights ORDER BY id;
