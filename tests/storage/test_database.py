"""The database: transactions, absence and return, notifications, concurrent start, old and foreign servers."""

import asyncio
import contextlib
import socket
import time
import uuid

import psycopg
import pytest
from psycopg.rows import dict_row

from storage import migrate, teams
from storage.database import Database
from storage.errors import (
    DatabaseAway,
    DatabaseTooOld,
    MigrationChanged,
    NightschoolError,
    NoAppRole,
    NoPgvector,
    SchemaNewer,
    UnknownAnswer,
)


@pytest.fixture
async def fresh_url(database):
    """The address of a new, empty database on the session's server."""
    name = f"fresh_{uuid.uuid4().hex[:12]}"
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
        yield database.url.replace("/postgres?", f"/{name}?")
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_failed_transaction_leaves_nothing(database):
    key = uuid.uuid4().hex
    with pytest.raises(RuntimeError):
        async with database.system() as connection:
            await teams.ensure(connection, key)
            raise RuntimeError
    async with database.system() as connection:
        assert await teams.get(connection, key) is None


async def test_a_bugs_error_is_not_dressed_up_as_absence(database, team):
    with pytest.raises(psycopg.errors.UndefinedTable):
        async with database.team(team.id) as connection:
            await connection.execute("SELECT * FROM nowhere")


async def test_every_error_says_what_to_do_by_itself():
    assert str(UnknownAnswer()).startswith("There is no such answer")
    assert str(UnknownAnswer("No.")) == "No."
    assert issubclass(UnknownAnswer, NightschoolError)


async def test_a_dead_port_is_told_within_five_seconds(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(DatabaseAway, match=f"127.0.0.1:{port}/team cannot be reached.*DATABASE_URL") as caught:
        await Database.open(f"postgresql://ada:secret@127.0.0.1:{port}/team", tmp_path)
    assert time.monotonic() - begun <= 5
    assert "secret" not in str(caught.value)


async def test_a_server_that_never_answers_is_told_within_five_seconds(tmp_path):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        begun = time.monotonic()
        with pytest.raises(DatabaseAway):
            await Database.open(f"postgresql://127.0.0.1:{mute.getsockname()[1]}/team", tmp_path)
        assert time.monotonic() - begun <= 5.5


async def test_a_database_that_does_not_exist_is_told(database, tmp_path):
    with pytest.raises(DatabaseAway, match="does not exist"):
        await Database.open(database.url.replace("/postgres?", "/nowhere?"), tmp_path)


class Gate:
    """A way to the server that can be shut and opened: TCP here, the server's socket there."""

    def __init__(self, socket_file):
        self.socket_file, self.ways, self.server = socket_file, set(), None

    async def open(self, port=0):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return self.server.sockets[0].getsockname()[1]

    async def shut(self):
        self.server.close()
        for writer in self.ways:
            writer.transport.abort()
        await asyncio.sleep(0.05)

    async def _serve(self, reader, writer):
        there, back = await asyncio.open_unix_connection(self.socket_file)
        self.ways |= {writer, back}
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        self.ways -= {writer, back}

    async def _carry(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def gate(database, tmp_path):
    folder = psycopg.conninfo.conninfo_to_dict(database.url)["host"]
    gate = Gate(f"{folder}/.s.PGSQL.5432")
    port = await gate.open()
    through = await Database.open(f"postgresql://postgres@127.0.0.1:{port}/postgres", tmp_path)
    yield gate, port, through
    await gate.shut()
    await through.close()


async def test_away_in_the_middle_and_healthy_within_five_seconds_of_its_return(gate, team):
    gate, port, database = gate
    async with database.team(team.id) as connection:
        await connection.execute("SELECT 1")
    with pytest.raises(DatabaseAway, match="cannot be reached"):
        async with database.team(team.id) as connection:
            await gate.shut()
            await connection.execute("SELECT 1")
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(DatabaseAway):
            async with database.team(team.id) as connection:
                await connection.execute("SELECT 1")
        assert time.monotonic() - begun <= 6
    await gate.open(port)
    begun = time.monotonic()
    while True:
        try:
            async with database.team(team.id) as connection:
                await connection.execute("SELECT 1")
            break
        except DatabaseAway:
            assert time.monotonic() - begun <= 5
    assert time.monotonic() - begun <= 5


async def test_nobody_gets_a_connection_that_died_in_the_pool(database, team):
    async def use():
        async with database.team(team.id) as connection:
            await connection.execute("SELECT pg_sleep(0.3)")

    # The pool grows to its full size, and every one of them dies.
    await asyncio.gather(*(use() for _ in range(8)))
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'nightschool' AND pid <> pg_backend_pid()"
        )
    await asyncio.sleep(0.1)
    begun = time.monotonic()
    for _ in range(10):
        async with database.team(team.id) as connection:
            await connection.execute("SELECT 1")
    assert time.monotonic() - begun <= 2


async def test_listening_survives_the_loss_of_its_connection(database):
    channel = f"Channel {uuid.uuid4().hex}"
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen():
        async for payload in database.listen(channel, gap="gap"):
            heard.put_nowait(payload)

    listener = asyncio.create_task(listen())
    assert await asyncio.wait_for(heard.get(), 5) == "gap"
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        for round in range(3):
            await connection.execute("SELECT pg_notify(%s, %s)", [channel, str(round)])
            assert await asyncio.wait_for(heard.get(), 5) == str(round)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            )
            assert await asyncio.wait_for(heard.get(), 5) == "gap"
    listener.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listener


async def test_many_open_a_fresh_database_at_once_and_it_is_migrated_once(fresh_url, tmp_path):
    opened = await asyncio.gather(*(Database.open(fresh_url, tmp_path, pool_size=1) for _ in range(4)))
    async with opened[0].system() as connection:
        rows = await (await connection.execute("SELECT number, name FROM schema_migrations")).fetchall()
    assert [row["name"] for row in rows] == [migration.name for migration in migrate.migrations()]
    for database in opened:
        await database.close()


async def test_a_process_that_dies_while_it_migrates_leaves_nothing(fresh_url):
    halves = [
        *migrate.migrations(),
        migrate.Migration(8, "0008_broken.sql", "CREATE TABLE half (id int); SELECT 1 / 0"),
    ]
    async with await psycopg.AsyncConnection.connect(fresh_url, row_factory=dict_row) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await migrate.migrate(connection, halves)
        await connection.rollback()
        assert await (await connection.execute("SELECT to_regclass('schema_migrations') AS there")).fetchone() == {
            "there": None
        }
        assert await migrate.migrate(connection) == [migration.name for migration in migrate.migrations()]
        assert await migrate.migrate(connection) == []


async def test_a_changed_or_unknown_migration_is_refused(fresh_url):
    known = migrate.migrations()
    async with await psycopg.AsyncConnection.connect(fresh_url, row_factory=dict_row) as connection:
        await migrate.migrate(connection)
        changed = [migrate.Migration(known[0].number, known[0].name, known[0].text + "-- changed"), *known[1:]]
        with pytest.raises(MigrationChanged, match=r"0001_spine\.sql was changed"):
            await migrate.migrate(connection, changed)
        await connection.rollback()
        with pytest.raises(SchemaNewer, match="newer Nightschool"):
            await migrate.migrate(connection, known[1:])
        await connection.rollback()
        more = [*known, migrate.Migration(known[-1].number + 1, "more.sql", "CREATE TABLE more (id int)")]
        assert await migrate.migrate(connection, more) == ["more.sql"]


class OldServer:
    """As much of a connection as is looked at before an old server is refused."""

    class info:
        server_version = 140011


async def test_an_old_server_is_refused():
    with pytest.raises(DatabaseTooOld, match="PostgreSQL 14; Nightschool needs 15"):
        await migrate.migrate(OldServer())


@pytest.fixture
async def owner_url(database, fresh_url):
    """A database that belongs to an ordinary user who may do nothing else."""
    name = f"owner_{uuid.uuid4().hex[:12]}"
    fresh = psycopg.conninfo.conninfo_to_dict(fresh_url)["dbname"]
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        await connection.execute(f"CREATE ROLE {name} LOGIN")
        await connection.execute(f"ALTER DATABASE {fresh} OWNER TO {name}")
        yield fresh_url.replace("postgres:@", f"{name}:@")
        await connection.execute(f"DROP DATABASE {fresh} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {fresh}")
        await connection.execute(f"DROP ROLE {name}")


async def test_an_ordinary_owner_is_enough_once_the_administrator_granted_the_role(
    database, owner_url, fresh_url, tmp_path
):
    owner = psycopg.conninfo.conninfo_to_dict(owner_url)["user"]
    async with await psycopg.AsyncConnection.connect(fresh_url, autocommit=True) as connection:
        await connection.execute("CREATE EXTENSION vector")
    with pytest.raises(NoAppRole, match="GRANT nightschool_app"):
        await Database.open(owner_url, tmp_path)
    async with database.system() as connection:
        await connection.execute(f"GRANT nightschool_app TO {owner}")
    opened = await Database.open(owner_url, tmp_path)
    async with opened.system() as connection:
        team = await teams.ensure(connection, "acme")
    async with opened.team(team.id) as connection:
        await connection.execute("INSERT INTO persons (name) VALUES ('Ada')")
    async with opened.system() as connection:
        row = await (await connection.execute("SELECT count(*) AS n FROM persons")).fetchone()
        assert row["n"] == 0, "row-level security is forced on the owner too"
    await opened.close()


async def test_without_pgvector_it_says_how_to_get_it(database, owner_url, tmp_path, monkeypatch):
    monkeypatch.setitem(migrate._SQL, "create_vector", "CREATE EXTENSION no_such_extension")
    with pytest.raises(NoPgvector, match="pgvector"):
        await Database.open(owner_url, tmp_path)


async def test_a_cancelled_transaction_gives_its_connection_back_and_leaves_nothing(database, team):
    async def hang():
        async with database.team(team.id) as connection:
            await connection.execute("INSERT INTO persons (name) VALUES ('Ada')")
            await connection.execute("SELECT pg_sleep(60)")

    for _ in range(3):
        hanging = [asyncio.create_task(hang()) for _ in range(8)]
        await asyncio.sleep(0.3)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
    async with database.team(team.id) as connection:
        row = await (await connection.execute("SELECT count(*) AS n FROM persons")).fetchone()
        assert row["n"] == 0
