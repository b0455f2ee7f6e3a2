"""One open transaction of a fresh team, and the few rows that most tests of storage start from."""

import datetime
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from storage import audiences, sources
from storage.audiences import Audience
from storage.database import Connection, Database
from storage.documents import NewDocument
from storage.sources import Source
from storage.teams import Team

MONDAY = datetime.datetime(2026, 11, 23, 9, 0, tzinfo=datetime.UTC)


@pytest.fixture
async def connection(database: Database, team: Team) -> AsyncIterator[Connection]:
    """The test's own team transaction, committed at its end."""
    async with database.team(team.id) as connection:
        yield connection


@pytest.fixture
async def everybody(connection: Connection) -> Audience:
    """The whole team."""
    return await audiences.whole_team(connection)


@pytest.fixture
async def source(connection: Connection) -> Source:
    """A folder of files."""
    return await sources.ensure(connection, "files", "/docs", "docs", training=True)


@pytest.fixture
def document(source: Source, everybody: Audience) -> Callable[..., NewDocument]:
    """Makes a document: document("rules.md", "The door code is 4711.")."""

    def make(key: str, text: str, **changes: Any) -> NewDocument:
        values: dict[str, Any] = {
            "source_id": source.id,
            "key": key,
            "title": key,
            "uri": f"file:///docs/{key}",
            "text": text,
            "sha256": str(hash(text)),
            "author": "Ada",
            "written_at": MONDAY,
            "audience_id": everybody.id,
            "meta": {},
        }
        return NewDocument(**(values | changes))

    return make
