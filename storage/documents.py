"""Documents: what connectors bring, in revisions."""

import datetime
from dataclasses import dataclass, field
from typing import Any

from storage import memories
from storage.database import Connection
from storage.locks import hold
from storage.queries import queries
from storage.rows import jsonb, made

_SQL = queries("documents")


@dataclass(frozen=True, slots=True)
class Document:
    """One revision of a document. It is current while neither superseded nor retracted."""

    id: int
    source_id: int
    key: str
    revision: int
    title: str
    uri: str
    text: str
    sha256: str
    author: str
    written_at: datetime.datetime | None
    audience_id: int
    created_at: datetime.datetime
    superseded_at: datetime.datetime | None
    retracted_at: datetime.datetime | None
    meta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document as a connector found it. `key` names it within its source, `meta` is the connector's own note."""

    source_id: int
    key: str
    title: str
    uri: str
    text: str
    sha256: str
    author: str
    written_at: datetime.datetime | None
    audience_id: int
    meta: dict[str, Any] = field(default_factory=dict)


async def save(connection: Connection, new: NewDocument) -> Document | None:
    """Keeps a document: a new revision where sha256, title or written_at differ from the current one, else None.

    A new revision supersedes the old: its passages are deleted, its memories retracted until they are noted again.
    Where nothing differs, meta, address, author and audience are taken over: narrowed permissions count at once.
    """
    await hold(connection, "document", new.source_id, new.key)
    values = {name: getattr(new, name) for name in NewDocument.__dataclass_fields__} | {"meta": jsonb(new.meta)}
    row = await (await connection.execute(_SQL["current_of_key"], values)).fetchone()
    if row is not None:
        if (row["sha256"], row["title"], row["written_at"]) == (new.sha256, new.title, new.written_at):
            await connection.execute(_SQL["touch"], {**values, "id": row["id"]})
            if row["audience_id"] != new.audience_id:
                await memories.move_document(connection, row["id"], new.audience_id)
            return None
        await connection.execute(_SQL["supersede"], {"id": row["id"]})
        await connection.execute(_SQL["drop_passages"], {"id": row["id"]})
        await memories.retract_document(connection, row["id"], "superseded")
    row = await (await connection.execute(_SQL["insert"], values)).fetchone()
    return made(Document, row or {})


async def retract(connection: Connection, source_id: int, key: str) -> int:
    """Retracts a document with its passages and memories, at once. Returns how many documents (0 or 1)."""
    await hold(connection, "document", source_id, key)
    rows = await (await connection.execute(_SQL["retract"], {"source_id": source_id, "key": key})).fetchall()
    for row in rows:
        await connection.execute(_SQL["drop_passages"], {"id": row["id"]})
    # Also what earlier revisions left overridden: nothing of a deleted document may come back by itself.
    for row in await (await connection.execute(_SQL["ids_of_key"], {"source_id": source_id, "key": key})).fetchall():
        await memories.retract_document(connection, row["id"], "retracted")
    return len(rows)


async def current(connection: Connection, source_id: int | None = None) -> list[Document]:
    """The current documents, of one source or all."""
    rows = await (await connection.execute(_SQL["current"], {"source_id": source_id})).fetchall()
    return [made(Document, row) for row in rows]


async def metas(connection: Connection, source_id: int) -> dict[str, dict[str, Any]]:
    """The connector's notes on a source's current documents, by key: what makes an unchanged file cost a stat."""
    rows = await (await connection.execute(_SQL["metas"], {"source_id": source_id})).fetchall()
    return {row["key"]: row["meta"] for row in rows}


async def unindexed(connection: Connection, embedder: str) -> list[Document]:
    """Current documents whose passages this embedder has not made yet."""
    rows = await (await connection.execute(_SQL["unindexed"], {"embedder": embedder})).fetchall()
    return [made(Document, row) for row in rows]
