"""Preferences: pairs for DPO, made from feedback by a night."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from storage.database import Connection
from storage.queries import queries
from storage.rows import jsonb, made

_SQL = queries("preferences")

Prompt: TypeAlias = str | list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Preference:
    """To `prompt` (a question or chat messages) `chosen` is better than `rejected`; `weight` in (0, 1]: how far people agree."""

    id: int
    night_id: int
    prompt: Prompt
    chosen: str
    rejected: str
    weight: float
    reason: str
    feedback_ids: list[int]


@dataclass(frozen=True, slots=True)
class NewPreference:
    """A pair to keep, with the feedback it comes from."""

    prompt: Prompt
    chosen: str
    rejected: str
    weight: float
    reason: str
    feedback_ids: Sequence[int]


async def replace(connection: Connection, night_id: int, rows: Sequence[NewPreference]) -> list[Preference]:
    """Makes `rows` the pairs of a night; returns them in order."""
    await connection.execute(_SQL["drop"], {"night_id": night_id})
    for row in rows:
        values = {
            "night_id": night_id,
            "prompt": jsonb(row.prompt),
            "chosen": row.chosen,
            "rejected": row.rejected,
            "weight": row.weight,
            "reason": row.reason,
            "feedback_ids": list(row.feedback_ids),
        }
        await connection.execute(_SQL["insert"], values)
    return await of_night(connection, night_id)


async def of_night(connection: Connection, night_id: int) -> list[Preference]:
    """The pairs of a night, in the order they were made."""
    rows = await (await connection.execute(_SQL["of_night"], {"night_id": night_id})).fetchall()
    return [made(Preference, row) for row in rows]
