"""Applies storage/migrations/*.sql, each once, in order, all in one transaction."""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import LiteralString

import psycopg
import structlog
from psycopg.rows import DictRow

from storage.errors import DatabaseTooOld, MigrationChanged, NoAppRole, NoPgvector, SchemaNewer
from storage.queries import queries

log = structlog.get_logger(__name__)

_SQL = queries("migrate")
_OLDEST = 15


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered migration file, `0001_spine.sql`."""

    number: int
    name: str
    text: LiteralString

    @property
    def sha256(self) -> str:
        """What is compared with what was applied."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """The migrations of this release, in order."""
    files = (resources.files("storage") / "migrations").iterdir()
    names = sorted(file.name for file in files if file.name.endswith(".sql"))
    folder = resources.files("storage") / "migrations"
    return [Migration(int(name[:4]), name, (folder / name).read_text(encoding="utf-8")) for name in names]


async def migrate(connection: psycopg.AsyncConnection[DictRow], known: list[Migration] | None = None) -> list[str]:
    """Brings a database to this release's schema and returns the names of what was applied now; safe under concurrent
    start.

    `connection` belongs to the owner of the tables. Raises DatabaseTooOld, NoPgvector, NoAppRole, MigrationChanged,
    SchemaNewer.
    """
    known = migrations() if known is None else known
    version = connection.info.server_version // 10000
    if version < _OLDEST:
        raise DatabaseTooOld(
            f"This is PostgreSQL {version}; Nightschool needs {_OLDEST} or newer. Upgrade the server, or unset "
            "DATABASE_URL for the embedded one."
        )
    async with connection.transaction():
        await connection.execute(_SQL["lock"])
        await _ensure_vector(connection)
        await _ensure_role(connection)
        await connection.execute(_SQL["history"])
        applied = {row["number"]: row for row in await (await connection.execute(_SQL["applied"])).fetchall()}
        _check(applied, known)
        new = [migration for migration in known if migration.number not in applied]
        for migration in new:
            await connection.execute(migration.text)
            await connection.execute(
                _SQL["note"], {"number": migration.number, "name": migration.name, "sha256": migration.sha256}
            )
    for migration in new:
        log.info("migrated", migration=migration.name)
    return [migration.name for migration in new]


def _check(applied: dict[int, DictRow], known: list[Migration]) -> None:
    by_number = {migration.number: migration for migration in known}
    for number, row in applied.items():
        if number not in by_number:
            raise SchemaNewer(
                f"The database has migration {row['name']}, which this release does not know: a newer Nightschool was "
                "here. Install that version or a later one."
            )
        if by_number[number].sha256 != row["sha256"]:
            raise MigrationChanged(
                f"Migration {row['name']} was changed after it had been applied. Install an unmodified release; to "
                "change the schema add a new migration."
            )


async def _ensure_vector(connection: psycopg.AsyncConnection[DictRow]) -> None:
    row = await (await connection.execute(_SQL["has_vector"])).fetchone()
    if row is not None and row["found"]:
        return
    try:
        async with connection.transaction():
            await connection.execute(_SQL["create_vector"])
    except psycopg.errors.InsufficientPrivilege as error:
        raise NoPgvector(
            "This user may not create the extension pgvector. As an administrator run in this database: CREATE "
            "EXTENSION vector;"
        ) from error
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile, psycopg.errors.UndefinedObject) as error:
        raise NoPgvector(
            "The server lacks the extension pgvector. Install it (package postgresql-NN-pgvector) or unset "
            "DATABASE_URL for the embedded server, which has it."
        ) from error


async def _ensure_role(connection: psycopg.AsyncConnection[DictRow]) -> None:
    try:
        async with connection.transaction():
            await connection.execute(_SQL["app_role"])
    except psycopg.errors.InsufficientPrivilege as error:
        raise NoAppRole() from error
