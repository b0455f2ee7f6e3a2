"""Channels: the places on a surface where the bot is, who hears what is said there, and what it answers."""

import datetime
from dataclasses import dataclass
from typing import Literal

from storage.database import Connection
from storage.errors import NotFound
from storage.queries import queries
from storage.rows import made

_SQL = queries("channels")

Kind = Literal["public", "private", "direct"]
Follow = Literal["mention", "thread", "all"]


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, private channel or direct conversation; `shared` with another organisation.

    `members_at`: when the audience's members were last read; None: they must be read before anything private is told there.
    `changes`: how often somebody was said to have come or gone.
    """

    surface: str
    key: str
    name: str
    kind: Kind
    audience_id: int
    follow: Follow
    shared: bool
    members_at: datetime.datetime | None
    left_at: datetime.datetime | None
    changes: int


async def save(
    connection: Connection,
    surface: str,
    key: str,
    name: str,
    kind: Kind,
    audience_id: int,
    *,
    shared: bool = False,
    follow: Follow = "mention",
) -> Channel:
    """Keeps a channel as it is now; `follow` counts only where it is new: afterwards the switch is the team's."""
    values = {"surface": surface, "key": key, "name": name, "kind": kind, "audience": audience_id}
    row = await (await connection.execute(_SQL["save"], values | {"shared": shared, "follow": follow})).fetchone()
    return made(Channel, row or {})


async def get(connection: Connection, surface: str, key: str) -> Channel | None:
    """A channel by its surface's id, if it is known."""
    row = await (await connection.execute(_SQL["get"], {"surface": surface, "key": key})).fetchone()
    return made(Channel, row) if row else None


async def all(connection: Connection) -> list[Channel]:
    """The channels where the bot is."""
    return [made(Channel, row) for row in await (await connection.execute(_SQL["all"])).fetchall()]


async def members(connection: Connection) -> dict[tuple[str, str], int]:
    """How many persons are known in each channel where the bot is, by (surface, key); in a public one all of its surface."""
    rows = await (await connection.execute(_SQL["members"])).fetchall()
    return {(row["surface"], row["key"]): row["members"] for row in rows}


async def set_follow(connection: Connection, surface: str, key: str, follow: Follow) -> Channel:
    """Chooses what is answered in a channel. Raises NotFound."""
    values = {"surface": surface, "key": key, "follow": follow}
    row = await (await connection.execute(_SQL["follow"], values)).fetchone()
    if row is None:
        raise NotFound(f"There is no channel {key} on {surface} in this team: the bot was never invited there.")
    return made(Channel, row)


async def members_known(connection: Connection, surface: str, key: str, changes: int) -> bool:
    """Notes that the members were read just now; False where more `changes` are known than when the reading began.

    Until the transaction ends no change can be noted: write the members within it.
    """
    values = {"surface": surface, "key": key, "changes": changes}
    return (await connection.execute(_SQL["members_known"], values)).rowcount == 1


async def members_stale(connection: Connection, surface: str, key: str) -> Channel | None:
    """Notes that somebody came or went, so that the members are to be read anew; the channel, if it is known."""
    row = await (await connection.execute(_SQL["members_stale"], {"surface": surface, "key": key})).fetchone()
    return made(Channel, row) if row else None


async def left(connection: Connection, surface: str, key: str) -> None:
    """Notes that the bot is no longer there."""
    await connection.execute(_SQL["left"], {"surface": surface, "key": key})
