-- name: ensure
-- Make a source or rename it; its switches stay as the team set them
INSERT INTO sources (kind, key, name, training) VALUES (%(kind)s, %(key)s, %(name)s, %(training)s)
ON CONFLICT (team_id, kind, key) DO UPDATE SET name = excluded.name
RETURNING *;

-- name: all
-- All sources
SELECT * FROM sources ORDER BY id;

-- name: held
-- How many documents, messages and things told of each source stand
SELECT s.id,
  (SELECT count(*) FROM documents d WHERE d.source_id = s.id AND d.superseded_at IS NULL AND d.retracted_at IS NULL)
  + (SELECT count(*) FROM messages m WHERE m.source_id = s.id AND m.arrived AND m.deleted_at IS NULL)
  + (SELECT count(*) FROM memories t WHERE s.kind = 'told' AND t.kind IN ('correction', 'pinned') AND t.reason IS NULL) AS items
FROM sources s;

-- name: switch
-- Turn retrieval or training on or off
UPDATE sources SET retrieval = coalesce(%(retrieval)s, retrieval), training = coalesce(%(training)s, training)
WHERE id = %(id)s RETURNING *;

-- name: record
-- Note how a sync went
UPDATE sources SET cursor = %(cursor)s, state = %(state)s, error = %(error)s,
  synced_at = CASE WHEN %(error)s::text IS NULL THEN now() ELSE synced_at END
WHERE id = %(id)s RETURNING *;
