"""Locks by name, held until the transaction's end."""

from storage.database import Connection
from storage.queries import queries

_SQL = queries("locks")


async def hold(connection: Connection, *what: object) -> None:
    """Holds this team's lock of that name until the transaction ends, waiting for whoever holds it."""
    await connection.execute(_SQL["hold"], {"what": "\x1f".join(map(str, what))})
