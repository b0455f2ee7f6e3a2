-- name: heard
-- The vectors of an audience's memories that stand or are overridden by what stands or did, but for those held back
SELECT t.id, extract(epoch FROM coalesce(t.said_at, t.created_at))::float8 AS dated, m.embedding
FROM memories_told t JOIN memories m USING (team_id, id)
WHERE m.embedder = %(embedder)s AND m.audience_id = %(audience)s AND m.conflict IS NULL
  AND (m.superseded_by IS NOT NULL OR (m.reason IS NULL AND (t.source_trains OR NOT t.mute)))
ORDER BY t.id;
