-- What the notes may quote, in one place: what somebody asked to forget, or a newer statement overrides, is not told, though its page
-- still says it. And how old it is: a sentence that no edit changed is as old as its memory, not as its page's newest revision.

-- `told`: the parent stands, is not held back, its source is switched on for retrieval, and what it says is not silenced. Silenced is
-- by its words: what was overridden, on whatever page, until something that stands says it, for the same audience, later than what
-- overrode it; what was forgotten, until a person says it again.
CREATE OR REPLACE VIEW passages_told WITH (security_invoker = true) AS
SELECT p.team_id, p.id, p.document_id, p.message_id, p.memory_id, p.ordinal, p.heading, p.text, p.lexemes, p.embedder, p.embedding,
  coalesce(d.audience_id, s.audience_id, m.audience_id) AS audience_id,
  coalesce((
    SELECT max(since.said_at) FROM memories since
    WHERE since.team_id = p.team_id AND since.document_id = p.document_id
      AND md5(since.statement) = md5(p.text) AND since.statement = p.text
  ), d.written_at, s.said_at, m.said_at) AS written_at,
  coalesce(d.title, s.channel, m.author) AS title,
  coalesce(d.uri, '') AS uri,
  CASE
    WHEN p.memory_id IS NOT NULL THEN m.state NOT IN ('retracted', 'forgotten') AND m.conflict IS NULL
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
LEFT JOIN sources o ON o.team_id = p.team_id AND o.id = coalesce(d.source_id, s.source_id);
