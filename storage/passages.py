"""Passages: the notes. What retrieval finds."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from storage.database import Connection
from storage.queries import queries
from storage.rows import Embedding, made, vector

_SQL = queries("passages")

# How many of each ranking enter the fusion, and the constant that flattens it (Cormack et al. 2009 use 60).
_CANDIDATES = 50
_FLATTEN = 60


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, a message or a memory (exactly one of them); title, uri and audience are its parent's."""

    id: int
    document_id: int | None
    message_id: int | None
    memory_id: int | None
    ordinal: int
    heading: str
    text: str
    audience_id: int
    written_at: datetime.datetime | None
    title: str
    uri: str


@dataclass(frozen=True, slots=True)
class NewPassage:
    """A passage to keep; `embedding` has the embedder's dimension, `heading` may be empty."""

    ordinal: int
    heading: str
    text: str
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found: cosine similarity to the question in [-1, 1] and the fused rank's score (greater is better)."""

    passage: Passage
    similarity: float
    rank: float


async def replace(
    connection: Connection,
    *,
    document_id: int | None = None,
    message_id: int | None = None,
    memory_id: int | None = None,
    revision: int = 0,
    embedder: str,
    rows: Sequence[NewPassage],
) -> int:
    """Makes `rows` the passages of one document, message or memory and notes it as indexed; returns how many were kept.

    Keeps none where the parent was superseded, deleted or retracted meanwhile, or a message is no longer of the `revision`
    that was read. Raises ValueError unless one parent is
    named.
    """
    parents = {"document": document_id, "message": message_id, "memory": memory_id}
    named = [(noun, id) for noun, id in parents.items() if id is not None]
    if len(named) != 1:
        raise ValueError("passages.replace wants exactly one of document_id, message_id, memory_id")
    noun, id = named[0]
    # The parent's row stays locked to the end, so that a retraction that comes now waits and then deletes what is kept
    # here.
    if (
        await connection.execute(_SQL[f"hold_{noun}"], {"id": id, "revision": revision, "embedder": embedder})
    ).rowcount == 0:
        return 0
    ids = {f"{noun}_id": id for noun, id in parents.items()}
    await connection.execute(_SQL["drop"], ids)
    values = [
        ids
        | {
            "embedder": embedder,
            "ordinal": row.ordinal,
            "heading": row.heading,
            "text": row.text,
            "embedding": vector(row.embedding),
        }
        for row in rows
    ]
    if values:
        async with connection.cursor() as cursor:
            await cursor.executemany(_SQL["insert"], values)
    return len(values)


async def renew(connection: Connection, embedder: str) -> None:
    """Gives the passages of memories their memory's vector where that is this embedder's and theirs another's."""
    await connection.execute(_SQL["renew"], {"embedder": embedder})


async def search(
    connection: Connection, embedding: Embedding, text: str, audiences: Sequence[int], embedder: str, limit: int
) -> list[Hit]:
    """Hybrid search: reciprocal rank fusion of cosine similarity and English full text (any of the question's words).

    Only passages whose parent stands, whose source is switched on for retrieval, and whose audience is among
    `audiences`. The scan is exact: a team's passages are few enough, and an approximate index shared by all teams loses
    recall under row-level security. https://plg.uwaterloo.ca/~gvcormac/cormacksigir09-rrf.pdf
    """
    values = {
        "embedding": vector(embedding),
        "text": text,
        "audiences": list(audiences),
        "embedder": embedder,
        "limit": limit,
        "candidates": max(_CANDIDATES, limit),
        "flatten": _FLATTEN,
    }
    rows = await (await connection.execute(_SQL["search"], values)).fetchall()
    return [Hit(made(Passage, row), float(row["similarity"]), float(row["rank"])) for row in rows]


async def saying(connection: Connection, texts: Sequence[str], audiences: Sequence[int]) -> list[Passage]:
    """For each of `texts` the newest passage that is exactly it and that these audiences may know, where there is one."""
    values = {"texts": list(texts), "audiences": list(audiences)}
    return [made(Passage, row) for row in await (await connection.execute(_SQL["saying"], values)).fetchall()]


async def all(connection: Connection, audiences: Sequence[int]) -> list[Passage]:
    """Every passage that these audiences may know, in reading order."""
    rows = await (await connection.execute(_SQL["all"], {"audiences": list(audiences)})).fetchall()
    return [made(Passage, row) for row in rows]


async def neighbours(connection: Connection, passage_id: int, before: int, after: int) -> list[Passage]:
    """The passages around one within its parent, itself included, in reading order."""
    values = {"id": passage_id, "before": before, "after": after}
    return [made(Passage, row) for row in await (await connection.execute(_SQL["neighbours"], values)).fetchall()]
