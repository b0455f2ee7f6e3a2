-- name: drop
-- Delete the pairs of a night
DELETE FROM preferences WHERE night_id = %(night_id)s;

-- name: insert
-- Keep a pair
INSERT INTO preferences (night_id, prompt, chosen, rejected, weight, reason, feedback_ids)
VALUES (%(night_id)s, %(prompt)s, %(chosen)s, %(rejected)s, %(weight)s, %(reason)s, %(feedback_ids)s::bigint[]);

-- name: of_night
-- The pairs of a night
SELECT * FROM preferences WHERE night_id = %(night_id)s ORDER BY id;
