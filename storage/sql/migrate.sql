-- name: lock
-- Let one process migrate at a time; the number is ours and arbitrary
SELECT pg_advisory_xact_lock(7243390117);

-- name: has_vector
-- Is pgvector created in this database?
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') AS found;

-- name: create_vector
-- Create pgvector
CREATE EXTENSION IF NOT EXISTS vector;

-- name: app_role
-- Create the application role if it is missing and let this user act as it; roles are shared by all databases of a server, so others may race us
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'nightschool_app') THEN
    BEGIN
      CREATE ROLE nightschool_app NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END IF;
  -- Since PostgreSQL 16 whoever creates a role is its member with ADMIN only: the right to SET it is granted apart.
  IF current_setting('server_version_num')::int >= 160000 THEN
    IF NOT pg_has_role(current_user, 'nightschool_app', 'SET') THEN
      EXECUTE format('GRANT nightschool_app TO %I WITH SET TRUE', current_user);
    END IF;
  ELSIF NOT pg_has_role(current_user, 'nightschool_app', 'MEMBER') THEN
    EXECUTE format('GRANT nightschool_app TO %I', current_user);
  END IF;
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO nightschool_app', current_schema());
END $$;

-- name: history
-- Make the table of applied migrations
CREATE TABLE IF NOT EXISTS schema_migrations (
  number integer PRIMARY KEY,
  name text NOT NULL,
  sha256 text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: applied
-- The migrations that were applied
SELECT number, name, sha256 FROM schema_migrations ORDER BY number;

-- name: note
-- Note an applied migration
INSERT INTO schema_migrations (number, name, sha256) VALUES (%(number)s, %(name)s, %(sha256)s);
