-- name: hold
-- Hold a lock of the current team by name until the transaction ends
SELECT pg_advisory_xact_lock(hashtextextended(coalesce(current_setting('nightschool.team', true), '') || ':' || %(what)s, 0));
