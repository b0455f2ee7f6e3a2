-- name: save
-- Note where an answer stands; its answer follows once it is stored
INSERT INTO posts (surface, channel, key, thread, event_id, answer_id, part)
VALUES (%(surface)s, %(channel)s, %(key)s, %(thread)s, %(event_id)s, %(answer_id)s, %(part)s)
ON CONFLICT (team_id, surface, channel, key) DO UPDATE SET event_id = excluded.event_id,
  answer_id = coalesce(excluded.answer_id, posts.answer_id);

-- name: get
-- What stands at a place
SELECT * FROM posts WHERE surface = %(surface)s AND channel = %(channel)s AND key = %(key)s;

-- name: of_event
-- Where the answer to an event stands, part after part
SELECT * FROM posts WHERE surface = %(surface)s AND event_id = %(event_id)s ORDER BY part, created_at;

-- name: of_thread
-- What stands in a thread, its head included, oldest first
SELECT * FROM posts WHERE surface = %(surface)s AND channel = %(channel)s AND (thread = %(thread)s OR key = %(thread)s) ORDER BY key;

-- name: drop
-- An answer was deleted from its place
DELETE FROM posts WHERE surface = %(surface)s AND channel = %(channel)s AND key = %(key)s;
