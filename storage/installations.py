"""Installations: the bot in one workspace, with its tokens, which storage only ever sees encrypted."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from storage.database import Connection
from storage.queries import queries
from storage.rows import made

_SQL = queries("installations")


@dataclass(frozen=True, slots=True)
class Installation:
    """The bot in a workspace: ids as the surface has them; `tokens` encrypted, None once they were revoked."""

    surface: str
    workspace: str
    bot_user: str
    bot: str
    app: str
    scopes: list[str]
    tokens: bytes | None
    installed_by: str
    installed_at: datetime.datetime
    revoked_at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class NewInstallation:
    """An installation to keep."""

    surface: str
    workspace: str
    bot_user: str
    bot: str
    app: str
    scopes: Sequence[str]
    tokens: bytes
    installed_by: str = ""


async def save(connection: Connection, new: NewInstallation) -> None:
    """Keeps an installation, in place of an earlier one of the same workspace."""
    values = {name: getattr(new, name) for name in NewInstallation.__dataclass_fields__}
    await connection.execute(_SQL["save"], values | {"scopes": list(new.scopes)})


async def get(connection: Connection, surface: str, workspace: str) -> Installation | None:
    """The installation in a workspace, if there was ever one."""
    values = {"surface": surface, "workspace": workspace}
    row = await (await connection.execute(_SQL["get"], values)).fetchone()
    return made(Installation, row) if row else None


async def all(connection: Connection) -> list[Installation]:
    """The team's installations, revoked ones too."""
    return [made(Installation, row) for row in await (await connection.execute(_SQL["all"])).fetchall()]


async def renew(connection: Connection, surface: str, workspace: str, tokens: bytes) -> None:
    """Writes the tokens anew, unless they were revoked."""
    await connection.execute(_SQL["renew"], {"surface": surface, "workspace": workspace, "tokens": tokens})


async def revoke(connection: Connection, surface: str, workspace: str) -> None:
    """Erases the tokens: the bot was uninstalled there, or its tokens were revoked."""
    await connection.execute(_SQL["revoke"], {"surface": surface, "workspace": workspace})
