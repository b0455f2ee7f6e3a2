"""Row-level security: no table, no view and no reference leads from one team to another."""

import psycopg
import pytest

from storage import (
    adapters,
    answers,
    audiences,
    channels,
    documents,
    events,
    examples,
    exams,
    feedback,
    installations,
    memories,
    messages,
    nights,
    passages,
    persons,
    posts,
    preferences,
    sources,
    teams,
)
from storage.answers import NewAnswer
from storage.documents import NewDocument
from storage.events import NewEvent
from storage.examples import NewExample
from storage.feedback import NewFeedback
from storage.installations import NewInstallation
from storage.memories import NewMemory
from storage.messages import NewMessage
from storage.passages import NewPassage
from storage.posts import Post
from storage.preferences import NewPreference

TABLES = """
    SELECT c.oid, c.relname AS name, c.relkind::text AS kind, c.relrowsecurity AS on, c.relforcerowsecurity AS forced,
      coalesce('security_invoker=true' = ANY(c.reloptions), false) AS invoker
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm') AND EXISTS (
      SELECT FROM information_schema.columns
      WHERE table_schema = 'public' AND table_name = c.relname AND column_name = 'team_id')
"""
EVERYONES = {"workspaces", "errands"}
"""Of these a worker reads all teams' rows: ids and places, no words."""

OWN = "NULLIF(current_setting('nightschool.team'::text, true), ''::text))::bigint"


async def tables(database):
    async with database.system() as connection:
        return await (await connection.execute(TABLES)).fetchall()


async def fill(connection):
    """One row and more in every table of a team."""
    person = await persons.identify(connection, "slack", "U1", "Ada")
    everybody = await audiences.whole_team(connection)
    await audiences.person(connection, person.id)
    source = await sources.ensure(connection, "files", "/docs", "docs", training=True)
    document = await documents.save(
        connection, NewDocument(source.id, "a.md", "a", "file:///a.md", "A.", "s", "Ada", None, everybody.id)
    )
    said = document.created_at
    await messages.save(
        connection, NewMessage(source.id, "slack", "1", "general", None, person.id, "Ada", "Hi", said, everybody.id)
    )
    await passages.replace(connection, document_id=document.id, embedder="e", rows=[NewPassage(0, "", "A.", [1.0])])
    (memory,) = await memories.save_all(
        connection, [NewMemory("A.", "", "document", everybody.id, document_id=document.id)]
    )
    await memories.embed(connection, memory.id, "e", [1.0])
    await memories.note_forgetting(connection, "slack", "Ev0", [memory.id])
    await examples.replace(connection, memory.id, [NewExample("quiz", "?", "!")])
    answer = await answers.save(connection, NewAnswer("slack", "?", "!", "notes"))
    await feedback.record(connection, NewFeedback(answer.id, person.id, "slack", "f", "thumbs", "up"))
    said = await feedback.record(connection, NewFeedback(None, person.id, "slack", "r", "remember"))
    assert said is not None
    await memories.tell(connection, NewMemory("B.", "", "pinned", everybody.id, feedback_id=said.id))
    adapter = await adapters.ensure(connection)
    night = await nights.begin(connection, adapter.id)
    version = await adapters.register(
        connection, adapter.id, base_model="b", uri="u", sha256="s", bytes=1, night_id=night.id, memory_ids=[memory.id]
    )
    await exams.save(connection, night.id, version.id, {}, True)
    await installations.save(connection, NewInstallation("slack", "T1", "U0", "B0", "A0", [], b"secret"))
    await channels.save(connection, "slack", "C1", "general", "public", everybody.id)
    await events.store(connection, [NewEvent("slack", "Ev1", "C1", "message", {"text": "Hi"})])
    await posts.save(connection, Post("slack", "C1", "2", None, "1", answer.id))
    await preferences.replace(connection, night.id, [NewPreference("?", "a", "b", 1.0, "", [])])
    return version


async def test_every_table_of_teams_is_confined(database):
    found = await tables(database)
    names = {table["name"] for table in found}
    assert {"documents", "messages", "passages", "memories", "answers", "feedback", "versions", "nights"} <= names
    async with database.system() as connection:
        for table in found:
            if table["kind"] == "v":
                assert table["invoker"], f"view {table['name']} would read with its owner's eyes"
                continue
            assert table["on"], f"{table['name']}: row-level security is off"
            assert table["forced"], f"{table['name']}: row-level security is not forced"
            policies = await (
                await connection.execute("SELECT * FROM pg_policies WHERE tablename = %s", [table["name"]])
            ).fetchall()
            assert [(p["permissive"], p["cmd"], OWN in p["qual"], OWN in p["with_check"]) for p in policies] == [
                ("PERMISSIVE", "ALL", True, True)
            ], table["name"]


async def test_the_only_tables_without_a_team_are_the_systems(database):
    confined = {table["name"] for table in await tables(database)}
    async with database.system() as connection:
        rows = await (
            await connection.execute(  # The queue's own tables, where a worker has run on this server, hold no team's words.
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'procrastinate%'"
            )
        ).fetchall()
        open_to_app = await (
            await connection.execute(
                "SELECT table_name FROM information_schema.role_table_grants "
                "WHERE grantee IN ('nightschool_app', 'PUBLIC') AND table_schema = 'public'"
            )
        ).fetchall()
    assert {r["tablename"] for r in rows} - confined == {"teams", "schema_migrations"} | EVERYONES
    assert {r["table_name"] for r in open_to_app} == confined


async def test_no_table_shows_or_lends_another_teams_rows(database, team):
    async with database.system() as connection:
        other = await teams.ensure(connection, team.key + "-other")
    async with database.team(other.id) as connection:
        await fill(connection)
    found = await tables(database)
    async with database.team(other.id) as connection:
        for table in found:
            row = await (await connection.execute(f'SELECT count(*) AS n FROM "{table["name"]}"')).fetchone()
            assert row["n"] > 0, f"fill() leaves {table['name']} empty: this test would prove nothing of it"
    async with database.team(team.id) as connection:
        for table in found:
            name = table["name"]
            row = await (await connection.execute(f'SELECT count(*) AS n FROM "{name}"')).fetchone()
            assert row["n"] == 0, f"{name} shows another team's rows"
            if table["kind"] == "v":
                continue
            assert (await connection.execute(f'UPDATE "{name}" SET team_id = team_id')).rowcount == 0
            assert (await connection.execute(f'DELETE FROM "{name}"')).rowcount == 0
        mine = await fill(connection)
        for table in found:
            if table["kind"] == "v":
                continue
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                async with connection.transaction():
                    await connection.execute(f'UPDATE "{table["name"]}" SET team_id = %s', [other.id])
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            async with connection.transaction():
                await connection.execute("INSERT INTO persons (team_id, name) VALUES (%s, 'Mallory')", [other.id])
        assert mine.number == 1


async def test_no_reference_can_point_into_another_team(database, team):
    """Foreign keys are checked past row-level security, so they must name the team themselves."""
    async with database.system() as connection:
        rows = await (
            await connection.execute("""
                SELECT c.conrelid::regclass::text AS from_table, c.conname, array_agg(a.attname::text) AS columns,
                  c.confrelid::regclass::text AS to_table
                FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey)
                WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace
                  AND c.conrelid::regclass::text NOT LIKE 'procrastinate%' GROUP BY 1, 2, 4""")
        ).fetchall()
    assert len(rows) > 40
    for row in rows:
        if row["from_table"] in EVERYONES:
            continue
        assert "team_id" in row["columns"], f"{row['from_table']}.{row['conname']} may point into another team"
    async with database.system() as connection:
        other = await teams.ensure(connection, team.key + "-other")
    async with database.team(other.id) as connection:
        theirs = await persons.identify(connection, "slack", "U1", "Eve")
    async with database.team(team.id) as connection:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            await audiences.person(connection, theirs.id)


async def test_the_application_role_cannot_bypass(database, team):
    async with database.system() as connection:
        role = await (await connection.execute("SELECT * FROM pg_roles WHERE rolname = 'nightschool_app'")).fetchone()
        owned = await (
            await connection.execute("SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = 'nightschool_app'")
        ).fetchall()
    assert not (role["rolsuper"] or role["rolbypassrls"] or role["rolcanlogin"] or role["rolcreaterole"])
    assert owned == []
    refused = [
        "SELECT * FROM teams",
        "SELECT * FROM schema_migrations",
        "ALTER TABLE documents DISABLE ROW LEVEL SECURITY",
        "DROP POLICY team ON documents",
        "ALTER ROLE nightschool_app BYPASSRLS",
        "TRUNCATE documents",
        "CREATE TABLE public.mine (id int)",
    ]
    async with database.team(team.id) as connection:
        row = await (await connection.execute("SELECT current_user AS name")).fetchone()
        assert row["name"] == "nightschool_app"
        for statement in refused:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                async with connection.transaction():
                    await connection.execute(statement)


async def test_without_a_team_nothing_is_shown_and_nothing_kept(database, team):
    async with database.team(team.id) as connection:
        await fill(connection)
    async with database.system() as connection:
        await connection.execute("SET LOCAL ROLE nightschool_app")
        for table in await tables(database):
            row = await (await connection.execute(f'SELECT count(*) AS n FROM "{table["name"]}"')).fetchone()
            assert row["n"] == 0, table["name"]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            async with connection.transaction():
                await connection.execute("INSERT INTO persons (name) VALUES ('nobody')")


async def test_the_role_and_the_team_end_with_the_transaction(database, team):
    for _ in range(10):
        async with database.team(team.id):
            pass
        async with database.system() as connection:
            row = await (
                await connection.execute(
                    "SELECT current_user AS name, current_setting('nightschool.team', true) AS team"
                )
            ).fetchone()
            assert row["name"] != "nightschool_app"
            assert row["team"] in (None, "")


async def test_a_version_of_another_team_cannot_be_switched(database, team):
    async with database.system() as connection:
        other = await teams.ensure(connection, team.key + "-other")
    async with database.team(other.id) as connection:
        theirs = await fill(connection)
    async with database.team(team.id) as connection:
        with pytest.raises(Exception, match="no version with the id"):
            await adapters.switch(connection, theirs.id)
        assert await answers.get(connection, 1) is None
