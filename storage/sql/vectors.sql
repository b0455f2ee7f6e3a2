-- name: heard
-- The vectors of what stands or was overridden and is in no dispute, of the audiences of some memories
SELECT t.id, t.audience_id, extract(epoch FROM coalesce(t.said_at, t.created_at))::float8 AS dated, m.embedding
FROM memories_told t JOIN memories m USING (team_id, id)
WHERE m.embedder = %(embedder)s AND m.conflict IS NULL AND (m.reason IS NULL OR m.reason = 'overridden')
  AND (t.source_trains OR NOT t.mute) AND m.audience_id IN (SELECT audience_id FROM memories WHERE id = ANY(%(ids)s::bigint[]))
ORDER BY t.id;
