"""Events: what comes in from a surface, kept before it is acknowledged and worked off from a queue, once.

The queue (errands) spans all teams and holds no words; an event's payload is its team's own and is emptied when it is done.
"""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage.database import Connection
from storage.queries import queries
from storage.rows import made, sayable

_SQL = queries("events")

CHANNEL = "nightschool_events"
"""NOTIFY on this channel says that an event came in."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to keep; (surface, event_id) names it for ever. Events of one `lane` are worked off in order."""

    surface: str
    event_id: str
    lane: str
    kind: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """An event to be worked off."""

    id: int
    team_id: int
    surface: str
    event_id: str
    kind: str
    payload: dict[str, Any]
    received_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class Errand:
    """A place in the queue: `team` and `event` are ids, `attempts` counts this one too, but for those that were forgiven.

    `again`: it was taken before, be it by a process that was killed.
    """

    id: int
    team: int
    event: int
    attempts: int
    again: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """An event that was given up, with the reason."""

    id: int
    surface: str
    kind: str
    error: str
    done_at: datetime.datetime


async def store(connection: Connection, new: Sequence[NewEvent]) -> None:
    """Keeps events, each once; they are in the queue when the transaction ends."""
    values = {
        "surfaces": [one.surface for one in new],
        "event_ids": [one.event_id for one in new],
        "lanes": [one.lane for one in new],
        "kinds": [one.kind for one in new],
        "payloads": [json.dumps(sayable(one.payload)) for one in new],
    }
    await connection.execute(_SQL["store"], values)


async def take(connection: Connection, surfaces: Sequence[str], limit: int, seconds: float) -> list[Errand]:
    """Takes up to `limit` due errands of these surfaces for `seconds`, after which they are free again.

    A system connection, like for `hold_on` and `later`.
    """
    values = {"surfaces": list(surfaces), "limit": limit, "seconds": seconds}
    rows = await (await connection.execute(_SQL["take"], values)).fetchall()
    return sorted((made(Errand, row) for row in rows), key=lambda errand: errand.id)


async def hold_on(connection: Connection, ids: Sequence[int], seconds: float) -> None:
    """Keeps errands under way for another `seconds`."""
    await connection.execute(_SQL["hold"], {"ids": list(ids), "seconds": seconds})


async def later(connection: Connection, id: int, seconds: float, *, forgiven: bool) -> None:
    """Puts an errand back into the queue, due in `seconds`; `forgiven`: this attempt does not count."""
    await connection.execute(_SQL["later"], {"id": id, "seconds": seconds, "forgiven": forgiven})


async def get(connection: Connection, id: int) -> Event | None:
    """The team's event of that id, unless it is done."""
    row = await (await connection.execute(_SQL["get"], {"id": id})).fetchone()
    return made(Event, row) if row else None


async def done(connection: Connection, id: int, error: str | None = None) -> None:
    """Takes an event out of the queue for good and empties it; `error` says why it was given up."""
    await connection.execute(_SQL["done"], {"id": id, "error": error})


async def waiting(connection: Connection, team_id: int | None = None) -> tuple[int, float]:
    """How many events wait, of a team or over all of them, and the seconds since the oldest came in. A system connection."""
    row = await (await connection.execute(_SQL["waiting"], {"team": team_id})).fetchone() or {}
    return row["events"], row["seconds"]


async def failed(connection: Connection, since: datetime.datetime) -> list[Failed]:
    """The team's events that were given up since a time."""
    return [made(Failed, row) for row in await (await connection.execute(_SQL["failed"], {"since": since})).fetchall()]


async def drop_old(connection: Connection, seconds: float) -> None:
    """Drops the team's events that were done more than `seconds` ago: no surface delivers again so late."""
    await connection.execute(_SQL["drop_old"], {"seconds": seconds})
