-- name: record
-- Keep feedback once, or give a waiting retraction its feedback; without a time of its own it never outlives a retraction
INSERT INTO feedback (surface, event_id, answer_id, person_id, kind, value, text, created_at)
VALUES (%(surface)s, %(event_id)s, %(answer_id)s, %(person_id)s, %(kind)s, %(value)s, %(text)s, coalesce(%(at)s, clock_timestamp()))
ON CONFLICT (team_id, surface, event_id) DO UPDATE SET answer_id = excluded.answer_id, person_id = excluded.person_id,
  kind = excluded.kind, value = excluded.value, text = excluded.text, created_at = greatest(feedback.created_at, %(at)s)
WHERE feedback.kind IS NULL OR %(at)s > feedback.created_at
RETURNING id, answer_id, person_id, surface, event_id, kind, value, text, created_at,
  CASE WHEN retracted_at >= created_at THEN retracted_at END AS retracted_at;

-- name: find_standing
-- Feedback of an event, if it stands
SELECT id FROM feedback
WHERE surface = %(surface)s AND event_id = %(event_id)s AND kind IS NOT NULL AND (retracted_at IS NULL OR retracted_at < created_at);

-- name: retract
-- Take feedback back, or note the retraction for when the feedback arrives
INSERT INTO feedback (surface, event_id, created_at, retracted_at)
VALUES (%(surface)s, %(event_id)s, coalesce(%(at)s, clock_timestamp()), coalesce(%(at)s, clock_timestamp()))
ON CONFLICT (team_id, surface, event_id) DO UPDATE SET
  retracted_at = greatest(feedback.retracted_at, coalesce(%(at)s, clock_timestamp(), feedback.created_at))
RETURNING id, answer_id, person_id, surface, event_id, kind, value, text, created_at,
  CASE WHEN retracted_at >= created_at THEN retracted_at END AS retracted_at;

-- name: standing
-- All feedback on answers that stands; of a person's thumbs on an answer only the last
SELECT * FROM (
  SELECT id, answer_id, person_id, surface, event_id, kind, value, text, created_at, NULL::timestamptz AS retracted_at,
    row_number() OVER (
      PARTITION BY answer_id, person_id, kind, CASE WHEN kind <> 'thumbs' OR person_id IS NULL THEN id END
      ORDER BY created_at DESC, id DESC
    ) AS place
  FROM feedback WHERE answer_id IS NOT NULL AND (retracted_at IS NULL OR retracted_at < created_at)
) last
WHERE place = 1 AND created_at >= coalesce(%(since)s, '-infinity'::timestamptz) ORDER BY created_at, id;

-- name: of_answer
-- The feedback that stands on one answer
SELECT id, answer_id, person_id, surface, event_id, kind, value, text, created_at, NULL::timestamptz AS retracted_at FROM feedback
WHERE answer_id = %(answer)s AND (retracted_at IS NULL OR retracted_at < created_at) ORDER BY created_at, id;

-- name: of_message
-- The feedback that stands and was given by a message or an edit of it
SELECT id, answer_id, person_id, surface, event_id, kind, value, text, created_at, NULL::timestamptz AS retracted_at FROM feedback
WHERE surface = %(surface)s AND (event_id = %(event_id)s OR starts_with(event_id, %(event_id)s || ':'))
  AND kind IS NOT NULL AND (retracted_at IS NULL OR retracted_at < created_at) ORDER BY event_id;
