"""Adapters: each a scope's LoRA, its immutable versions, and which of them serves."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage.database import Connection
from storage.errors import NotFound, VersionUnusable
from storage.queries import queries
from storage.rows import dumps, made

_SQL = queries("adapters")

CHANNEL = "nightschool_adapters"
"""The channel of NOTIFY on which a switch is told: {"team": id, "adapter": id, "version": id}."""

Scope = Literal["team", "person"]
State = Literal["candidate", "serving", "retired", "refused", "erased"]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A team's or a person's adapter; at most one of its versions serves."""

    id: int
    scope: Scope
    person_id: int | None
    name: str


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable version: where its files are and what was trained into it.

    `uri` is its place below the store's root (AdapterFiles), `sha256` its manifest's, `why` says why it was refused.
    """

    id: int
    adapter_id: int
    number: int
    state: State
    base_model: str
    uri: str
    sha256: str
    bytes: int
    night_id: int | None
    memory_ids: list[int]
    created_at: datetime.datetime
    why: str | None


async def ensure(connection: Connection, scope: Scope = "team", person_id: int | None = None) -> Adapter:
    """The adapter of a scope, made if it is new."""
    values = {"scope": scope, "person_id": person_id, "name": scope if person_id is None else f"{scope}-{person_id}"}
    row = await (await connection.execute(_SQL["find"], values)).fetchone()
    if row is None:
        row = await (await connection.execute(_SQL["ensure"], values)).fetchone()
    return made(Adapter, row or {})


async def all(connection: Connection) -> list[Adapter]:
    """All adapters of the team."""
    return [made(Adapter, row) for row in await (await connection.execute(_SQL["all"])).fetchall()]


async def register(
    connection: Connection,
    adapter_id: int,
    *,
    base_model: str,
    uri: str,
    sha256: str,
    bytes: int,
    night_id: int | None,
    memory_ids: Sequence[int],
) -> Version:
    """Registers stored files as a candidate; the same files of one night once only, so it may be called again."""
    values = {
        "adapter_id": adapter_id,
        "base_model": base_model,
        "uri": uri,
        "sha256": sha256,
        "bytes": bytes,
        "night_id": night_id,
        "memory_ids": list(memory_ids),
    }
    await _hold(connection, adapter_id)
    row = await (await connection.execute(_SQL["registered"], values)).fetchone()
    if row is None:
        row = await (await connection.execute(_SQL["register"], values)).fetchone()
    return made(Version, row or {})


async def serving(connection: Connection, adapter_id: int) -> Version | None:
    """The version at work, if one is."""
    row = await (await connection.execute(_SQL["serving"], {"adapter_id": adapter_id})).fetchone()
    return made(Version, row) if row else None


async def versions(connection: Connection, adapter_id: int) -> list[Version]:
    """All versions of an adapter, oldest first."""
    rows = await (await connection.execute(_SQL["versions"], {"adapter_id": adapter_id})).fetchall()
    return [made(Version, row) for row in rows]


async def get(connection: Connection, version_id: int) -> Version | None:
    """A version by id, if there is one."""
    row = await (await connection.execute(_SQL["get"], {"id": version_id})).fetchone()
    return made(Version, row) if row else None


async def switch(connection: Connection, version_id: int) -> Version:
    """Puts a version to work in place of the one that serves, and tells it on CHANNEL when the transaction commits.

    Raises NotFound, or VersionUnusable for a refused or erased one.
    """
    version = await get(connection, version_id)
    if version is None:
        raise NotFound(f"There is no version with the id {version_id} in this team. `nightschool adapters` lists them.")
    await _hold(connection, version.adapter_id)
    row = await (await connection.execute(_SQL["get"], {"id": version_id})).fetchone() or {}
    if row["state"] in ("refused", "erased"):
        raise VersionUnusable(
            f"Version {version.number} is {row['state']}{': ' + row['why'] if row['why'] else ''}; it cannot go to "
            "work. Choose another one of `nightschool adapters`."
        )
    await connection.execute(_SQL["retire"], {"adapter_id": version.adapter_id, "id": version_id})
    row = await (await connection.execute(_SQL["serve"], {"id": version_id})).fetchone() or {}
    payload = dumps({"team": row["team_id"], "adapter": version.adapter_id, "version": version_id})
    await connection.execute(_SQL["tell"], {"channel": CHANNEL, "payload": payload})
    return made(Version, row)


async def withdraw(connection: Connection, adapter_id: int) -> Version | None:
    """Takes the version at work from it, with none in its place, and tells it; returns it, if there was one."""
    await _hold(connection, adapter_id)
    version = await serving(connection, adapter_id)
    if version is None:
        return None
    row = await (await connection.execute(_SQL["withdraw"], {"id": version.id})).fetchone() or {}
    payload = dumps({"team": row["team_id"], "adapter": adapter_id, "version": None})
    await connection.execute(_SQL["tell"], {"channel": CHANNEL, "payload": payload})
    return made(Version, row)


async def refuse(connection: Connection, version_id: int, why: str) -> Version:
    """Refuses a version that does not serve, for good. Raises VersionUnusable where it serves or is not there."""
    row = await (await connection.execute(_SQL["refuse"], {"id": version_id, "why": why})).fetchone()
    if row is None:
        raise VersionUnusable(
            f"Version {version_id} serves, is erased or is not there: it cannot be refused. Roll back first."
        )
    return made(Version, row)


async def rollback(connection: Connection, adapter_id: int, number: int | None = None) -> Version:
    """Puts an earlier version back to work: that number, or the newest that served before the present one.

    Raises VersionUnusable where there is none that may serve.
    """
    await _hold(connection, adapter_id)
    values = {"adapter_id": adapter_id, "number": number}
    row = await (await connection.execute(_SQL["earlier"], values)).fetchone()
    if row is None:
        which = "no earlier version" if number is None else f"no version {number}"
        raise VersionUnusable(f"There is {which} to roll back to. `nightschool adapters` lists what there is.")
    return await switch(connection, row["id"])


async def erase(connection: Connection, memory_ids: Sequence[int]) -> list[Version]:
    """Marks all versions as erased that were trained on any of these memories and do not serve, so that none can come
    back.

    Returns them: their files are to be removed (AdapterFiles.remove).
    """
    rows = await (await connection.execute(_SQL["erase"], {"memory_ids": list(memory_ids)})).fetchall()
    return [made(Version, row) for row in rows]


async def _hold(connection: Connection, adapter_id: int) -> None:
    """Locks an adapter's row, so that its versions change one transaction at a time. Raises NotFound."""
    if (await connection.execute(_SQL["hold"], {"adapter_id": adapter_id})).rowcount == 0:
        raise NotFound(f"There is no adapter with the id {adapter_id} in this team. `nightschool adapters` lists them.")
