"""The way to PostgreSQL: one pool, one transaction at a time, each confined to one team by row-level security."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import structlog
from pgvector.psycopg import register_vector_async
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg.types.string import StrDumperUnknown
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from storage import embedded, migrate
from storage.errors import DatabaseAway, DatabaseFull, NightschoolError
from storage.queries import queries

log = structlog.get_logger(__name__)

Connection: TypeAlias = psycopg.AsyncConnection[DictRow]

_SQL = queries("database")
_CONNECT_SECONDS = 4
_WAIT_SECONDS = 5.0
_POSTERS = 4
_POST_WAIT_SECONDS = 2.0
# The pool's own retries back off up to minutes; giving up early and trying anew at the next request heals within
# seconds.
_RECONNECT_SECONDS = 2.0
_AWAY = (
    psycopg.errors.AdminShutdown,
    psycopg.errors.CrashShutdown,
    psycopg.errors.CannotConnectNow,
    psycopg.errors.ConnectionException,
    psycopg.errors.TooManyConnections,
    psycopg.errors.DatabaseDropped,
    psycopg.errors.IdleSessionTimeout,
)


class Database:
    """An open database. `url` is its conninfo, for procrastinate too."""

    def __init__(
        self,
        url: str,
        pool: AsyncConnectionPool[Connection],
        posters: AsyncConnectionPool[Connection],
        embedded_folder: Path | None,
    ) -> None:
        self.url = url
        self._pool = pool
        self._posters = posters
        self._embedded_folder = embedded_folder

    @classmethod
    async def open(cls, url: str | None, data_folder: Path, *, pool_size: int = 8) -> "Database":
        """Opens and migrates the database at `url`, or where None the embedded one in data_folder/"postgres".

        Raises DatabaseAway (within 5 seconds for an unreachable server), DatabaseTooOld (< 15), NoPgvector, NoAppRole,
        MigrationChanged, SchemaNewer.
        """
        folder = None
        if url is None:
            folder = data_folder / "postgres"
            url = await asyncio.to_thread(embedded.start, folder)
        pool = _pool(url, 1, pool_size, _WAIT_SECONDS, name="nightschool")
        posters = _pool(url, 0, _POSTERS, _POST_WAIT_SECONDS, name="nightschool-posting", autocommit=True)
        try:
            await _prepare(url, patience=30.0 if folder else 0.0)
            with _named_errors(url):
                await pool.open(wait=True, timeout=_WAIT_SECONDS)
                await posters.open()
        except BaseException:
            await pool.close()
            await posters.close()
            if folder is not None:
                await asyncio.to_thread(embedded.stop, folder)
            raise
        return cls(url, pool, posters, folder)

    async def close(self) -> None:
        """Closes the pools; the embedded server stops with its last user."""
        await self._posters.close()
        await self._pool.close()
        if self._embedded_folder is not None:
            await asyncio.to_thread(embedded.stop, self._embedded_folder)

    async def revive(self) -> None:
        """Starts the embedded server again where it died; a server of one's own is for its owner to start.

        For what runs on and on: everything else starts it when it opens the database. Raises DatabaseAway.
        """
        if self._embedded_folder is not None:
            await asyncio.to_thread(embedded.revive, self._embedded_folder)

    def team(self, team_id: int) -> AbstractAsyncContextManager[Connection]:
        """One transaction in which only this team's rows exist. Raises DatabaseAway, DatabaseFull."""
        return self._transaction(team_id)

    async def expect_posts(self) -> None:
        """Opens the connections of posting() now and keeps them open: not when the first post comes, which may be urgent."""
        await self._posters.resize(_POSTERS, _POSTERS)

    @asynccontextmanager
    async def posting(self, team_id: int) -> AsyncIterator[Connection]:
        """As team(), for statements whose results nobody reads: the whole transaction is one round trip.

        PostgreSQL makes one transaction of all statements before a pipeline's end; a COMMIT would be a round trip more.
        It has connections of its own and waits for no other transaction. Errors, a failed statement's too, are raised at
        the end; a dead connection is not passed over, so try again.
        """
        with _named_errors(self.url):
            connection = await self._posters.getconn()
            try:
                async with connection.pipeline():
                    await connection.execute(_SQL["confine"], {"team": str(int(team_id))})
                    yield connection
            finally:
                await self._posters.putconn(connection)

    def system(self) -> AbstractAsyncContextManager[Connection]:
        """One transaction as the owner: teams, migrations, schedules; never team data. Raises as team() does."""
        return self._transaction(None)

    @asynccontextmanager
    async def _transaction(self, team_id: int | None) -> AsyncIterator[Connection]:
        with _named_errors(self.url):
            connection = await self._begun(team_id)
            try:
                async with connection:
                    yield connection
            finally:
                await self._pool.putconn(connection)

    async def _begun(self, team_id: int | None) -> Connection:
        """A connection with its transaction begun; one that died in the pool (the server restarted) is passed over.

        The pool's own check would do the same with seconds of pause after each dead one, and at a round trip's cost.
        """
        for last in [False] * self._pool.max_size + [True]:
            connection = await self._pool.getconn()
            try:
                if team_id is None:
                    await connection.execute(_SQL["begin"])
                else:
                    await connection.execute(_SQL["confine"], {"team": str(int(team_id))})
                return connection
            except BaseException as error:
                dead = connection.closed and isinstance(error, psycopg.OperationalError)
                await self._pool.putconn(connection)
                if last or not dead:
                    raise
        raise AssertionError("the loop returns or raises")

    async def listen(self, channel: str, *, gap: str | None = None) -> AsyncIterator[str]:
        """The payloads of NOTIFY on a channel, for ever; reconnects by itself, and revives the embedded server.

        What is notified while the connection is away is lost in PostgreSQL. Where `gap` is given it is yielded after
        each connection, the first included: the sign to look for oneself what is current.
        """
        pause = 0.1
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self.url, autocommit=True, **_options(self.url)
                ) as connection:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    pause = 0.1
                    if gap is not None:
                        yield gap
                    async for notify in connection.notifies():
                        yield notify.payload
            except psycopg.OperationalError as error:
                log.warning("listen_reconnects", channel=channel, seconds=pause, reason=type(error).__name__)
                with suppress(DatabaseAway):  # it is tried again with the next connection
                    await self.revive()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)


def _pool(
    url: str, least: int, most: int, patience: float, *, name: str, autocommit: bool = False
) -> AsyncConnectionPool[Connection]:
    return AsyncConnectionPool(
        url,
        connection_class=psycopg.AsyncConnection[DictRow],
        kwargs=_options(url) | {"row_factory": dict_row, "autocommit": autocommit},
        min_size=least,
        max_size=most,
        open=False,
        configure=_configure,
        timeout=patience,
        reconnect_timeout=_RECONNECT_SECONDS,
        name=name,
    )


def _options(url: str) -> dict[str, Any]:
    """Connection options that the URL leaves open."""
    options = {"connect_timeout": _CONNECT_SECONDS, "application_name": "nightschool"}
    return {key: value for key, value in options.items() if key not in conninfo_to_dict(url)}


async def _configure(connection: Connection) -> None:
    """Makes a new connection speak vectors, and texts as people send them."""
    await register_vector_async(connection)
    connection.adapters.register_dumper(str, _Text)


class _Text(StrDumperUnknown):
    """Writes text without what PostgreSQL refuses: NUL and lone surrogates come in files and chats and mean nothing."""

    def dump(self, obj: str) -> bytes:
        return obj.replace("\x00", "").encode("utf-8", "replace")


async def _prepare(url: str, patience: float) -> None:
    """Checks and migrates; waits up to `patience` seconds for a server that is still starting up."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            with _named_errors(url):
                async with await psycopg.AsyncConnection.connect(
                    url, row_factory=dict_row, **_options(url)
                ) as connection:
                    await migrate.migrate(connection)
            return
        except DatabaseAway:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(0.2)


class _named_errors:
    """Maps psycopg's errors at the room's boundary to ours; a bug's error (a wrong query) passes as it is."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NightschoolError) or not isinstance(error, psycopg.Error):
            return
        if isinstance(error, psycopg.errors.DiskFull):
            raise DatabaseFull() from error
        if isinstance(error, PoolTimeout):
            raise DatabaseAway(
                f"PostgreSQL at {_place(self.url)} gave no connection within {_WAIT_SECONDS:.0f} s: it is away or all "
                "connections are busy. Check that it runs, then try again."
            ) from error
        # An OperationalError without a code never reached the server or lost it on the way.
        lost = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
        if lost or isinstance(error, _AWAY):
            raise DatabaseAway(
                f"PostgreSQL at {_place(self.url)} cannot be reached ({_first_line(error)}). Check that it runs and "
                "that DATABASE_URL is right, or unset DATABASE_URL for the embedded one; then try again."
            ) from error
        if isinstance(error, psycopg.OperationalError) and error.sqlstate in ("28P01", "28000", "3D000"):
            raise DatabaseAway(
                f"PostgreSQL at {_place(self.url)} refused us ({_first_line(error)}). Check the user, password and "
                "database in DATABASE_URL."
            ) from error


def _place(url: str) -> str:
    """Where a URL points, without its password."""
    with suppress(psycopg.ProgrammingError):
        info = conninfo_to_dict(url)
        return f"{info.get('host', 'localhost')}:{info.get('port', 5432)}/{info.get('dbname', '')}"
    return "DATABASE_URL"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
