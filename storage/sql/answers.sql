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

-- name: studied
-- Of some answers those whose question may be studied: whoever asked allows it, and so does what people say there and to the bot
SELECT a.* FROM answers a LEFT JOIN persons p ON p.team_id = a.team_id AND p.id = a.person_id
WHERE a.id = ANY(%(ids)s::bigint[]) AND a.question <> '' AND coalesce((p.settings ->> 'study')::boolean, true)
  AND NOT EXISTS (SELECT FROM sources s WHERE s.kind IN ('told', a.surface) AND NOT s.training)
ORDER BY a.id;

-- name: take_back
-- Blank a question that was deleted, and what it asked before it was edited
UPDATE answers SET question = ''
WHERE surface = %(surface)s AND (event_id = %(event_id)s OR starts_with(event_id, %(event_id)s || ':'))
  AND event_id IS DISTINCT FROM %(keeping)s;

-- name: thread
-- The last answers of a thread, newest first
SELECT * FROM answers WHERE surface = %(surface)s AND thread = %(thread)s ORDER BY id DESC LIMIT %(limit)s;

-- name: recent
-- The answers since a time
SELECT * FROM answers WHERE created_at >= %(since)s ORDER BY id;

-- name: latest
-- The last answers of the team, newest first
SELECT * FROM answers ORDER BY id DESC LIMIT %(limit)s;

-- name: unanswered
-- What a person or somebody in a place of the whole team asked last without an answer, and nobody has taught since
SELECT question FROM (
  SELECT DISTINCT ON (lower(btrim(question))) id, question, route FROM answers
  WHERE created_at >= %(since)s AND question <> '' AND (person_id = %(person)s OR audience_id = %(everyone)s)
  ORDER BY lower(btrim(question)), id DESC
) latest
WHERE route = 'unknown' AND NOT EXISTS (
  SELECT FROM memories m WHERE m.answer_id = latest.id AND m.reason IS NULL AND m.audience_id = ANY(%(audiences)s::bigint[])
)
ORDER BY id DESC LIMIT %(limit)s;
