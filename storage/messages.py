"""Messages: what people say. Originals, edits and deletions converge in whatever order they arrive."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import DictRow

from storage import locks, memories
from storage.database import Connection
from storage.queries import queries
from storage.rows import made

_SQL = queries("messages")
_SHORT = 12
"""Words of the longest message that may be a mere reply ("No, not before May.")."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it stands after its edits; a deleted one's text is gone.

    `revision` counts what may change how it is read: its edits, and those of what was said before it in its thread.
    """

    id: int
    source_id: int
    surface: str
    event_id: str
    channel: str
    thread: str | None
    person_id: int | None
    author: str
    text: str
    said_at: datetime.datetime
    edited_at: datetime.datetime | None
    deleted_at: datetime.datetime | None
    audience_id: int
    revision: int


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message as it was said; (surface, event_id) names it for ever."""

    source_id: int
    surface: str
    event_id: str
    channel: str
    thread: str | None
    person_id: int | None
    author: str
    text: str
    said_at: datetime.datetime
    audience_id: int
    uri: str = ""


async def save(connection: Connection, new: NewMessage) -> Message | None:
    """Keeps a message once; None where it was kept before or its deletion has arrived already."""
    await _hold(connection, new.surface, new.event_id)
    values = {name: getattr(new, name) for name in NewMessage.__dataclass_fields__}
    row = await (await connection.execute(_SQL["save"], values)).fetchone()
    if row is None or row["deleted_at"] is not None:
        return None
    await _read_later_anew(connection, row, row["text"])
    return made(Message, row)


async def edit(
    connection: Connection, surface: str, event_id: str, text: str, edited_at: datetime.datetime
) -> Message | None:
    """Takes over an edit unless a later one is known; returns the message where its text changed.

    Its passages are deleted and its memories retracted until they are noted again. An edit before its original is kept.
    """
    await _hold(connection, surface, event_id)
    values = {"surface": surface, "event_id": event_id, "text": text, "edited_at": edited_at}
    before = await (await connection.execute(_SQL["find"], values)).fetchone()
    row = await (await connection.execute(_SQL["edit"], values)).fetchone()
    # Slack also calls it an edit when it adds a preview to a link: the same text again changes nothing.
    if row is None or not row["arrived"] or (before is not None and before["text"] == row["text"]):
        return None
    await connection.execute(_SQL["drop_passages"], {"id": row["id"]})
    await memories.retract_message(connection, row["id"], "superseded")
    await _read_later_anew(connection, row, row["text"], before["text"] if before else "")
    return made(Message, row)


async def delete(connection: Connection, surface: str, event_id: str) -> bool:
    """Deletes a message for good: text, passages, and its memories are retracted. A deletion before its original is
    kept.

    Returns whether anything was deleted now.
    """
    await _hold(connection, surface, event_id)
    before = await (await connection.execute(_SQL["find"], {"surface": surface, "event_id": event_id})).fetchone()
    row = await (await connection.execute(_SQL["delete"], {"surface": surface, "event_id": event_id})).fetchone()
    if row is None:
        return False
    await connection.execute(_SQL["drop_passages"], {"id": row["id"]})
    await memories.retract_message(connection, row["id"], "retracted")
    await _read_later_anew(connection, row, before["text"] if before else "")
    return bool(row["arrived"])


async def withdraw(connection: Connection, surface: str, event_id: str) -> None:
    """Takes a message out of the notes, as if only its edit had arrived; `save` brings it back.

    Its passages are deleted and its memories retracted.
    """
    await _hold(connection, surface, event_id)
    row = await (await connection.execute(_SQL["withdraw"], {"surface": surface, "event_id": event_id})).fetchone()
    if row is not None:
        await connection.execute(_SQL["drop_passages"], {"id": row["id"]})
        await memories.retract_message(connection, row["id"], "superseded")
        await _read_later_anew(connection, row | {"arrived": True}, row["text"])


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a message by its event, whether or not the message itself has arrived."""

    text: str
    arrived: bool
    edited_at: datetime.datetime | None
    deleted_at: datetime.datetime | None


async def standing(connection: Connection, surface: str, event_id: str) -> Standing | None:
    """How a message stands, if anything came of it: itself, or an edit or a deletion before it."""
    row = await (await connection.execute(_SQL["find"], {"surface": surface, "event_id": event_id})).fetchone()
    return made(Standing, row) if row else None


async def current(connection: Connection, source_id: int | None = None) -> list[Message]:
    """The messages that stand, of one source or all, in the order they were said."""
    rows = await (await connection.execute(_SQL["current"], {"source_id": source_id})).fetchall()
    return [made(Message, row) for row in rows]


async def unindexed(connection: Connection, embedder: str) -> list[Message]:
    """Messages that stand and whose passages this embedder has not made yet."""
    rows = await (await connection.execute(_SQL["unindexed"], {"embedder": embedder})).fetchall()
    return [made(Message, row) for row in rows]


async def earlier(connection: Connection, message: Message, limit: int) -> list[Message]:
    """What was said before a message in its thread, the latest first, at most `limit`; nothing where it is in none."""
    if message.thread is None:
        return []
    values = {
        "surface": message.surface,
        "channel": message.channel,
        "thread": message.thread,
        # A thread is called after the message that begins it, whose event has the same place before its name.
        "roots": [f"{place}:{message.thread}" for place, _ in _parts(message.event_id)],
        "said_at": message.said_at,
        "id": message.id,
        "source_id": message.source_id,
        "audience_id": message.audience_id,
        "limit": limit,
    }
    return [made(Message, row) for row in await (await connection.execute(_SQL["earlier"], values)).fetchall()]


async def hold(connection: Connection, read: Sequence[Message]) -> set[int]:
    """The ids of those of these messages that stand as they were `read`; until the transaction ends they stay so."""
    rows = await (await connection.execute(_SQL["hold"], {"ids": [message.id for message in read]})).fetchall()
    revisions = {row["id"]: row["revision"] for row in rows}
    return {message.id for message in read if revisions.get(message.id) == message.revision}


async def _hold(connection: Connection, surface: str, event_id: str) -> None:
    """Holds a message, and first all memories: whoever changes both takes them before any row, the ledger and the notes too."""
    await locks.hold(connection, "memories")
    await locks.hold(connection, "message", surface, event_id)


async def _read_later_anew(connection: Connection, row: DictRow, *said: str) -> None:
    """Whatever was said later in a message's thread may lean on it: passages go, memories stand again once it is noted.

    `said` is what the message says and said; a long one that asks nothing is no question, and no reply to one.
    """
    if not row["arrived"] or not any("?" in text or len(text.split()) <= _SHORT for text in said):
        return
    values = {
        "surface": row["surface"],
        "channel": row["channel"],
        "threads": [row["thread"]] if row["thread"] else [name for _, name in _parts(row["event_id"])],
        "said_at": row["said_at"],
        "source_id": row["source_id"],
    }
    for later in await (await connection.execute(_SQL["read_anew"], values)).fetchall():
        await connection.execute(_SQL["drop_passages"], later)
        await memories.retract_message(connection, later["id"], "superseded")


def _parts(event_id: str) -> list[tuple[str, str]]:
    """The ways to read an event's id as `place:name`: either may have colons itself."""
    words = event_id.split(":")
    return [(":".join(words[:n]), ":".join(words[n:])) for n in range(1, len(words))]
