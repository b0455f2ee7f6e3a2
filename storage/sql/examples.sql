-- name: drop
-- Delete the examples of a memory
DELETE FROM examples WHERE memory_id = %(memory_id)s;

-- name: asked
-- All questions that people really asked
SELECT id, memory_id, kind, question, answer FROM examples WHERE kind = 'asked' ORDER BY id;

-- name: remove
-- Delete single examples
DELETE FROM examples WHERE id = ANY(%(ids)s::bigint[]);

-- name: insert
-- Keep an example, unless its memory was forgotten or deleted meanwhile
WITH held AS (SELECT id FROM memories WHERE id = %(memory_id)s AND coalesce(reason, '') NOT IN ('asked', 'retracted') FOR SHARE)
INSERT INTO examples (memory_id, kind, question, answer, embedder, embedding)
SELECT id, %(kind)s, %(question)s, %(answer)s, %(embedder)s::text, %(embedding)s::vector FROM held
RETURNING id, memory_id, kind, question, answer;

-- name: of_memories
-- The examples of memories
SELECT id, memory_id, kind, question, answer FROM examples WHERE memory_id = ANY(%(ids)s::bigint[]) ORDER BY memory_id, id;

-- name: quiz
-- The quiz examples of all memories that stand
SELECT e.id, e.memory_id, e.kind, e.question, e.answer FROM examples e
JOIN memories m ON m.team_id = e.team_id AND m.id = e.memory_id
WHERE e.kind = 'quiz' AND m.state IN ('noted', 'studied', 'learnt') ORDER BY e.memory_id, e.id;

-- name: unembedded
-- The examples of standing memories with another embedder's embedding
SELECT e.id, e.memory_id, e.kind, e.question, e.answer FROM examples e
JOIN memories m ON m.team_id = e.team_id AND m.id = e.memory_id
WHERE m.state NOT IN ('retracted', 'forgotten') AND e.embedder <> %(embedder)s ORDER BY e.id;

-- name: embed
-- Keep the embedding of a question
UPDATE examples SET embedder = %(embedder)s, embedding = %(embedding)s WHERE id = %(id)s;
