-- name: save
-- Keep a message once, or give a waiting edit or deletion its original
INSERT INTO messages (surface, event_id, arrived, source_id, channel, thread, person_id, author, text, said_at, audience_id, uri)
VALUES (%(surface)s, %(event_id)s, true, %(source_id)s, %(channel)s, %(thread)s, %(person_id)s, %(author)s, %(text)s,
  %(said_at)s, %(audience_id)s, %(uri)s)
ON CONFLICT (team_id, surface, event_id) DO UPDATE SET arrived = true, source_id = excluded.source_id, channel = excluded.channel,
  thread = excluded.thread, person_id = excluded.person_id, author = excluded.author, said_at = excluded.said_at,
  audience_id = excluded.audience_id, uri = excluded.uri, revision = messages.revision + 1
WHERE NOT messages.arrived
RETURNING *;

-- name: find
-- A message by its event, arrived or not
SELECT text, arrived, edited_at, deleted_at FROM messages WHERE surface = %(surface)s AND event_id = %(event_id)s;

-- name: edit
-- Take over an edit unless a later one is known; of two at the same time the greater text wins, so that any order ends alike
INSERT INTO messages (surface, event_id, arrived, text, edited_at) VALUES (%(surface)s, %(event_id)s, false, %(text)s, %(edited_at)s)
ON CONFLICT (team_id, surface, event_id) DO UPDATE SET text = excluded.text, edited_at = excluded.edited_at, revision = messages.revision + 1,
  indexed_by = CASE WHEN messages.text = excluded.text THEN messages.indexed_by END
WHERE messages.deleted_at IS NULL
  AND (messages.edited_at IS NULL OR (messages.edited_at, messages.text) < (excluded.edited_at, excluded.text))
RETURNING *;

-- name: delete
-- Delete a message, its text included, or note the deletion for when the original arrives
INSERT INTO messages (surface, event_id, arrived, text, deleted_at) VALUES (%(surface)s, %(event_id)s, false, '', clock_timestamp())
ON CONFLICT (team_id, surface, event_id) DO UPDATE SET text = '', deleted_at = excluded.deleted_at
WHERE messages.deleted_at IS NULL
RETURNING *;

-- name: withdraw
-- Keep of a message only what its edit says, as before it arrived
UPDATE messages SET arrived = false, indexed_by = NULL
WHERE surface = %(surface)s AND event_id = %(event_id)s AND arrived AND deleted_at IS NULL
RETURNING *;

-- name: earlier
-- What was said in a thread before a message, the latest first; of the same audience: a channel may have become private since
SELECT * FROM messages
WHERE surface = %(surface)s AND channel = %(channel)s AND (thread = %(thread)s OR event_id = ANY(%(roots)s::text[]))
  AND said_at <= %(said_at)s AND id <> %(id)s
  AND source_id = %(source_id)s AND audience_id = %(audience_id)s AND arrived AND deleted_at IS NULL
ORDER BY said_at DESC, id DESC LIMIT %(limit)s;

-- name: read_anew
-- Whatever was said in a thread from a time on, and was indexed or noted, is to be indexed again
UPDATE messages SET indexed_by = NULL, revision = revision + 1 WHERE id IN (
  SELECT id FROM messages l
  WHERE surface = %(surface)s AND channel = %(channel)s AND thread = ANY(%(threads)s::text[]) AND said_at >= %(said_at)s
    AND source_id = %(source_id)s AND arrived AND deleted_at IS NULL
    AND (indexed_by IS NOT NULL OR EXISTS (SELECT FROM memories m WHERE m.team_id = l.team_id AND m.message_id = l.id))
  ORDER BY id FOR UPDATE
)
RETURNING id;

-- name: hold
-- Lock messages that stand against edits and deletions
SELECT id, revision FROM messages WHERE id = ANY(%(ids)s::bigint[]) AND arrived AND deleted_at IS NULL ORDER BY id FOR SHARE;

-- name: drop_passages
-- Delete the passages of a message that changed or went
DELETE FROM passages WHERE message_id = %(id)s;

-- name: current
-- The messages that stand, of one source or all
SELECT * FROM messages
WHERE arrived AND deleted_at IS NULL AND source_id = coalesce(%(source_id)s::bigint, source_id) ORDER BY said_at, id;

-- name: unindexed
-- Messages that stand without this embedder's passages
SELECT * FROM messages
WHERE arrived AND deleted_at IS NULL AND indexed_by IS DISTINCT FROM %(embedder)s ORDER BY id;
