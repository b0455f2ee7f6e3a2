-- Counts what may change how a message is read: its own edits, and those of what was said before it in its thread.
ALTER TABLE messages ADD COLUMN revision bigint NOT NULL DEFAULT 0;
-- A reply says what it replies to: when that goes, so do its words here.
ALTER TABLE memories ADD COLUMN replied_to bigint;
ALTER TABLE memories ADD FOREIGN KEY (team_id, replied_to) REFERENCES messages ON DELETE SET NULL (replied_to);
CREATE INDEX memories_replied_to ON memories (team_id, replied_to) WHERE replied_to IS NOT NULL;
CREATE INDEX messages_of_thread ON messages (team_id, surface, channel, thread, said_at) WHERE thread IS NOT NULL;

-- `source_trains`: whoever asked what is replied to must allow it too. All else as before.
CREATE OR REPLACE VIEW memories_told WITH (security_invoker = true) AS
SELECT m.team_id, m.id, m.statement, m.context, m.kind, m.state, m.reason, m.document_id, m.message_id, m.answer_id, m.feedback_id,
  m.person_id, m.author, m.audience_id, m.said_at, m.importance, m.superseded_by, m.conflict, m.trainable, m.withheld, m.created_at,
  coalesce(d.title, s.channel, m.author) AS title, coalesce(d.uri, s.uri, '') AS uri,
  NOT coalesce(o.retrieval, f.retrieval, true) AS mute,
  coalesce(o.training, f.training, true) AND coalesce((w.settings ->> 'study')::boolean, true)
    AND coalesce((n.settings ->> 'study')::boolean, true) AS source_trains
FROM memories m
LEFT JOIN documents d ON d.team_id = m.team_id AND d.id = m.document_id
LEFT JOIN messages s ON s.team_id = m.team_id AND s.id = m.message_id
LEFT JOIN messages q ON q.team_id = m.team_id AND q.id = m.replied_to
LEFT JOIN sources o ON o.team_id = m.team_id AND o.id = coalesce(d.source_id, s.source_id)
LEFT JOIN persons w ON w.team_id = m.team_id AND w.id = m.person_id
LEFT JOIN persons n ON n.team_id = m.team_id AND n.id = q.person_id
LEFT JOIN sources f ON f.team_id = m.team_id AND f.kind = 'told' AND m.kind IN ('correction', 'pinned');
