"""Newer overrides older: written into the ledger as soon as both are read, whichever was read first."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from learner.study import select
from storage import memories, vectors
from storage.database import Connection, Database
from storage.locks import hold
from storage.memories import Memory
from storage.teams import Team
from storage.vectors import Vectors

_CHUNK = 256


async def override(database: Database, team: Team, embedder: str, ids: Sequence[int]) -> None:
    """Lets these memories override what they say otherwise, and be overridden by what says otherwise than they.

    Each is held against the older ones of its own audience that are most like it, overridden ones too: were those left out,
    the second of two sentences about one thing would take what stands beside it for that thing. What has been overridden
    leads to what did it, so that the order of reading leaves no trace. Of a dispute neither side takes part.
    """
    if not ids:
        return
    async with database.team(team.id) as connection:
        heard = await vectors.heard(connection, embedder, ids)
    rows = np.flatnonzero(np.isin(heard.ids, np.array(ids))).tolist()
    for start in range(0, len(rows), _CHUNK):
        elders = await asyncio.to_thread(_elders, heard, rows[start : start + _CHUNK])
        async with database.team(team.id) as connection:
            await hold(connection, "memories")  # nobody tells or overrides anything meanwhile
            await _override(connection, heard, elders)


def _elders(heard: Vectors, rows: Sequence[int]) -> dict[int, list[int]]:
    """For these rows, and those newer ones that they may concern, the older ones most like each, the nearest first."""
    late = {n for row, alike in _likeness(heard, rows) for n in _most(alike, heard.dated > heard.dated[row])}
    return {
        row: _most(alike, heard.dated < heard.dated[row]) for row, alike in _likeness(heard, sorted({*rows, *late}))
    }


def _likeness(heard: Vectors, rows: Sequence[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each row with its cosine with all (n,), 0 with those of another audience."""
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        for row, alike in zip(some, heard.vectors[some] @ heard.vectors.T, strict=True):
            yield row, np.where(heard.audiences == heard.audiences[row], alike, 0.0)


def _most(alike: NDArray[np.float32], among: NDArray[np.bool_]) -> list[int]:
    found = np.flatnonzero(among & (alike >= select.LEAST_LIKENESS))
    order = np.argsort(-alike[found], kind="stable")[: select.RIVALS_OF_TOLD]
    return [int(n) for n in found[order]]


async def _override(connection: Connection, heard: Vectors, elders: Mapping[int, Sequence[int]]) -> None:
    concerned = sorted({*elders, *(old for olds in elders.values() for old in olds)})
    found = await memories.of_ids(connection, heard.ids[concerned].tolist())
    chains = _Chains(connection, heard, {memory.id: memory for memory in found if not _out(memory)})
    claims: list[tuple[Memory, Memory, float]] = []
    for row, olds in elders.items():
        if new := chains.at(row):
            rivals = [(old, chains.alike(new, old)) for old in map(chains.at, olds) if old]
            claims += [(new, old, alike) for old, alike in select.at_stake(new, rivals)]
    # Of two sentences of one page that would override the same, the more alike does.
    for new, old, alike in sorted(claims, key=lambda claim: (claim[0].dated, -claim[2])):
        await chains.add(new, old, alike)


class _Chains:
    """What overrode what, as it is while more is added: each memory leads to the newer one that took its place."""

    def __init__(self, connection: Connection, heard: Vectors, known: dict[int, Memory]) -> None:
        self._connection = connection
        self._heard = heard
        self._known = known
        self._heirs: dict[int, int] = {}

    def at(self, row: int) -> Memory | None:
        """The memory of a row, if it has its place still."""
        return self._known.get(int(self._heard.ids[row]))

    def alike(self, one: Memory, other: Memory) -> float:
        """The cosine of two statements; 0 where one has no vector among the rows."""
        ids = np.array([one.id, other.id])
        rows = np.minimum(np.searchsorted(self._heard.ids, ids), len(self._heard.ids) - 1)
        there = bool((self._heard.ids[rows] == ids).all())
        return float(np.dot(*self._heard.vectors[rows])) if there else 0.0

    async def add(self, new: Memory, old: Memory, alike: float) -> None:
        """Lets `new` take its place behind `old`, or behind what has overridden that, if it says otherwise.

        What only says a value ("It's 9:00.") stands for what it overrode.
        """
        last, holds = old, _overrides(new, old, alike)
        while (heir := await self._heir(last)) and last.dated < heir.dated < new.dated:
            if not (_overrides(new, heir, self.alike(new, heir)) or (holds and select.leaning(heir))):
                break
            last, holds = heir, True
        if not holds or (heir and heir.id == new.id):
            return
        if heir is None:
            await self._link(last, new)
        elif heir.dated > new.dated and (select.leaning(heir) or _overrides(heir, new, self.alike(heir, new))):
            await self._link(last, new)
            if await self._heir(new) is None:
                await self._link(new, heir)
        elif heir.kind not in select.TOLD and self.alike(new, last) > self.alike(heir, last):
            await self._link(last, new)

    async def _heir(self, memory: Memory) -> Memory | None:
        id = self._heirs.get(memory.id, memory.superseded_by)
        if id is not None and id not in self._known:
            [self._known[id]] = await memories.of_ids(self._connection, [id])
        return None if id is None else self._known[id]

    async def _link(self, old: Memory, new: Memory) -> None:
        await memories.supersede(self._connection, old.id, new.id)
        self._heirs[old.id] = new.id


def _out(memory: Memory) -> bool:
    return memory.conflict is not None or memory.reason not in (None, "overridden")


def _overrides(new: Memory, old: Memory, alike: float) -> bool:
    # Two people's words are weighed against each other instead (bot/weighing.py, and every night).
    disputed = new.kind in select.TOLD and old.kind in select.TOLD and new.person_id != old.person_id
    return not disputed and select.overrides(new, old, alike)
