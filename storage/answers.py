"""Answers: what the bot replied, by which route, from what."""

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from storage.database import Connection
from storage.queries import queries
from storage.rows import jsonb, made

_SQL = queries("answers")

Route = Literal["weights", "notes", "unknown"]


@dataclass(frozen=True, slots=True)
class Citation:
    """Where an answer comes from: one sentence of one source."""

    title: str
    uri: str
    quote: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply. `quoted`: the evidence itself was shown instead of the model's words; `confidence` is in [0, 1]."""

    id: int
    person_id: int | None
    audience_id: int | None
    surface: str
    thread: str | None
    event_id: str | None
    question: str
    text: str
    route: Route
    quoted: bool
    version_id: int | None
    memory_id: int | None
    sources: list[Citation]
    prompt_tokens: int
    completion_tokens: int
    latency_ms: float
    confidence: float | None
    created_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """An answer to keep; `event_id` is the surface's id of the question, where it has one."""

    surface: str
    question: str
    text: str
    route: Route
    person_id: int | None = None
    audience_id: int | None = None
    thread: str | None = None
    event_id: str | None = None
    quoted: bool = False
    version_id: int | None = None
    memory_id: int | None = None
    sources: Sequence[Citation] = field(default_factory=tuple)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: float = 0.0
    confidence: float | None = None


async def save(connection: Connection, new: NewAnswer) -> Answer:
    """Keeps an answer; to an event that was answered already the kept answer is returned: one event, one reply."""
    values = {name: getattr(new, name) for name in NewAnswer.__dataclass_fields__}
    values["sources"] = jsonb([asdict(citation) for citation in new.sources])
    row = await (await connection.execute(_SQL["save"], values)).fetchone()
    if row is None:
        row = await (await connection.execute(_SQL["by_event"], values)).fetchone()
    return _answer(row or {})


async def by_event(connection: Connection, surface: str, event_id: str) -> Answer | None:
    """The answer to a surface's event, if there is one."""
    row = await (await connection.execute(_SQL["by_event"], {"surface": surface, "event_id": event_id})).fetchone()
    return _answer(row) if row else None


async def get(connection: Connection, id: int) -> Answer | None:
    """An answer by id, if there is one."""
    row = await (await connection.execute(_SQL["get"], {"id": id})).fetchone()
    return _answer(row) if row else None


async def studied(connection: Connection, ids: Sequence[int]) -> list[Answer]:
    """Those of these answers whose question may be studied, in the order they were given.

    Whoever asked must allow it, and the training switches of the place where it was asked and of what people tell the bot.
    """
    return [_answer(row) for row in await (await connection.execute(_SQL["studied"], {"ids": list(ids)})).fetchall()]


async def take_back(connection: Connection, surface: str, event_id: str, keeping: str | None = None) -> None:
    """Takes back the words of a question that its author deleted, or edited: all its versions (`id:edit`) but the one to keep.

    The answer stays, for whoever corrected it.
    """
    await connection.execute(_SQL["take_back"], {"surface": surface, "event_id": event_id, "keeping": keeping})


async def thread(connection: Connection, surface: str, thread: str, limit: int) -> list[Answer]:
    """The last `limit` answers of a thread, oldest first."""
    values = {"surface": surface, "thread": thread, "limit": limit}
    return [_answer(row) for row in reversed(await (await connection.execute(_SQL["thread"], values)).fetchall())]


async def recent(connection: Connection, since: datetime.datetime) -> list[Answer]:
    """All answers since a time, oldest first."""
    return [_answer(row) for row in await (await connection.execute(_SQL["recent"], {"since": since})).fetchall()]


async def latest(connection: Connection, limit: int) -> list[Answer]:
    """The last `limit` answers of the team, newest first."""
    return [_answer(row) for row in await (await connection.execute(_SQL["latest"], {"limit": limit})).fetchall()]


async def unanswered(
    connection: Connection,
    person_id: int,
    everyone: int,
    audiences: Sequence[int],
    since: datetime.datetime,
    limit: int,
) -> list[str]:
    """Questions since a time to which nothing was known when last asked, each once, newest first.

    Those of the person, and those asked in a place of the whole team (audience `everyone`); but for what was taught in
    reply and these audiences may know.
    """
    values = {
        "person": person_id,
        "everyone": everyone,
        "audiences": list(audiences),
        "since": since,
        "limit": limit,
    }
    return [row["question"] for row in await (await connection.execute(_SQL["unanswered"], values)).fetchall()]


def _answer(row: dict[str, Any]) -> Answer:
    return made(Answer, {**row, "sources": [Citation(**citation) for citation in row["sources"]]})
