-- name: hold_document
-- Note a current document as indexed and lock its row
UPDATE documents SET indexed_by = %(embedder)s WHERE id = %(id)s AND superseded_at IS NULL AND retracted_at IS NULL;

-- name: hold_message
-- Note a standing message as indexed and lock its row
UPDATE messages SET indexed_by = %(embedder)s WHERE id = %(id)s AND revision = %(revision)s AND arrived AND deleted_at IS NULL;

-- name: hold_memory
-- Lock a standing memory's row
SELECT id FROM memories WHERE id = %(id)s AND state NOT IN ('retracted', 'forgotten') FOR UPDATE;

-- name: drop
-- Delete the passages of a parent
DELETE FROM passages WHERE document_id = %(document_id)s OR message_id = %(message_id)s OR memory_id = %(memory_id)s;

-- name: insert
-- Keep a passage
INSERT INTO passages (document_id, message_id, memory_id, ordinal, heading, text, embedder, embedding)
VALUES (%(document_id)s, %(message_id)s, %(memory_id)s, %(ordinal)s, %(heading)s, %(text)s, %(embedder)s, %(embedding)s);

-- name: renew
-- Give the passages of memories their memory's vector where they have another embedder's
UPDATE passages p SET embedder = m.embedder, embedding = m.embedding FROM memories m
WHERE m.team_id = p.team_id AND m.id = p.memory_id AND m.embedder = %(embedder)s AND p.embedder <> m.embedder;

-- name: search
-- Reciprocal rank fusion of cosine similarity and full text over what these audiences may know; long columns come last
WITH question AS (
  SELECT string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery AS words
  FROM unnest(to_tsvector('english', %(text)s))
), told AS MATERIALIZED (
  SELECT id, coalesce(1 - nullif(embedding <=> %(embedding)s, 'NaN'), 0) AS similarity,
    CASE WHEN lexemes @@ words THEN ts_rank_cd(lexemes, words, 1) END AS wording
  FROM passages_told, question
  WHERE embedder = %(embedder)s AND told AND audience_id = ANY(%(audiences)s::bigint[])
), near AS (
  SELECT id, row_number() OVER (ORDER BY similarity DESC, id) AS place FROM told ORDER BY place LIMIT %(candidates)s
), worded AS (
  SELECT id, row_number() OVER (ORDER BY wording DESC, id) AS place FROM told
  WHERE wording IS NOT NULL ORDER BY place LIMIT %(candidates)s
), fused AS (
  SELECT id, told.similarity,
    coalesce(1.0 / (%(flatten)s + near.place), 0) + coalesce(1.0 / (%(flatten)s + worded.place), 0) AS rank
  FROM near FULL JOIN worded USING (id) JOIN told USING (id)
  ORDER BY rank DESC, similarity DESC, id LIMIT %(limit)s
)
SELECT p.id, p.document_id, p.message_id, p.memory_id, p.ordinal, p.heading, p.text, p.audience_id, p.written_at, p.title, p.uri,
  fused.similarity, fused.rank
FROM fused JOIN passages_told p USING (id)
ORDER BY fused.rank DESC, fused.similarity DESC, id;

-- name: saying
-- The passages that say these statements word for word, the newest for each
SELECT DISTINCT ON (text) id, document_id, message_id, memory_id, ordinal, heading, text, audience_id, written_at, title, uri
FROM passages_told WHERE text = ANY(%(texts)s::text[]) AND told AND audience_id = ANY(%(audiences)s::bigint[])
ORDER BY text, written_at DESC NULLS LAST, id DESC;

-- name: neighbours
-- The passages around one within its parent
SELECT p.id, p.document_id, p.message_id, p.memory_id, p.ordinal, p.heading, p.text, p.audience_id, p.written_at, p.title, p.uri
FROM passages_told p JOIN passages_told self ON
  (p.document_id, p.message_id, p.memory_id) IS NOT DISTINCT FROM (self.document_id, self.message_id, self.memory_id)
WHERE self.id = %(id)s AND p.told
  AND p.ordinal BETWEEN self.ordinal - %(before)s AND self.ordinal + %(after)s
ORDER BY p.ordinal, p.id;

-- name: all
-- Every passage that may be told to these audiences, in reading order
SELECT id, document_id, message_id, memory_id, ordinal, heading, text, audience_id, written_at, title, uri
FROM passages_told WHERE told AND audience_id = ANY(%(audiences)s::bigint[])
ORDER BY document_id, message_id, memory_id, ordinal;
