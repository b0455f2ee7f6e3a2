-- Counts what may change how a message is read: its own edits, and those of what was said before it in its thread.
ALTER TABLE messages ADD COLUMN revision bigint NOT NULL DEFAULT 0;
-- A reply says what it replies to: when that goes, so do its words here.
ALTER TABLE memories ADD COLUMN replied_to bigint;
ALTER TABLE memories ADD FOREIGN KEY (team_id, replied_to) REFERENCES messages ON DELETE SET NULL (replied_to);
CREATE INDEX memories_replied_to ON memories (team_id, replied_to) WHERE replied_to IS NOT NULL;
CREATE INDEX messages_of_thread ON messages (team_id, surface, channel, thread, said_at) WHERE thread IS NOT NULL;
