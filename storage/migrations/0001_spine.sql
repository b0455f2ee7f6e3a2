-- All nouns of docs' words. Every table but teams belongs to a team: team_id comes from the transaction's setting, row-level
-- security compares it, and foreign keys name it too, since they are checked past row-level security: nothing can point into
-- another team.

-- Confines a table to the current team: to be called for every table with team_id.
CREATE FUNCTION nightschool_confine(target regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  team text := 'nullif(current_setting(''nightschool.team'', true), '''')::bigint';
BEGIN
  EXECUTE format('ALTER TABLE %s ALTER COLUMN team_id SET DEFAULT %s', target, team);
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
  EXECUTE format('CREATE POLICY team ON %s USING (team_id = %s) WITH CHECK (team_id = %s)', target, team, team);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO nightschool_app', target);
END $$;

CREATE TABLE teams (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key text NOT NULL UNIQUE CHECK (key <> ''),
  name text NOT NULL,
  timezone text NOT NULL DEFAULT 'UTC',
  night_at time NOT NULL DEFAULT '02:00',
  settings jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now()
);

-- People and who may know what

CREATE TABLE persons (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  name text NOT NULL,
  email text,
  role text NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'admin')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (team_id, id)
);

CREATE TABLE identities (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  surface text NOT NULL,
  surface_user_id text NOT NULL,
  person_id bigint NOT NULL,
  PRIMARY KEY (team_id, surface, surface_user_id),
  FOREIGN KEY (team_id, person_id) REFERENCES persons ON DELETE CASCADE
);

CREATE TABLE audiences (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL CHECK (kind IN ('team', 'channel', 'person')),
  key text NOT NULL,
  name text NOT NULL,
  PRIMARY KEY (team_id, id),
  UNIQUE (team_id, kind, key)
);

CREATE TABLE audience_members (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  audience_id bigint NOT NULL,
  person_id bigint NOT NULL,
  PRIMARY KEY (team_id, audience_id, person_id),
  FOREIGN KEY (team_id, audience_id) REFERENCES audiences ON DELETE CASCADE,
  FOREIGN KEY (team_id, person_id) REFERENCES persons ON DELETE CASCADE
);
CREATE INDEX audience_members_of_person ON audience_members (team_id, person_id);

-- What connectors bring and what people say

CREATE TABLE sources (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL,
  key text NOT NULL,
  name text NOT NULL,
  retrieval boolean NOT NULL DEFAULT true,
  training boolean NOT NULL,
  cursor jsonb NOT NULL DEFAULT '{}',
  state text NOT NULL DEFAULT 'new',
  error text,
  synced_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (team_id, id),
  UNIQUE (team_id, kind, key)
);

CREATE TABLE documents (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  source_id bigint NOT NULL,
  key text NOT NULL,
  revision integer NOT NULL,
  title text NOT NULL,
  uri text NOT NULL,
  text text NOT NULL,
  sha256 text NOT NULL,
  author text NOT NULL,
  written_at timestamptz,
  audience_id bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  superseded_at timestamptz,
  retracted_at timestamptz,
  meta jsonb NOT NULL DEFAULT '{}',
  -- The embedder whose passages this document has: a text without any passage counts as indexed too.
  indexed_by text,
  PRIMARY KEY (team_id, id),
  UNIQUE (team_id, source_id, key, revision),
  FOREIGN KEY (team_id, source_id) REFERENCES sources ON DELETE CASCADE,
  FOREIGN KEY (team_id, audience_id) REFERENCES audiences
);
CREATE UNIQUE INDEX documents_one_current ON documents (team_id, source_id, key)
  WHERE superseded_at IS NULL AND retracted_at IS NULL;

CREATE TABLE messages (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  surface text NOT NULL,
  event_id text NOT NULL,
  -- False while only an edit or a deletion has arrived: the row then waits for its original.
  arrived boolean NOT NULL,
  source_id bigint,
  channel text NOT NULL DEFAULT '',
  thread text,
  person_id bigint,
  author text NOT NULL DEFAULT '',
  text text NOT NULL,
  said_at timestamptz,
  edited_at timestamptz,
  deleted_at timestamptz,
  audience_id bigint,
  created_at timestamptz NOT NULL DEFAULT now(),
  indexed_by text,
  PRIMARY KEY (team_id, id),
  UNIQUE (team_id, surface, event_id),
  CHECK (NOT arrived OR (source_id IS NOT NULL AND said_at IS NOT NULL AND audience_id IS NOT NULL)),
  FOREIGN KEY (team_id, source_id) REFERENCES sources ON DELETE CASCADE,
  FOREIGN KEY (team_id, person_id) REFERENCES persons ON DELETE SET NULL (person_id),
  FOREIGN KEY (team_id, audience_id) REFERENCES audiences
);
CREATE INDEX messages_of_source ON messages (team_id, source_id, said_at);

-- The ledger

CREATE TABLE memories (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  statement text NOT NULL,
  context text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('document', 'message', 'correction', 'pinned')),
  state text NOT NULL DEFAULT 'noted' CHECK (state IN ('noted', 'studied', 'learnt', 'forgotten', 'retracted')),
  -- Why it is retracted or forgotten; with a reason it only comes back by being noted again. And what it was before.
  reason text CHECK (reason IN ('superseded', 'overridden', 'retracted', 'asked')),
  former_state text,
  retracted_at timestamptz,
  document_id bigint,
  message_id bigint,
  answer_id bigint,
  feedback_id bigint,
  person_id bigint,
  author text NOT NULL,
  audience_id bigint NOT NULL,
  said_at timestamptz,
  importance double precision NOT NULL DEFAULT 0,
  superseded_by bigint,
  conflict text,
  trainable boolean NOT NULL DEFAULT true,
  withheld text,
  embedder text,
  -- No fixed dimension: the embedder is a setting. A fixed one would allow an index (HNSW), but a team's rows are few
  -- (10,000 memories are scanned exactly in some 10 ms) and an index shared by all teams answers worse under row-level security.
  embedding vector,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (team_id, id),
  FOREIGN KEY (team_id, document_id) REFERENCES documents ON DELETE CASCADE,
  FOREIGN KEY (team_id, message_id) REFERENCES messages ON DELETE CASCADE,
  FOREIGN KEY (team_id, person_id) REFERENCES persons ON DELETE SET NULL (person_id),
  FOREIGN KEY (team_id, audience_id) REFERENCES audiences,
  FOREIGN KEY (team_id, superseded_by) REFERENCES memories ON DELETE SET NULL (superseded_by)
);
CREATE INDEX memories_of_state ON memories (team_id, state);
CREATE INDEX memories_of_document ON memories (team_id, document_id) WHERE document_id IS NOT NULL;
CREATE INDEX memories_of_message ON memories (team_id, message_id) WHERE message_id IS NOT NULL;
CREATE INDEX memories_of_answer ON memories (team_id, answer_id) WHERE answer_id IS NOT NULL;
CREATE INDEX memories_superseded_by ON memories (team_id, superseded_by) WHERE superseded_by IS NOT NULL;
-- Statements may be longer than a B-tree entry, so their hash is indexed.
CREATE INDEX memories_of_statement ON memories (team_id, md5(statement));

CREATE TABLE passages (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  document_id bigint,
  message_id bigint,
  memory_id bigint,
  ordinal integer NOT NULL,
  heading text NOT NULL,
  text text NOT NULL,
  lexemes tsvector GENERATED ALWAYS AS (to_tsvector('english', heading || ' ' || text)) STORED,
  embedder text NOT NULL,
  embedding vector NOT NULL,
  PRIMARY KEY (team_id, id),
  CHECK (num_nonnulls(document_id, message_id, memory_id) = 1),
  FOREIGN KEY (team_id, document_id) REFERENCES documents ON DELETE CASCADE,
  FOREIGN KEY (team_id, message_id) REFERENCES messages ON DELETE CASCADE,
  FOREIGN KEY (team_id, memory_id) REFERENCES memories ON DELETE CASCADE
);
CREATE INDEX passages_of_document ON passages (team_id, document_id, ordinal) WHERE document_id IS NOT NULL;
CREATE INDEX passages_of_message ON passages (team_id, message_id, ordinal) WHERE message_id IS NOT NULL;
CREATE INDEX passages_of_memory ON passages (team_id, memory_id, ordinal) WHERE memory_id IS NOT NULL;
CREATE INDEX passages_lexemes ON passages USING gin (lexemes);

CREATE TABLE examples (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  memory_id bigint NOT NULL,
  kind text NOT NULL CHECK (kind IN ('cue', 'train', 'quiz')),
  question text NOT NULL,
  answer text NOT NULL,
  embedder text,
  embedding vector,
  PRIMARY KEY (team_id, id),
  FOREIGN KEY (team_id, memory_id) REFERENCES memories ON DELETE CASCADE
);
CREATE INDEX examples_of_memory ON examples (team_id, memory_id);

-- Adapters, nights, exams

CREATE TABLE adapters (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  scope text NOT NULL CHECK (scope IN ('team', 'person')),
  person_id bigint,
  name text NOT NULL,
  PRIMARY KEY (team_id, id),
  UNIQUE NULLS NOT DISTINCT (team_id, scope, person_id),
  CHECK ((scope = 'person') = (person_id IS NOT NULL)),
  FOREIGN KEY (team_id, person_id) REFERENCES persons ON DELETE CASCADE
);

CREATE TABLE nights (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  adapter_id bigint NOT NULL,
  state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'released', 'rejected', 'failed', 'empty')),
  owner text NOT NULL,
  beat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  steps jsonb NOT NULL DEFAULT '{}',
  report jsonb NOT NULL DEFAULT '{}',
  error text,
  PRIMARY KEY (team_id, id),
  FOREIGN KEY (team_id, adapter_id) REFERENCES adapters ON DELETE CASCADE
);
CREATE UNIQUE INDEX nights_one_running ON nights (team_id, adapter_id) WHERE state = 'running';

CREATE TABLE versions (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  adapter_id bigint NOT NULL,
  number integer NOT NULL,
  state text NOT NULL DEFAULT 'candidate' CHECK (state IN ('candidate', 'serving', 'retired', 'refused', 'erased')),
  why text,
  base_model text NOT NULL,
  uri text NOT NULL,
  sha256 text NOT NULL,
  bytes bigint NOT NULL,
  night_id bigint,
  memory_ids bigint[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (team_id, id),
  UNIQUE (team_id, adapter_id, number),
  FOREIGN KEY (team_id, adapter_id) REFERENCES adapters ON DELETE CASCADE,
  FOREIGN KEY (team_id, night_id) REFERENCES nights ON DELETE SET NULL (night_id)
);
CREATE UNIQUE INDEX versions_one_serving ON versions (team_id, adapter_id) WHERE state = 'serving';

CREATE TABLE exams (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  night_id bigint,
  version_id bigint NOT NULL,
  results jsonb NOT NULL,
  passed boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (team_id, id),
  UNIQUE (team_id, version_id),
  FOREIGN KEY (team_id, night_id) REFERENCES nights ON DELETE CASCADE,
  FOREIGN KEY (team_id, version_id) REFERENCES versions ON DELETE CASCADE
);

-- Answers and what people think of them

CREATE TABLE answers (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  person_id bigint,
  audience_id bigint,
  surface text NOT NULL,
  thread text,
  event_id text,
  question text NOT NULL,
  text text NOT NULL,
  route text NOT NULL CHECK (route IN ('weights', 'notes', 'unknown')),
  quoted boolean NOT NULL DEFAULT false,
  version_id bigint,
  memory_id bigint,
  sources jsonb NOT NULL DEFAULT '[]',
  prompt_tokens integer NOT NULL DEFAULT 0,
  completion_tokens integer NOT NULL DEFAULT 0,
  latency_ms double precision NOT NULL DEFAULT 0,
  confidence double precision,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (team_id, id),
  FOREIGN KEY (team_id, person_id) REFERENCES persons ON DELETE SET NULL (person_id),
  FOREIGN KEY (team_id, audience_id) REFERENCES audiences ON DELETE SET NULL (audience_id),
  FOREIGN KEY (team_id, version_id) REFERENCES versions ON DELETE SET NULL (version_id),
  FOREIGN KEY (team_id, memory_id) REFERENCES memories ON DELETE SET NULL (memory_id)
);
CREATE UNIQUE INDEX answers_one_an_event ON answers (team_id, surface, event_id) WHERE event_id IS NOT NULL;
CREATE INDEX answers_of_thread ON answers (team_id, surface, thread, id);
CREATE INDEX answers_recent ON answers (team_id, created_at);

CREATE TABLE feedback (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  surface text NOT NULL,
  event_id text NOT NULL,
  -- Null while only the retraction has arrived: the row then waits for its feedback.
  answer_id bigint,
  person_id bigint,
  kind text CHECK (kind IN ('thumbs', 'emoji', 'correction')),
  value text,
  text text,
  -- It stands if created_at is later than retracted_at.
  created_at timestamptz NOT NULL,
  retracted_at timestamptz,
  PRIMARY KEY (team_id, id),
  UNIQUE (team_id, surface, event_id),
  FOREIGN KEY (team_id, answer_id) REFERENCES answers ON DELETE CASCADE,
  FOREIGN KEY (team_id, person_id) REFERENCES persons ON DELETE SET NULL (person_id)
);
CREATE INDEX feedback_of_answer ON feedback (team_id, answer_id);

ALTER TABLE memories
  ADD FOREIGN KEY (team_id, answer_id) REFERENCES answers ON DELETE SET NULL (answer_id),
  ADD FOREIGN KEY (team_id, feedback_id) REFERENCES feedback ON DELETE SET NULL (feedback_id);

CREATE TABLE preferences (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  night_id bigint NOT NULL,
  prompt jsonb NOT NULL,
  chosen text NOT NULL,
  rejected text NOT NULL,
  weight double precision NOT NULL DEFAULT 1,
  reason text NOT NULL,
  feedback_ids bigint[] NOT NULL DEFAULT '{}',
  PRIMARY KEY (team_id, id),
  FOREIGN KEY (team_id, night_id) REFERENCES nights ON DELETE CASCADE
);
CREATE INDEX preferences_of_night ON preferences (team_id, night_id);

SELECT nightschool_confine(name) FROM unnest(ARRAY[
  'persons', 'identities', 'audiences', 'audience_members', 'sources', 'documents', 'messages', 'memories', 'passages',
  'examples', 'adapters', 'nights', 'versions', 'exams', 'answers', 'feedback', 'preferences'
]::regclass[]) AS name;

-- What is told of a memory: its columns without the embedding, with the title and address of where it comes from.
-- `mute`: its source may now be used neither for retrieval nor for training.
CREATE VIEW memories_told WITH (security_invoker = true) AS
SELECT m.team_id, m.id, m.statement, m.context, m.kind, m.state, m.reason, m.document_id, m.message_id, m.answer_id, m.feedback_id,
  m.person_id, m.author, m.audience_id, m.said_at, m.importance, m.superseded_by, m.conflict, m.trainable, m.withheld, m.created_at,
  coalesce(d.title, s.channel, m.author) AS title, coalesce(d.uri, '') AS uri,
  coalesce(NOT (o.retrieval OR o.training), false) AS mute, coalesce(o.training, true) AS source_trains
FROM memories m
LEFT JOIN documents d ON d.team_id = m.team_id AND d.id = m.document_id
LEFT JOIN messages s ON s.team_id = m.team_id AND s.id = m.message_id
LEFT JOIN sources o ON o.team_id = m.team_id AND o.id = coalesce(d.source_id, s.source_id);

-- What is told of a passage; audience, title and time are its parent's, so a change of permissions counts at once.
-- `told`: the parent stands and its source is switched on for retrieval.
CREATE VIEW passages_told WITH (security_invoker = true) AS
SELECT p.team_id, p.id, p.document_id, p.message_id, p.memory_id, p.ordinal, p.heading, p.text, p.lexemes, p.embedder, p.embedding,
  coalesce(d.audience_id, s.audience_id, m.audience_id) AS audience_id,
  coalesce(d.written_at, s.said_at, m.said_at) AS written_at,
  coalesce(d.title, s.channel, m.author) AS title,
  coalesce(d.uri, '') AS uri,
  CASE
    WHEN p.memory_id IS NOT NULL THEN m.state NOT IN ('retracted', 'forgotten')
    WHEN p.document_id IS NOT NULL THEN d.superseded_at IS NULL AND d.retracted_at IS NULL AND o.retrieval
    ELSE s.arrived AND s.deleted_at IS NULL AND o.retrieval
  END AS told
FROM passages p
LEFT JOIN documents d ON d.team_id = p.team_id AND d.id = p.document_id
LEFT JOIN messages s ON s.team_id = p.team_id AND s.id = p.message_id
LEFT JOIN memories m ON m.team_id = p.team_id AND m.id = p.memory_id
LEFT JOIN sources o ON o.team_id = p.team_id AND o.id = coalesce(d.source_id, s.source_id);

GRANT SELECT ON memories_told, passages_told TO nightschool_app;
