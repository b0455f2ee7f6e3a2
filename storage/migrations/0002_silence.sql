-- A source that is switched off for retrieval is silent, whatever its other switch says: the weights recite the statements of its
-- memories, and an answer from them names the statement as its source, so "not quoted" must hold for memories as for passages.

-- `mute`: its source is switched off for retrieval. All else as before.
CREATE OR REPLACE VIEW memories_told WITH (security_invoker = true) AS
SELECT m.team_id, m.id, m.statement, m.context, m.kind, m.state, m.reason, m.document_id, m.message_id, m.answer_id, m.feedback_id,
  m.person_id, m.author, m.audience_id, m.said_at, m.importance, m.superseded_by, m.conflict, m.trainable, m.withheld, m.created_at,
  coalesce(d.title, s.channel, m.author) AS title, coalesce(d.uri, '') AS uri,
  coalesce(NOT o.retrieval, false) AS mute, coalesce(o.training, true) AS source_trains
FROM memories m
LEFT JOIN documents d ON d.team_id = m.team_id AND d.id = m.document_id
LEFT JOIN messages s ON s.team_id = m.team_id AND s.id = m.message_id
LEFT JOIN sources o ON o.team_id = m.team_id AND o.id = coalesce(d.source_id, s.source_id);
