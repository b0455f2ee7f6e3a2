"""Examples: what training and the exam are made of, a few for each memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage.database import Connection
from storage.queries import queries
from storage.rows import Embedding, made, vector

_SQL = queries("examples")

Kind = Literal["cue", "train", "quiz", "asked"]


@dataclass(frozen=True, slots=True)
class Example:
    """A question and its answer: `cue` and `train` are trained on, `quiz` never is; people really `asked` the last."""

    id: int
    memory_id: int
    kind: Kind
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class NewExample:
    """An example to keep; the embedding (of the question, shape [d]) goes with its embedder's name."""

    kind: Kind
    question: str
    answer: str
    embedder: str | None = None
    embedding: Embedding | None = None


async def replace(connection: Connection, memory_id: int, rows: Sequence[NewExample]) -> list[Example]:
    """Makes `rows` the examples of a memory; returns them in order, none where it was forgotten or deleted meanwhile."""
    await connection.execute(_SQL["drop"], {"memory_id": memory_id})
    added = [await add(connection, memory_id, row) for row in rows]
    return [example for example in added if example]


async def add(connection: Connection, memory_id: int, new: NewExample) -> Example | None:
    """Keeps one more example of a memory; None where that was forgotten or deleted meanwhile."""
    values = {
        "memory_id": memory_id,
        "kind": new.kind,
        "question": new.question,
        "answer": new.answer,
        "embedder": new.embedder,
        "embedding": vector(new.embedding),
    }
    row = await (await connection.execute(_SQL["insert"], values)).fetchone()
    return made(Example, row) if row else None


async def asked(connection: Connection) -> list[Example]:
    """All questions that people really asked, of whatever memory."""
    return [made(Example, row) for row in await (await connection.execute(_SQL["asked"])).fetchall()]


async def remove(connection: Connection, ids: Sequence[int]) -> None:
    """Deletes single examples."""
    await connection.execute(_SQL["remove"], {"ids": list(ids)})


async def of_memories(connection: Connection, ids: Sequence[int]) -> list[Example]:
    """The examples of these memories, by memory, in the order they were made."""
    rows = await (await connection.execute(_SQL["of_memories"], {"ids": list(ids)})).fetchall()
    return [made(Example, row) for row in rows]


async def unembedded(connection: Connection, embedder: str) -> list[Example]:
    """The examples of standing memories whose question was embedded by another embedder."""
    rows = await (await connection.execute(_SQL["unembedded"], {"embedder": embedder})).fetchall()
    return [made(Example, row) for row in rows]


async def embed(connection: Connection, id: int, embedder: str, embedding: Embedding) -> None:
    """Keeps the embedding of an example's question, shape [d]."""
    await connection.execute(_SQL["embed"], {"id": id, "embedder": embedder, "embedding": vector(embedding)})


async def quiz(connection: Connection) -> list[Example]:
    """The quiz examples of all memories that stand."""
    return [made(Example, row) for row in await (await connection.execute(_SQL["quiz"])).fetchall()]
