-- What surfaces need beside the nouns of 0001: which workspace is which team, its tokens, its channels, the events that
-- came in and are worked off, and where the bot's answers stand.

-- A workspace of Slack or tenant of Teams belongs to one team. Looked up before the team is known: no team_id, no words.
CREATE TABLE workspaces (
  surface text NOT NULL,
  key text NOT NULL,
  team bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  PRIMARY KEY (surface, key)
);
CREATE INDEX workspaces_of_team ON workspaces (team);

CREATE TABLE installations (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  surface text NOT NULL,
  workspace text NOT NULL,
  bot_user text NOT NULL,
  bot text NOT NULL,
  app text NOT NULL,
  scopes text[] NOT NULL DEFAULT '{}',
  -- Encrypted by the bot's vault; null once it was revoked.
  tokens bytea,
  installed_by text NOT NULL DEFAULT '',
  installed_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz,
  PRIMARY KEY (team_id, surface, workspace)
);

CREATE TABLE channels (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  surface text NOT NULL,
  key text NOT NULL,
  name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('public', 'private', 'direct')),
  audience_id bigint NOT NULL,
  -- What it answers there: where it is mentioned, a thread on once it was mentioned in it, everything.
  follow text NOT NULL DEFAULT 'mention' CHECK (follow IN ('mention', 'thread', 'all')),
  shared boolean NOT NULL DEFAULT false,
  members_at timestamptz,
  left_at timestamptz,
  PRIMARY KEY (team_id, surface, key),
  FOREIGN KEY (team_id, audience_id) REFERENCES audiences
);

-- What came in, kept before it is acknowledged; `payload` is emptied once it was worked off.
CREATE TABLE events (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  surface text NOT NULL,
  event_id text NOT NULL,
  lane text NOT NULL,
  kind text NOT NULL,
  payload jsonb NOT NULL,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  done_at timestamptz,
  error text,
  PRIMARY KEY (team_id, id),
  UNIQUE (team_id, surface, event_id)
);
CREATE INDEX events_done ON events (team_id, done_at) WHERE done_at IS NOT NULL;

-- The queue of events still to be worked off, over all teams: whose, in which lane, by when. No team_id, no words, and
-- the application role cannot touch it: the triggers below keep it in step with the events.
CREATE TABLE errands (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  team bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  event bigint NOT NULL,
  surface text NOT NULL,
  lane text NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  taken_until timestamptz,
  UNIQUE (team, event)
);
CREATE INDEX errands_in_lane ON errands (team, surface, lane, id);

CREATE FUNCTION nightschool_queue_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO errands (team, event, surface, lane) VALUES (NEW.team_id, NEW.id, NEW.surface, NEW.lane);
  PERFORM pg_notify('nightschool_events', '');
  RETURN NULL;
END $$;
CREATE FUNCTION nightschool_unqueue_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  DELETE FROM errands WHERE team = OLD.team_id AND event = OLD.id;
  RETURN NULL;
END $$;
CREATE TRIGGER queue AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION nightschool_queue_event();
CREATE TRIGGER unqueue AFTER UPDATE OF done_at ON events FOR EACH ROW WHEN (NEW.done_at IS NOT NULL)
  EXECUTE FUNCTION nightschool_unqueue_event();
CREATE TRIGGER unqueue_deleted AFTER DELETE ON events FOR EACH ROW EXECUTE FUNCTION nightschool_unqueue_event();

-- Where an answer stands on a surface: what reactions, replies and a second delivery of its question are matched with.
CREATE TABLE posts (
  team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
  surface text NOT NULL,
  channel text NOT NULL,
  key text NOT NULL,
  thread text,
  -- The event that asked for it; null until the answer is stored.
  event_id text NOT NULL,
  answer_id bigint,
  part integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (team_id, surface, channel, key),
  FOREIGN KEY (team_id, answer_id) REFERENCES answers ON DELETE CASCADE
);
CREATE INDEX posts_of_event ON posts (team_id, surface, event_id);
CREATE INDEX posts_of_thread ON posts (team_id, surface, channel, thread);

ALTER TABLE persons ADD COLUMN settings jsonb NOT NULL DEFAULT '{}';

SELECT nightschool_confine(name) FROM unnest(ARRAY['installations', 'channels', 'events', 'posts']::regclass[]) AS name;
