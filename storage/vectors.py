"""Vectors: the memories' statements as what is alike is told by, many at once."""

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import DictRow

from storage.database import Connection
from storage.queries import queries

_SQL = queries("vectors")

_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class Vectors:
    """Those of n memories, row by row, ids ascending: ids and times (n,), unit vectors (n, d)."""

    ids: NDArray[np.int64]
    dated: NDArray[np.float64]
    vectors: NDArray[np.float32]


async def heard(connection: Connection, embedder: str, audience_id: int) -> Vectors:
    """This embedder's vectors of all memories of an audience that stand or that something overrides, whatever became of them.

    Without what is held back, and what stands by a source that is switched off altogether.
    """
    rows: list[DictRow] = []
    async with connection.cursor(binary=True) as cursor:  # numbers as text would take nine times as long
        await cursor.execute(_SQL["heard"], {"embedder": embedder, "audience": audience_id})
        while some := await cursor.fetchmany(_TOGETHER):
            rows += some
            await asyncio.sleep(0)  # a large team's take a second: others get their turn
    return Vectors(
        np.array([row["id"] for row in rows], dtype=np.int64),
        np.array([row["dated"] for row in rows], dtype=np.float64),
        np.array([row["embedding"].to_numpy() for row in rows], dtype=np.float32),
    )
