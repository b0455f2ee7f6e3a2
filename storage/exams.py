"""Exams: the evaluations that decide release."""

import datetime
from dataclasses import dataclass
from typing import Any

from storage.database import Connection
from storage.queries import queries
from storage.rows import jsonb, made

_SQL = queries("exams")


@dataclass(frozen=True, slots=True)
class Exam:
    """The exam of one version: its results as the examiner wrote them, and whether it passed."""

    id: int
    night_id: int | None
    version_id: int
    results: dict[str, Any]
    passed: bool
    created_at: datetime.datetime


async def save(
    connection: Connection, night_id: int | None, version_id: int, results: dict[str, Any], passed: bool
) -> Exam:
    """Keeps a version's exam; one that is sat again (by a resumed night) replaces the first."""
    values = {"night_id": night_id, "version_id": version_id, "results": jsonb(results), "passed": passed}
    return made(Exam, await (await connection.execute(_SQL["save"], values)).fetchone() or {})


async def of_version(connection: Connection, version_id: int) -> Exam | None:
    """The exam of a version, if it sat one."""
    row = await (await connection.execute(_SQL["of_version"], {"version_id": version_id})).fetchone()
    return made(Exam, row) if row else None
