-- name: confine
-- Become the application role, confined to one team, until the transaction ends
SELECT set_config('role', 'nightschool_app', true), set_config('nightschool.team', %(team)s, true);

-- name: begin
-- Begin a transaction of the system, and see that the connection lives
SELECT 1;
