"""Locks by name, held until the transaction's end."""

from storage.database import Connection
from storage.queries import queries

_SQL = queries("locks")


async def hold(connection: Connection, *what: object) -> None:
    """Waits until no other transaction of this team holds the lock of that name, then holds it to the transaction's
    end.
    """
    await connection.execute(_SQL["hold"], {"what": "\x1f".join(map(str, what))})
