-- name: find
-- The memory of a statement and provenance; revisions of one document are one provenance.
-- `unchanged`: no revision without it came between; `overridden`: what overrode it stands, and it was not said anew since
SELECT m.id, m.state, m.reason, since.unchanged,
  m.superseded_by IS NOT NULL
    AND (since.unchanged OR coalesce(o.said_at, o.created_at) > coalesce(%(said_at)s::timestamptz, now())) AS overridden
FROM memories m
LEFT JOIN documents was ON was.team_id = m.team_id AND was.id = m.document_id
LEFT JOIN documents this ON this.id = %(document_id)s::bigint
LEFT JOIN memories o ON o.team_id = m.team_id AND o.id = m.superseded_by
CROSS JOIN LATERAL (SELECT coalesce(this.revision - was.revision <= 1, true) AS unchanged) since
WHERE md5(m.statement) = md5(%(statement)s) AND m.statement = %(statement)s AND m.kind = %(kind)s
  AND CASE
    WHEN %(document_id)s::bigint IS NOT NULL THEN was.source_id = this.source_id AND was.key = this.key
    WHEN %(message_id)s::bigint IS NOT NULL THEN m.message_id = %(message_id)s
    WHEN %(answer_id)s::bigint IS NOT NULL THEN m.answer_id = %(answer_id)s AND m.person_id IS NOT DISTINCT FROM %(person_id)s
    ELSE m.document_id IS NULL AND m.message_id IS NULL AND m.answer_id IS NULL AND m.person_id IS NOT DISTINCT FROM %(person_id)s
  END
ORDER BY m.id DESC LIMIT 1;

-- name: insert
-- Note a memory
INSERT INTO memories (statement, context, kind, document_id, message_id, answer_id, feedback_id, person_id, author, audience_id,
  said_at, importance, trainable, replied_to)
VALUES (%(statement)s, %(context)s, %(kind)s, %(document_id)s, %(message_id)s, %(answer_id)s, %(feedback_id)s, %(person_id)s,
  %(author)s, %(audience_id)s, %(said_at)s, %(importance)s, %(trainable)s, %(replied_to)s)
RETURNING id;

-- name: renote
-- Let a memory follow its document to the newest revision; what is unchanged is said since it was first said.
-- `shared`: what a person told the whole team stays the whole team's
UPDATE memories m SET document_id = coalesce(%(document_id)s, document_id), context = %(context)s,
  audience_id = CASE WHEN everyones.yes THEN m.audience_id ELSE %(audience_id)s END,
  trainable = (everyones.yes AND m.trainable) OR %(trainable)s,
  author = %(author)s, replied_to = %(replied_to)s, feedback_id = coalesce(%(feedback_id)s, feedback_id),
  said_at = CASE
    WHEN %(unchanged)s THEN least(said_at, %(said_at)s)
    WHEN m.kind IN ('correction', 'pinned') THEN greatest(said_at, %(said_at)s)
    ELSE coalesce(%(said_at)s, said_at)
  END,
  reason = CASE WHEN superseded_by IS NULL THEN reason ELSE 'overridden' END
FROM (
  SELECT %(shared)s AND EXISTS (
    SELECT FROM memories told JOIN audiences a ON a.team_id = told.team_id AND a.id = told.audience_id
    WHERE told.id = %(id)s AND told.kind IN ('correction', 'pinned') AND a.kind = 'team'
  ) AS yes
) everyones
WHERE m.id = %(id)s;

-- name: note_telling
-- Note that a memory was told by a feedback
INSERT INTO tellings (memory_id, feedback_id, said_at) VALUES (%(id)s, %(feedback_id)s, coalesce(%(said_at)s, clock_timestamp()))
ON CONFLICT DO NOTHING;

-- name: still_told
-- Let those of some memories that were told by a feedback that stands be said when the last of these told them
UPDATE memories m SET said_at = told.last FROM (
  SELECT t.memory_id AS id, max(t.said_at) AS last FROM tellings t JOIN feedback f ON f.team_id = t.team_id AND f.id = t.feedback_id
  WHERE t.memory_id = ANY(%(ids)s::bigint[]) AND (f.retracted_at IS NULL OR f.retracted_at < f.created_at) GROUP BY 1
) told
WHERE m.id = told.id RETURNING m.id;

-- name: stand_again
-- Let retracted memories stand again; as noted only, where the serving adapter never saw them or somebody had asked to forget them
UPDATE memories m SET
  state = CASE
    WHEN m.reason = 'asked' THEN 'noted'
    WHEN m.former_state = 'learnt' AND NOT EXISTS (
      SELECT FROM versions v JOIN adapters a ON a.team_id = v.team_id AND a.id = v.adapter_id
      WHERE v.team_id = m.team_id AND v.state = 'serving' AND a.scope = 'team' AND m.id = ANY(v.memory_ids)
    ) THEN 'noted'
    ELSE coalesce(m.former_state, 'noted')
  END,
  reason = NULL, former_state = NULL, retracted_at = NULL, superseded_by = NULL
WHERE id = ANY(%(ids)s::bigint[]);

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
-- Memories that stand or were overridden without this embedder's embedding
SELECT t.* FROM memories_told t JOIN memories m USING (team_id, id)
WHERE (m.reason IS NULL OR m.superseded_by IS NOT NULL) AND m.embedder IS DISTINCT FROM %(embedder)s ORDER BY t.id;

-- name: noted
-- Which of these documents and messages have memories that are neither retracted nor forgotten
SELECT DISTINCT document_id, message_id FROM memories
WHERE state <> 'retracted' AND reason IS DISTINCT FROM 'asked' AND (document_id = ANY(%(documents)s::bigint[]) OR message_id = ANY(%(messages)s::bigint[]));

-- name: forgotten
-- What somebody asked to forget of messages
SELECT message_id, statement FROM memories WHERE message_id = ANY(%(messages)s::bigint[]) AND reason = 'asked';

-- name: of_document
-- The memories of a document's revision
SELECT id FROM memories WHERE document_id = %(id)s;

-- name: of_message
-- The memories of a message, and those that say its words because they reply to it
SELECT id FROM memories WHERE message_id = %(id)s OR replied_to = %(id)s;

-- name: of_feedback
-- The memories made from a feedback: those that it told, or corrections without a name of its answer and person
SELECT m.id FROM memories m JOIN feedback f ON f.team_id = m.team_id AND f.id = %(id)s
WHERE EXISTS (SELECT FROM tellings t WHERE t.memory_id = m.id AND t.feedback_id = f.id) OR (m.kind = 'correction' AND m.feedback_id IS NULL
  AND m.answer_id = f.answer_id AND m.person_id IS NOT DISTINCT FROM f.person_id);

-- name: nearest
-- The memories nearest to a question, by statement and by their best example, their own or those of what they override; LATERAL
-- is fast even before tables are analyzed
WITH RECURSIVE meant AS (
  SELECT id, id AS found_by FROM memories
  WHERE state = ANY(%(states)s::text[]) AND audience_id = ANY(%(audiences)s::bigint[]) AND superseded_by IS NULL
  UNION
  SELECT meant.id, old.id FROM memories old JOIN meant ON old.superseded_by = meant.found_by
  WHERE %(by_overridden)s AND old.reason = 'overridden' AND old.audience_id = ANY(%(audiences)s::bigint[])
), scored AS MATERIALIZED (
  SELECT meant.id, meant.found_by, asked.id AS example_id, asked.kind AS example_kind, asked.question, asked.answer,
    asked.similarity AS question_similarity,
    CASE WHEN m.embedder = %(embedder)s THEN coalesce(1 - nullif(m.embedding <=> %(embedding)s, 'NaN'), 0) END AS statement_similarity
  FROM meant JOIN memories m ON m.id = meant.found_by LEFT JOIN LATERAL (
    SELECT e.id, e.kind, e.question, e.answer, coalesce(1 - nullif(e.embedding <=> %(embedding)s, 'NaN'), 0) AS similarity
    FROM examples e
    WHERE e.team_id = m.team_id AND e.memory_id = m.id AND e.kind IN ('cue', 'train', 'asked') AND e.embedder = %(embedder)s
      AND e.embedding IS NOT NULL
    ORDER BY similarity DESC, e.id LIMIT 1
  ) asked ON true
), compared AS (
  SELECT scored.*, CASE
      WHEN question_similarity IS NULL THEN statement_similarity
      WHEN statement_similarity IS NULL THEN question_similarity
      ELSE (question_similarity + statement_similarity) / 2
    END AS similarity
  FROM scored WHERE num_nonnulls(question_similarity, statement_similarity) > 0
), best AS (
  SELECT DISTINCT ON (id) * FROM compared ORDER BY id, similarity DESC, found_by
)
SELECT best.* FROM best JOIN memories_told told USING (id)
WHERE NOT told.mute
ORDER BY similarity DESC, id
LIMIT %(limit)s;

-- name: set_state
-- Move memories to a state; where one is retracted or forgotten by request, only what it would return to
UPDATE memories SET
  learnt_at = CASE WHEN %(state)s <> 'learnt' THEN NULL WHEN state = 'learnt' THEN learnt_at ELSE clock_timestamp() END,
  state = CASE WHEN reason IS NULL THEN %(state)s ELSE state END,
  former_state = CASE WHEN reason IS NULL THEN former_state ELSE %(state)s END
WHERE id = ANY(%(ids)s::bigint[]);

-- name: retract
-- Retract memories and remember what they were; words that somebody deleted are not merely superseded, whatever comes after
UPDATE memories SET former_state = CASE WHEN reason IS NULL THEN state ELSE former_state END,
  state = CASE WHEN reason = 'asked' THEN state ELSE 'retracted' END,
  reason = CASE WHEN reason = 'asked' OR (reason = 'retracted' AND %(reason)s = 'superseded') THEN reason ELSE %(reason)s END,
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

-- name: overridden_by
-- What a memory overrides
SELECT * FROM memories_told WHERE superseded_by = %(id)s ORDER BY id;

-- name: held_against
-- What is held back against a memory
SELECT t.* FROM memories_told t JOIN memories m USING (team_id, id) WHERE m.against = %(id)s ORDER BY t.id;

-- name: overridden_since
-- What newer pages and messages override, since a time
SELECT old.id AS old, new.id AS new FROM memories old JOIN memories new ON new.team_id = old.team_id AND new.id = old.superseded_by
WHERE old.reason = 'overridden' AND new.kind IN ('document', 'message')
  AND (%(since)s::timestamptz IS NULL OR old.retracted_at > %(since)s)
ORDER BY old.id;

-- name: hand_on
-- What went overrides nothing, nor what is older or known to others now: let what it had overridden be overridden by what overrode
-- it, if anything did
UPDATE memories m SET superseded_by = nullif(o.superseded_by, m.id) FROM memories o
WHERE o.team_id = m.team_id AND o.id = m.superseded_by AND (
  o.reason = ANY(%(gone)s::text[]) OR (o.kind IN ('document', 'message') AND (
    o.audience_id <> m.audience_id OR coalesce(o.said_at, o.created_at) < coalesce(m.said_at, m.created_at)
  ))
)
RETURNING m.id, m.superseded_by IS NULL AND m.reason = 'overridden' AS stands;

-- name: let_go
-- Let memories override nothing
UPDATE memories SET superseded_by = NULL WHERE superseded_by = ANY(%(ids)s::bigint[])
RETURNING id, reason = 'overridden' AS stands;

-- name: forget
-- Forget a memory by request
UPDATE memories SET former_state = CASE WHEN reason IS NULL THEN state ELSE former_state END, state = 'forgotten', reason = 'asked',
  retracted_at = coalesce(retracted_at, clock_timestamp())
WHERE id = %(id)s;

-- name: find_forgetting
-- What an event forgot
SELECT memory_ids FROM forgettings WHERE surface = %(surface)s AND event_id = %(event_id)s;

-- name: note_forgetting
-- Note what an event forgot
INSERT INTO forgettings (surface, event_id, memory_ids) VALUES (%(surface)s, %(event_id)s, %(ids)s::bigint[]);

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
-- Hold a memory back in a dispute, if both sides still stand, or let it stand again
UPDATE memories m SET conflict = %(conflict)s, against = %(against)s
WHERE id = %(id)s AND (%(conflict)s::text IS NULL OR (m.reason IS NULL AND NOT EXISTS (
  SELECT FROM memories o WHERE o.team_id = m.team_id AND o.id = %(against)s AND o.reason IS NOT NULL
)));

-- name: disputes
-- Who is held back against whom, where both sides stand and these audiences may know them, the newest first
SELECT m.id AS held_back, o.id AS kept FROM memories m JOIN memories o ON o.team_id = m.team_id AND o.id = m.against
WHERE m.conflict IS NOT NULL AND m.reason IS NULL AND o.reason IS NULL
  AND m.audience_id = ANY(%(audiences)s::bigint[]) AND o.audience_id = ANY(%(audiences)s::bigint[])
ORDER BY greatest(m.said_at, o.said_at) DESC, m.id DESC;

-- name: hold_sides
-- Two memories that stand, each with what it is held back against; nobody else changes them until the transaction ends
SELECT id, against FROM memories WHERE id IN (%(one)s, %(other)s) AND reason IS NULL ORDER BY id FOR UPDATE;

-- name: end_dispute
-- Let stand again both sides of a dispute; who was held back against one that gave way is let go by a trigger
UPDATE memories SET conflict = NULL, against = NULL WHERE id IN (%(keep)s, %(drop)s);

-- name: learnt
-- What the weights have learnt and these audiences may hear, what was learnt last first; else what was said last
SELECT t.statement, coalesce(m.learnt_at, m.said_at, m.created_at) AS at
FROM memories_told t JOIN memories m USING (team_id, id)
WHERE m.state = 'learnt' AND m.conflict IS NULL AND NOT t.mute AND m.audience_id = ANY(%(audiences)s::bigint[])
ORDER BY at DESC, m.id DESC LIMIT %(limit)s;

-- name: told_by
-- What a person told in so many words, the newest first, but for what was taken back or forgotten
SELECT * FROM memories_told
WHERE kind IN ('correction', 'pinned') AND person_id = %(person)s AND audience_id = ANY(%(audiences)s::bigint[])
  AND (reason IS NULL OR reason = 'overridden')
ORDER BY said_at DESC, id DESC LIMIT %(limit)s;

-- name: saying
-- What an audience may hear of lines that are a statement, or a statement with its author; standing or overridden
SELECT * FROM memories_told
WHERE audience_id = %(audience)s AND NOT mute AND (reason IS NULL OR reason = 'overridden')
  AND (statement = ANY(%(lines)s::text[]) OR statement || ' (' || author || ')' = ANY(%(lines)s::text[]))
ORDER BY id;

-- name: embed
-- Keep the embedding of a statement
UPDATE memories SET embedder = %(embedder)s, embedding = %(embedding)s WHERE id = %(id)s;

-- name: move_document
-- Give a document's memories its new audience
UPDATE memories SET audience_id = %(audience)s WHERE document_id = %(document)s;
