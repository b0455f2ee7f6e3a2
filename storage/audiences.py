"""Audiences: who may know an item."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage.database import Connection
from storage.queries import queries
from storage.rows import made

_SQL = queries("audiences")

Kind = Literal["team", "channel", "person"]


@dataclass(frozen=True, slots=True)
class Audience:
    """The whole team, a private channel's members, or one person."""

    id: int
    kind: Kind
    key: str
    name: str


async def whole_team(connection: Connection) -> Audience:
    """Everybody of the team: the only audience whose items may train the team's adapter."""
    return await _ensure(connection, "team", "", "")


async def channel(connection: Connection, surface: str, key: str, name: str, private: bool) -> Audience:
    """A private channel's members; a public channel's audience is the whole team."""
    if not private:
        return await whole_team(connection)
    return await _ensure(connection, "channel", f"{surface}:{key}", name)


async def person(connection: Connection, person_id: int) -> Audience:
    """One person alone."""
    audience = await _ensure(connection, "person", str(person_id), "")
    await connection.execute(_SQL["add_member"], {"audience": audience.id, "person": person_id})
    return audience


async def set_members(connection: Connection, audience_id: int, person_ids: Sequence[int]) -> None:
    """Makes exactly these persons the members: who left sees the audience's items no more."""
    values = {"audience": audience_id, "persons": list(person_ids)}
    await connection.execute(_SQL["drop_members"], values)
    await connection.execute(_SQL["add_members"], values)


async def drop_member(connection: Connection, audience_id: int, person_id: int) -> None:
    """One person left: sees the audience's items no more."""
    await connection.execute(_SQL["drop_member"], {"audience": audience_id, "person": person_id})


async def visible(connection: Connection, person_id: int | None, place_audience_id: int | None) -> list[int]:
    """The audiences whose items may be used where `person_id` asks.

    In a place wider than one person only what its whole audience may know: the whole team's items and that audience's
    own. In private (no place, or the person's own audience) the whole team's and every audience's the person belongs
    to.
    """
    values = {"person": person_id, "place": place_audience_id}
    return [row["id"] for row in await (await connection.execute(_SQL["visible"], values)).fetchall()]


async def _ensure(connection: Connection, kind: Kind, key: str, name: str) -> Audience:
    values = {"kind": kind, "key": key, "name": name}
    row = await (await connection.execute(_SQL["find"], values)).fetchone()
    if row is None or name not in ("", row["name"]):
        row = await (await connection.execute(_SQL["ensure"], values)).fetchone()
    return made(Audience, row or {})
