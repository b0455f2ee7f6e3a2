-- The queue knows when an event came in: `due_at` moves whenever it is put off, so it does not say for how long one waits.

ALTER TABLE errands ADD COLUMN received_at timestamptz NOT NULL DEFAULT clock_timestamp();
