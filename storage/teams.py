"""Teams: the tenants. All functions take a system connection."""

import datetime
from dataclasses import dataclass, replace
from typing import Any

from storage.database import Connection
from storage.errors import NotFound
from storage.queries import queries
from storage.rows import jsonb, made

_SQL = queries("teams")


@dataclass(frozen=True, slots=True)
class Team:
    """A tenant; `night_at` is a time of day in its `timezone` (an IANA name)."""

    id: int
    key: str
    name: str
    timezone: str
    night_at: datetime.time
    settings: dict[str, Any]


async def ensure(connection: Connection, key: str, name: str | None = None) -> Team:
    """The team of that key, made if it is new; `name` defaults to the key and renames an existing team where given."""
    cursor = await connection.execute(_SQL["ensure"], {"key": key, "name": name})
    return made(Team, await cursor.fetchone() or {})


async def get(connection: Connection, key: str) -> Team | None:
    """The team of that key, if there is one."""
    row = await (await connection.execute(_SQL["get"], {"key": key})).fetchone()
    return made(Team, row) if row else None


async def hold(connection: Connection, id: int) -> Team:
    """The team as it is now, which nobody else changes until the transaction ends: to `update` it. Raises NotFound."""
    row = await (await connection.execute(_SQL["hold"], {"id": id})).fetchone()
    if row is None:
        raise NotFound(f"There is no team with the id {id}; nothing was changed.")
    return made(Team, row)


async def choose(connection: Connection, id: int, setting: str, key: str, value: str | None) -> Team:
    """Sets one entry of a setting that is a mapping, None: takes it out; returns the team as it is now. Raises NotFound."""
    now = await hold(connection, id)
    others = {name: chosen for name, chosen in now.settings.get(setting, {}).items() if name != key}
    entries = others if value is None else others | {key: value}
    now = replace(now, settings=now.settings | {setting: entries})
    await update(connection, now)
    return now


async def all(connection: Connection) -> list[Team]:
    """All teams, oldest first."""
    return [made(Team, row) for row in await (await connection.execute(_SQL["all"])).fetchall()]


async def update(connection: Connection, team: Team) -> None:
    """Writes name, time zone, hour of the night and settings. Raises NotFound."""
    values = {
        "id": team.id,
        "name": team.name,
        "timezone": team.timezone,
        "night_at": team.night_at,
        "settings": jsonb(team.settings),
    }
    if (await connection.execute(_SQL["update"], values)).rowcount == 0:
        raise NotFound(f"There is no team with the id {team.id}; nothing was changed.")
