-- name: find
-- The memory of a statement and provenance; revisions of one document are one provenance
SELECT m.id, m.state, m.reason FROM memories m
WHERE md5(m.statement) = md5(%(statement)s) AND m.statement = %(statement)s AND m.kind = %(kind)s
  AND CASE
    WHEN %(document_id)s::bigint IS NOT NULL THEN m.document_id IN (
      SELECT other.id FROM documents this JOIN documents other
        ON other.team_id = this.team_id AND other.source_id = this.source_id AND other.key = this.key
      WHERE this.id = %(document_id)s)
    WHEN %(message_id)s::bigint IS NOT NULL THEN m.message_id = %(message_id)s
    WHEN %(answer_id)s::bigint IS NOT NULL THEN m.answer_id = %(answer_id)s AND m.person_id IS NOT DISTINCT FROM %(person_id)s
    ELSE m.document_id IS NULL AND m.message_id IS NULL AND m.answer_id IS NULL AND m.person_id IS NOT DISTINCT FROM %(person_id)s
  END
ORDER BY m.id DESC LIMIT 1;

-- name: insert
-- Note a memory
INSERT INTO memories (statement, context, kind, document_id, message_id, answer_id, feedback_id, person_id, author, audience_id,
  said_at, importance, conflict, trainable, withheld)
VALUES (%(statement)s, %(context)s, %(kind)s, %(document_id)s, %(message_id)s, %(answer_id)s, %(feedback_id)s, %(person_id)s,
  %(author)s, %(audience_id)s, %(said_at)s, %(importance)s, %(conflict)s, %(trainable)s, %(withheld)s)
RETURNING id;

-- name: renote
-- Let a standing memory follow its document to the newest revision
UPDATE memories SET document_id = coalesce(%(document_id)s, document_id), context = %(context)s, audience_id = %(audience_id)s,
  said_at = coalesce(%(said_at)s, said_at), feedback_id = coalesce(%(feedback_id)s, feedback_id)
WHERE id = %(id)s;

-- name: revive
-- Let a retracted memory stand again; as noted only, where an adapter that never saw it went to work after its retraction
UPDATE memories m SET
  state = CASE
    WHEN m.former_state = 'learnt' AND EXISTS (
      SELECT FROM versions v JOIN adapters a ON a.team_id = v.team_id AND a.id = v.adapter_id
      WHERE v.state = 'serving' AND a.scope = 'team' AND v.created_at > m.retracted_at AND NOT m.id = ANY(v.memory_ids)
    ) THEN 'noted'
    ELSE coalesce(m.former_state, 'noted')
  END,
  reason = NULL, former_state = NULL, retracted_at = NULL, superseded_by = NULL,
  document_id = coalesce(%(document_id)s, document_id), context = %(context)s, audience_id = %(audience_id)s,
  said_at = coalesce(%(said_at)s, said_at), author = %(author)s, feedback_id = coalesce(%(feedback_id)s, feedback_id)
WHERE id = %(id)s;

-- name: of_ids
-- Memories by id
SELECT * FROM memories_told WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id;

-- name: of_states
-- Memories by state
SELECT * FROM memories_told WHERE state = ANY(%(states)s::text[]) ORDER BY id;

-- name: gone
-- What versions of an adapter were trained on and nobody may hear any more, what went last first; but for some
SELECT t.* FROM memories_told t JOIN memories m USING (team_id, id)
WHERE m.state IN ('forgotten', 'retracted') AND NOT m.id = ANY(%(except)s::bigint[])
  AND EXISTS (SELECT FROM versions v WHERE v.adapter_id = %(adapter_id)s AND m.id = ANY(v.memory_ids))
ORDER BY m.retracted_at DESC, m.id DESC LIMIT %(limit)s;

-- name: unembedded
-- Standing memories without this embedder's embedding
SELECT t.* FROM memories_told t JOIN memories m USING (team_id, id)
WHERE m.state NOT IN ('retracted', 'forgotten') AND m.embedder IS DISTINCT FROM %(embedder)s ORDER BY t.id;

-- name: of_document
-- The memories of a document's revision
SELECT id FROM memories WHERE document_id = %(id)s;

-- name: of_message
-- The memories of a message
SELECT id FROM memories WHERE message_id = %(id)s;

-- name: of_feedback
-- The memories made from a correction: those that name it, or without a name those of its answer and person
SELECT m.id FROM memories m JOIN feedback f ON f.team_id = m.team_id AND f.id = %(id)s
WHERE m.kind = 'correction' AND (m.feedback_id = f.id
  OR (m.feedback_id IS NULL AND m.answer_id = f.answer_id AND m.person_id IS NOT DISTINCT FROM f.person_id));

-- name: nearest
-- The memories nearest to a question, by statement and by their best example; LATERAL is fast even before tables are analyzed
WITH scored AS MATERIALIZED (
  SELECT m.id, asked.id AS example_id, asked.kind AS example_kind, asked.question, asked.answer,
    asked.similarity AS question_similarity,
    CASE WHEN m.embedder = %(embedder)s THEN coalesce(1 - nullif(m.embedding <=> %(embedding)s, 'NaN'), 0) END AS statement_similarity
  FROM memories m LEFT JOIN LATERAL (
    SELECT e.id, e.kind, e.question, e.answer, coalesce(1 - nullif(e.embedding <=> %(embedding)s, 'NaN'), 0) AS similarity
    FROM examples e
    WHERE e.team_id = m.team_id AND e.memory_id = m.id AND e.kind IN ('cue', 'train') AND e.embedder = %(embedder)s
      AND e.embedding IS NOT NULL
    ORDER BY similarity DESC, e.id LIMIT 1
  ) asked ON true
  WHERE m.state = ANY(%(states)s::text[]) AND m.audience_id = ANY(%(audiences)s::bigint[]) AND m.superseded_by IS NULL
)
SELECT scored.*, CASE
    WHEN question_similarity IS NULL THEN statement_similarity
    WHEN statement_similarity IS NULL THEN question_similarity
    ELSE (question_similarity + statement_similarity) / 2
  END AS similarity
FROM scored JOIN memories_told told USING (id)
WHERE num_nonnulls(question_similarity, statement_similarity) > 0 AND NOT told.mute
ORDER BY similarity DESC, id
LIMIT %(limit)s;

-- name: set_state
-- Move memories to a state; where one is retracted or forgotten by request, only what it would return to
UPDATE memories SET
  state = CASE WHEN reason IS NULL THEN %(state)s ELSE state END,
  former_state = CASE WHEN reason IS NULL THEN former_state ELSE %(state)s END
WHERE id = ANY(%(ids)s::bigint[]);

-- name: retract
-- Retract memories and remember what they were
UPDATE memories SET former_state = CASE WHEN reason IS NULL THEN state ELSE former_state END,
  state = CASE WHEN reason = 'asked' THEN state ELSE 'retracted' END,
  reason = CASE WHEN reason = 'asked' THEN reason ELSE %(reason)s END,
  retracted_at = coalesce(retracted_at, clock_timestamp())
WHERE id = ANY(%(ids)s::bigint[]);

-- name: supersede
-- Retract a memory in favour of a newer one
UPDATE memories SET superseded_by = %(new)s,
  former_state = CASE WHEN reason IS NULL THEN state ELSE former_state END,
  state = CASE WHEN reason IS NULL THEN 'retracted' ELSE state END,
  retracted_at = coalesce(retracted_at, clock_timestamp()),
  reason = coalesce(reason, 'overridden')
WHERE id = %(old)s;

-- name: restore_overridden
-- Let those stand again that were overridden by memories that went
UPDATE memories SET superseded_by = NULL,
  state = CASE WHEN reason = 'overridden' THEN coalesce(former_state, 'noted') ELSE state END,
  former_state = CASE WHEN reason = 'overridden' THEN NULL ELSE former_state END,
  retracted_at = CASE WHEN reason = 'overridden' THEN NULL ELSE retracted_at END,
  reason = nullif(reason, 'overridden')
WHERE superseded_by = ANY(%(ids)s::bigint[]);

-- name: forget
-- Forget a memory by request
UPDATE memories SET former_state = CASE WHEN reason IS NULL THEN state ELSE former_state END, state = 'forgotten', reason = 'asked',
  retracted_at = coalesce(retracted_at, clock_timestamp())
WHERE id = %(id)s;

-- name: drop_passages
-- Delete the passages of memories
DELETE FROM passages WHERE memory_id = ANY(%(ids)s::bigint[]);

-- name: drop_examples
-- Delete the examples of a memory
DELETE FROM examples WHERE memory_id = %(id)s;

-- name: set_withheld
-- Keep a memory from training, or let it
UPDATE memories SET withheld = %(why)s WHERE id = %(id)s;

-- name: set_conflict
-- Hold a memory back in a dispute, or let it stand again
UPDATE memories SET conflict = %(conflict)s WHERE id = %(id)s;

-- name: set_importance
-- Note how much a memory matters
UPDATE memories SET importance = %(importance)s WHERE id = %(id)s;

-- name: embed
-- Keep the embedding of a statement
UPDATE memories SET embedder = %(embedder)s, embedding = %(embedding)s WHERE id = %(id)s;

-- name: move_document
-- Give a document's memories its new audience
UPDATE memories SET audience_id = %(audience)s WHERE document_id = %(document)s;
