-- A memory that was told more than once goes only when each of its tellings has been taken back; said is it when it was told last.
CREATE TABLE tellings (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  memory_id bigint NOT NULL,
  feedback_id bigint NOT NULL,
  said_at timestamptz NOT NULL,
  PRIMARY KEY (team_id, memory_id, feedback_id),
  FOREIGN KEY (team_id, memory_id) REFERENCES memories ON DELETE CASCADE,
  FOREIGN KEY (team_id, feedback_id) REFERENCES feedback ON DELETE CASCADE
);
CREATE INDEX tellings_of_feedback ON tellings (team_id, feedback_id);
INSERT INTO tellings SELECT m.team_id, m.id, f.id, coalesce(m.said_at, m.created_at) FROM memories m JOIN feedback f ON f.team_id = m.team_id AND f.id = m.feedback_id;
SELECT nightschool_confine('tellings');
