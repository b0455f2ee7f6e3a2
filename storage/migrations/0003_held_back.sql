-- What a night held back in a dispute of two people is not told until the dispute is settled: neither from the ledger (who asks
-- for the nearest memories sees `conflict`) nor from the notes.

-- `told`: the parent stands, is not held back, and its source is switched on for retrieval. All else as before.
CREATE OR REPLACE VIEW passages_told WITH (security_invoker = true) AS
SELECT p.team_id, p.id, p.document_id, p.message_id, p.memory_id, p.ordinal, p.heading, p.text, p.lexemes, p.embedder, p.embedding,
  coalesce(d.audience_id, s.audience_id, m.audience_id) AS audience_id,
  coalesce(d.written_at, s.said_at, m.said_at) AS written_at,
  coalesce(d.title, s.channel, m.author) AS title,
  coalesce(d.uri, '') AS uri,
  CASE
    WHEN p.memory_id IS NOT NULL THEN m.state NOT IN ('retracted', 'forgotten') AND m.conflict IS NULL
    WHEN p.document_id IS NOT NULL THEN d.superseded_at IS NULL AND d.retracted_at IS NULL AND o.retrieval
    ELSE s.arrived AND s.deleted_at IS NULL AND o.retrieval
  END AS told
FROM passages p
LEFT JOIN documents d ON d.team_id = p.team_id AND d.id = p.document_id
LEFT JOIN messages s ON s.team_id = p.team_id AND s.id = p.message_id
LEFT JOIN memories m ON m.team_id = p.team_id AND m.id = p.memory_id
LEFT JOIN sources o ON o.team_id = p.team_id AND o.id = coalesce(d.source_id, s.source_id);
