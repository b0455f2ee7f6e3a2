"""Persons: members of a team, with one identity a surface."""

from dataclasses import dataclass
from typing import Any, Literal

from storage.database import Connection
from storage.errors import NotFound
from storage.locks import hold
from storage.queries import queries
from storage.rows import jsonb, made

_SQL = queries("persons")

Role = Literal["member", "admin"]


@dataclass(frozen=True, slots=True)
class Person:
    """A member of the team; `settings` are this person's own switches."""

    id: int
    name: str
    email: str | None
    role: Role
    settings: dict[str, Any]


async def identify(
    connection: Connection, surface: str, surface_user_id: str, name: str, email: str | None = None
) -> Person:
    """The person behind a surface's user, made once; a new name or email is taken over."""
    values = {"surface": surface, "user": surface_user_id, "name": name, "email": email}
    row = await (await connection.execute(_SQL["identified"], values)).fetchone()
    if row is None:
        await hold(connection, "identity", surface, surface_user_id)
        row = await (await connection.execute(_SQL["identified"], values)).fetchone()
    if row is None:
        row = await (await connection.execute(_SQL["make"], values)).fetchone()
    elif name not in ("", row["name"]) or email not in (None, row["email"]):
        row = await (await connection.execute(_SQL["rename"], {**values, "id": row["id"]})).fetchone()
    return made(Person, row or {})


async def get(connection: Connection, id: int) -> Person | None:
    """A person by id, if there is one."""
    row = await (await connection.execute(_SQL["get"], {"id": id})).fetchone()
    return made(Person, row) if row else None


async def all(connection: Connection) -> list[Person]:
    """All persons of the team."""
    return [made(Person, row) for row in await (await connection.execute(_SQL["all"])).fetchall()]


async def surfaces(connection: Connection) -> dict[int, list[str]]:
    """The surfaces on which each person was met, by the person's id."""
    rows = await (await connection.execute(_SQL["surfaces"])).fetchall()
    return {row["person_id"]: row["surfaces"] for row in rows}


async def set_role(connection: Connection, id: int, role: Role) -> None:
    """Makes a person an admin or a member. Raises NotFound."""
    if (await connection.execute(_SQL["set_role"], {"id": id, "role": role})).rowcount == 0:
        raise NotFound(f"There is no person with the id {id} in this team. `nightschool people` lists them.")


async def choose(connection: Connection, id: int, switch: str, on: bool) -> Person:
    """Sets one of a person's own switches. Raises NotFound."""
    values = {"id": id, "settings": jsonb({switch: on})}
    row = await (await connection.execute(_SQL["choose"], values)).fetchone()
    if row is None:
        raise NotFound(f"There is no person with the id {id} in this team; nothing was changed.")
    return made(Person, row)
