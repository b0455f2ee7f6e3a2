-- name: save
-- Keep a version's exam
INSERT INTO exams (night_id, version_id, results, passed) VALUES (%(night_id)s, %(version_id)s, %(results)s, %(passed)s)
ON CONFLICT (team_id, version_id) DO UPDATE SET night_id = excluded.night_id, results = excluded.results,
  passed = excluded.passed, created_at = now()
RETURNING *;

-- name: of_version
-- The exam of a version
SELECT * FROM exams WHERE version_id = %(version_id)s;
