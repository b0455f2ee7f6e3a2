-- name: save
-- Keep an answer, once an event
INSERT INTO answers (person_id, audience_id, surface, thread, event_id, question, text, route, quoted, version_id, memory_id,
  sources, prompt_tokens, completion_tokens, latency_ms, confidence)
VALUES (%(person_id)s, %(audience_id)s, %(surface)s, %(thread)s, %(event_id)s, %(question)s, %(text)s, %(route)s, %(quoted)s,
  %(version_id)s, %(memory_id)s, %(sources)s, %(prompt_tokens)s, %(completion_tokens)s, %(latency_ms)s, %(confidence)s)
ON CONFLICT (team_id, surface, event_id) WHERE event_id IS NOT NULL DO NOTHING
RETURNING *;

-- name: by_event
-- The answer to an event
SELECT * FROM answers WHERE surface = %(surface)s AND event_id = %(event_id)s;

-- name: get
-- An answer by id
SELECT * FROM answers WHERE id = %(id)s;

-- name: thread
-- The last answers of a thread, newest first
SELECT * FROM answers WHERE surface = %(surface)s AND thread = %(thread)s ORDER BY id DESC LIMIT %(limit)s;

-- name: recent
-- The answers since a time
SELECT * FROM answers WHERE created_at >= %(since)s ORDER BY id;
