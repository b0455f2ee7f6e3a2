"""Sources: the connected places, each with its two switches."""

import datetime
from dataclasses import dataclass
from typing import Any

from storage.database import Connection
from storage.errors import NotFound
from storage.queries import queries
from storage.rows import jsonb, made

_SQL = queries("sources")


@dataclass(frozen=True, slots=True)
class Source:
    """A connected place. `cursor` is the connector's note of how far it has read; `state` its word for how it goes."""

    id: int
    kind: str
    key: str
    name: str
    retrieval: bool
    training: bool
    cursor: dict[str, Any]
    state: str
    error: str | None
    synced_at: datetime.datetime | None


async def ensure(connection: Connection, kind: str, key: str, name: str, *, training: bool) -> Source:
    """The source, made if it is new; `training` counts only then: afterwards the switch is the team's."""
    values = {"kind": kind, "key": key, "name": name, "training": training}
    row = await (await connection.execute(_SQL["ensure"], values)).fetchone()
    return made(Source, row or {})


async def told(connection: Connection) -> Source:
    """The source of what people tell the bot: their corrections, and what it is to remember."""
    return await ensure(connection, "told", "people", "what people tell the bot", training=True)


async def all(connection: Connection) -> list[Source]:
    """All sources of the team."""
    return [made(Source, row) for row in await (await connection.execute(_SQL["all"])).fetchall()]


async def held(connection: Connection) -> dict[int, int]:
    """How many documents, messages and things told of each source stand, by its id."""
    rows = await (await connection.execute(_SQL["held"])).fetchall()
    return {row["id"]: row["items"] for row in rows}


async def switch(
    connection: Connection, id: int, *, retrieval: bool | None = None, training: bool | None = None
) -> Source:
    """Turns retrieval or training on or off; None leaves a switch as it is. Raises NotFound."""
    values = {"id": id, "retrieval": retrieval, "training": training}
    return _found(id, await (await connection.execute(_SQL["switch"], values)).fetchone())


async def record(connection: Connection, id: int, *, cursor: dict[str, Any], state: str, error: str | None) -> Source:
    """Notes how a sync went: `synced_at` moves where there is no error. Raises NotFound."""
    values = {"id": id, "cursor": jsonb(cursor), "state": state, "error": error}
    return _found(id, await (await connection.execute(_SQL["record"], values)).fetchone())


def _found(id: int, row: dict[str, Any] | None) -> Source:
    if row is None:
        raise NotFound(
            f"There is no source with the id {id} in this team; nothing was changed. `nightschool sources` lists them."
        )
    return made(Source, row)
