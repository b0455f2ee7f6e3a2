"""Workspaces: which Slack workspace or Teams tenant is which team. All functions take a system connection."""

from storage.database import Connection
from storage.queries import queries
from storage.rows import made
from storage.teams import Team

_SQL = queries("workspaces")


async def link(connection: Connection, surface: str, key: str, team_id: int) -> None:
    """Makes a workspace the team's; it was another's until now where it was moved."""
    await connection.execute(_SQL["link"], {"surface": surface, "key": key, "team": team_id})


async def team(connection: Connection, surface: str, key: str) -> Team | None:
    """The team of a workspace, if it has one."""
    row = await (await connection.execute(_SQL["team"], {"surface": surface, "key": key})).fetchone()
    return made(Team, row) if row else None


async def all(connection: Connection, surface: str) -> dict[str, int]:
    """The teams' ids of all workspaces of a surface, by the workspace's key."""
    rows = await (await connection.execute(_SQL["all"], {"surface": surface})).fetchall()
    return {row["key"]: row["team"] for row in rows}


async def unlink(connection: Connection, surface: str, key: str) -> None:
    """Takes a workspace from its team; what it said stays the team's."""
    await connection.execute(_SQL["unlink"], {"surface": surface, "key": key})
