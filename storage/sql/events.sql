-- name: store
-- Keep events once each, in the order given; those kept before are passed over
INSERT INTO events (surface, event_id, lane, kind, payload)
SELECT * FROM unnest(%(surfaces)s::text[], %(event_ids)s::text[], %(lanes)s::text[], %(kinds)s::text[], %(payloads)s::jsonb[])
ON CONFLICT (team_id, surface, event_id) DO NOTHING;

-- name: take
-- Take the oldest errands that are due, one a lane: a lane's next waits for the one before it. A lease that ran out is free again.
-- The lanes' firsts are found in one pass: asking of each errand whether one stands before it is quadratic, and slower still
-- while a long transaction elsewhere keeps those that are done from being swept
WITH firsts AS MATERIALIZED (
  SELECT min(id) AS id FROM errands WHERE surface = ANY(%(surfaces)s::text[]) GROUP BY team, surface, lane
)
UPDATE errands SET taken_until = clock_timestamp() + %(seconds)s * interval '1 second', attempts = attempts + 1
FROM (
  SELECT e.id, e.taken_until IS NOT NULL AS again FROM errands e JOIN firsts USING (id)
  WHERE e.due_at <= clock_timestamp() AND (e.taken_until IS NULL OR e.taken_until < clock_timestamp())
  ORDER BY e.id LIMIT %(limit)s FOR UPDATE OF e SKIP LOCKED
) free
WHERE errands.id = free.id
RETURNING errands.id, errands.team, errands.event, errands.attempts, free.again;

-- name: hold
-- Hold on to errands under way
UPDATE errands SET taken_until = clock_timestamp() + %(seconds)s * interval '1 second' WHERE id = ANY(%(ids)s::bigint[]);

-- name: later
-- Put an errand back, due after a pause; where it was nobody's fault this attempt does not count, but that it was taken is known
UPDATE errands SET attempts = attempts - CASE WHEN %(forgiven)s THEN 1 ELSE 0 END, taken_until = '-infinity',
  due_at = clock_timestamp() + %(seconds)s * interval '1 second' WHERE id = %(id)s;

-- name: get
-- An event still to be worked off
SELECT id, team_id, surface, event_id, kind, payload, received_at FROM events WHERE id = %(id)s AND done_at IS NULL;

-- name: done
-- An event is worked off: its words are no longer kept
UPDATE events SET done_at = clock_timestamp(), payload = '{}', error = %(error)s WHERE id = %(id)s AND done_at IS NULL;

-- name: waiting
-- How many events of a team, or of all, wait, and for how long the oldest has, however often it was put off
SELECT count(*) AS events, coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0)::double precision AS seconds
FROM errands WHERE %(team)s::bigint IS NULL OR team = %(team)s;

-- name: failed
-- Events given up since a time
SELECT id, surface, kind, error, done_at FROM events WHERE error IS NOT NULL AND done_at >= %(since)s ORDER BY id;

-- name: drop_old
-- Drop what was worked off long ago
DELETE FROM events WHERE done_at < clock_timestamp() - %(seconds)s * interval '1 second';
