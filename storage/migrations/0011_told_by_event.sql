-- What people told the bot to remember is known by its event, as a correction is, and so is what they told it to forget.

-- `remember` is about no answer. A row waits for its feedback while it has no kind.
ALTER TABLE feedback DROP CONSTRAINT feedback_kind_check,
  ADD CONSTRAINT feedback_kind_check CHECK (kind IN ('thumbs', 'emoji', 'correction', 'remember')),
  ADD CONSTRAINT feedback_answer_check CHECK (kind IS NULL OR (kind = 'remember') = (answer_id IS NULL));

-- What an event forgot, so that the same event again forgets no other; the words are the memories'.
CREATE TABLE forgettings (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  surface text NOT NULL,
  event_id text NOT NULL,
  memory_ids bigint[] NOT NULL,
  forgotten_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (team_id, surface, event_id)
);
SELECT nightschool_confine('forgettings');
