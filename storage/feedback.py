"""Feedback: events on answers, and what people told to remember. Idempotent by the surface's event id, retractable, never
lost.
"""

import datetime
from dataclasses import dataclass
from typing import Literal

from storage import answers, memories
from storage.database import Connection
from storage.errors import UnknownAnswer
from storage.locks import hold
from storage.queries import queries
from storage.rows import made

_SQL = queries("feedback")

Kind = Literal["thumbs", "emoji", "correction", "remember"]


@dataclass(frozen=True, slots=True)
class Feedback:
    """One event on an answer: `value` is "up" or "down", an emoji's name, or "" for a correction, whose words are
    `text`. What was told to remember is on no answer, and its words are its memory's.
    """

    id: int
    answer_id: int | None
    person_id: int | None
    surface: str
    event_id: str
    kind: Kind
    value: str
    text: str
    created_at: datetime.datetime
    retracted_at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class NewFeedback:
    """Feedback to keep. With `at`, the surface's own time of the event, adding again after a retraction counts."""

    answer_id: int | None
    person_id: int | None
    surface: str
    event_id: str
    kind: Kind
    value: str = ""
    text: str = ""
    at: datetime.datetime | None = None


async def record(connection: Connection, new: NewFeedback) -> Feedback | None:
    """Keeps feedback once; None where it changes nothing (kept before, or its retraction has arrived already).

    Raises UnknownAnswer.
    """
    if new.answer_id is not None and await answers.get(connection, new.answer_id) is None:
        raise UnknownAnswer(
            f"There is no answer {new.answer_id} in this team, so the feedback on it was not kept. Check the answer's "
            "id."
        )
    await hold(connection, "feedback", new.surface, new.event_id)
    values = {name: getattr(new, name) for name in NewFeedback.__dataclass_fields__}
    row = await (await connection.execute(_SQL["record"], values)).fetchone()
    return made(Feedback, row) if row and row["retracted_at"] is None else None


async def retract(
    connection: Connection, surface: str, event_id: str, at: datetime.datetime | None = None
) -> Feedback | None:
    """Takes feedback back, with the memories made from it. A retraction that comes first is kept.

    Returns the feedback where it stood until now.
    """
    await hold(connection, "feedback", surface, event_id)
    values = {"surface": surface, "event_id": event_id, "at": at}
    stood = await (await connection.execute(_SQL["find_standing"], values)).fetchone()
    row = await (await connection.execute(_SQL["retract"], values)).fetchone()
    if stood is None or row is None or row["retracted_at"] is None:
        return None
    if row["kind"] in ("correction", "remember"):
        await memories.retract_feedback(connection, row["id"])
    return made(Feedback, row)


async def stands(connection: Connection, surface: str, event_id: str) -> bool:
    """Whether an event's feedback was kept and is not retracted."""
    values = {"surface": surface, "event_id": event_id}
    return await (await connection.execute(_SQL["find_standing"], values)).fetchone() is not None


async def standing(connection: Connection, since: datetime.datetime | None = None) -> list[Feedback]:
    """All feedback on answers that is not retracted, oldest first; of a person's thumbs on an answer only the last."""
    return [
        made(Feedback, row) for row in await (await connection.execute(_SQL["standing"], {"since": since})).fetchall()
    ]


async def of_answer(connection: Connection, answer_id: int) -> list[Feedback]:
    """The standing feedback on one answer, oldest first."""
    rows = await (await connection.execute(_SQL["of_answer"], {"answer": answer_id})).fetchall()
    return [made(Feedback, row) for row in rows]


async def of_message(connection: Connection, surface: str, event_id: str) -> list[Feedback]:
    """The standing feedback that a message of the surface gave: under its own id, or `id:edit` where it was edited."""
    rows = await (await connection.execute(_SQL["of_message"], {"surface": surface, "event_id": event_id})).fetchall()
    return [made(Feedback, row) for row in rows]
