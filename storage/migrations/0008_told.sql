-- What people tell the bot (corrections, things to remember) is a source of its own with its own switches, of kind `told`.

-- `mute` and `source_trains` hear its switches too. All else as before.
CREATE OR REPLACE VIEW memories_told WITH (security_invoker = true) AS
SELECT m.team_id, m.id, m.statement, m.context, m.kind, m.state, m.reason, m.document_id, m.message_id, m.answer_id, m.feedback_id,
  m.person_id, m.author, m.audience_id, m.said_at, m.importance, m.superseded_by, m.conflict, m.trainable, m.withheld, m.created_at,
  coalesce(d.title, s.channel, m.author) AS title, coalesce(d.uri, s.uri, '') AS uri,
  NOT coalesce(o.retrieval, f.retrieval, true) AS mute, coalesce(o.training, f.training, true) AND coalesce((w.settings ->> 'study')::boolean, true) AS source_trains
FROM memories m
LEFT JOIN documents d ON d.team_id = m.team_id AND d.id = m.document_id
LEFT JOIN messages s ON s.team_id = m.team_id AND s.id = m.message_id
LEFT JOIN sources o ON o.team_id = m.team_id AND o.id = coalesce(d.source_id, s.source_id)
LEFT JOIN persons w ON w.team_id = m.team_id AND w.id = m.person_id
LEFT JOIN sources f ON f.team_id = m.team_id AND f.kind = 'told' AND m.kind IN ('correction', 'pinned');

-- `told`: its retrieval is on, for what a person said. All else as before.
CREATE OR REPLACE VIEW passages_told WITH (security_invoker = true) AS
SELECT p.team_id, p.id, p.document_id, p.message_id, p.memory_id, p.ordinal, p.heading, p.text, p.lexemes, p.embedder, p.embedding,
  coalesce(d.audience_id, s.audience_id, m.audience_id) AS audience_id,
  coalesce((
    SELECT max(since.said_at) FROM memories since
    WHERE since.team_id = p.team_id AND since.document_id = p.document_id
      AND md5(since.statement) = md5(p.text) AND since.statement = p.text
  ), d.written_at, s.said_at, m.said_at) AS written_at,
  coalesce(d.title, s.channel, m.author) AS title,
  coalesce(d.uri, s.uri, '') AS uri,
  CASE
    WHEN p.memory_id IS NOT NULL THEN m.state NOT IN ('retracted', 'forgotten') AND m.conflict IS NULL AND coalesce(f.retrieval, true)
    WHEN p.document_id IS NOT NULL THEN d.superseded_at IS NULL AND d.retracted_at IS NULL AND o.retrieval
    ELSE s.arrived AND s.deleted_at IS NULL AND o.retrieval
  END AND NOT EXISTS (
    SELECT FROM memories silenced LEFT JOIN memories newer ON newer.team_id = silenced.team_id AND newer.id = silenced.superseded_by
    WHERE silenced.team_id = p.team_id AND md5(silenced.statement) = md5(p.text) AND silenced.statement = p.text
      AND (silenced.reason = 'asked' OR newer.id IS NOT NULL)
      AND NOT EXISTS (
        SELECT FROM memories again
        WHERE again.team_id = p.team_id AND md5(again.statement) = md5(p.text) AND again.statement = p.text
          AND again.audience_id = coalesce(d.audience_id, s.audience_id, m.audience_id)
          AND again.state NOT IN ('retracted', 'forgotten') AND again.conflict IS NULL
          AND CASE
            WHEN silenced.reason = 'asked' THEN again.kind IN ('correction', 'pinned') AND again.said_at > silenced.retracted_at
            ELSE coalesce(again.said_at, again.created_at) > coalesce(newer.said_at, newer.created_at)
          END
      )
  ) AS told
FROM passages p
LEFT JOIN documents d ON d.team_id = p.team_id AND d.id = p.document_id
LEFT JOIN messages s ON s.team_id = p.team_id AND s.id = p.message_id
LEFT JOIN memories m ON m.team_id = p.team_id AND m.id = p.memory_id
LEFT JOIN sources o ON o.team_id = p.team_id AND o.id = coalesce(d.source_id, s.source_id)
LEFT JOIN sources f ON f.team_id = m.team_id AND f.kind = 'told' AND m.kind IN ('correction', 'pinned');
