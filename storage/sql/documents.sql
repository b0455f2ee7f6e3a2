-- name: current_of_key
-- The current revision of a document
SELECT * FROM documents
WHERE source_id = %(source_id)s AND key = %(key)s AND superseded_at IS NULL AND retracted_at IS NULL;

-- name: touch
-- Take over what may change without a new revision
UPDATE documents SET meta = %(meta)s, uri = %(uri)s, author = %(author)s, audience_id = %(audience_id)s WHERE id = %(id)s;

-- name: supersede
-- Let a revision give way to the next
UPDATE documents SET superseded_at = clock_timestamp() WHERE id = %(id)s;

-- name: drop_passages
-- Delete the passages of a revision that is no longer current
DELETE FROM passages WHERE document_id = %(id)s;

-- name: insert
-- Keep a new revision
INSERT INTO documents (source_id, key, revision, title, uri, text, sha256, author, written_at, audience_id, meta)
SELECT %(source_id)s, %(key)s,
  coalesce((SELECT max(revision) FROM documents WHERE source_id = %(source_id)s AND key = %(key)s), 0) + 1,
  %(title)s, %(uri)s, %(text)s, %(sha256)s, %(author)s, %(written_at)s, %(audience_id)s, %(meta)s
RETURNING *;

-- name: retract
-- Retract the current revision of a document
UPDATE documents SET retracted_at = clock_timestamp()
WHERE source_id = %(source_id)s AND key = %(key)s AND superseded_at IS NULL AND retracted_at IS NULL RETURNING id;

-- name: ids_of_key
-- All revisions of a document
SELECT id FROM documents WHERE source_id = %(source_id)s AND key = %(key)s;

-- name: current
-- The current documents, of one source or all
SELECT * FROM documents
WHERE superseded_at IS NULL AND retracted_at IS NULL AND source_id = coalesce(%(source_id)s::bigint, source_id)
ORDER BY source_id, key;

-- name: metas
-- The connector's notes on a source's current documents
SELECT key, meta FROM documents WHERE source_id = %(source_id)s AND superseded_at IS NULL AND retracted_at IS NULL;

-- name: unindexed
-- Current documents without this embedder's passages
SELECT * FROM documents
WHERE superseded_at IS NULL AND retracted_at IS NULL AND indexed_by IS DISTINCT FROM %(embedder)s ORDER BY id;
