"""Newer overrides older: written into the ledger as soon as both are read, whichever was read first."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learner.recall import content
from learner.study import select
from storage import audiences, memories, vectors
from storage.database import Connection, Database
from storage.locks import hold
from storage.memories import Memory
from storage.teams import Team
from storage.vectors import Vectors

_CHUNK = 256
_NEAR = 20
"""Among so many are looked for the nearest's twins: the same sentence under another heading."""
_TWINS = 0.8


async def override(database: Database, team: Team, embedder: str, ids: Sequence[int]) -> None:
    """Lets these memories override what they say otherwise, and be overridden by what says otherwise than they.

    Only those that the whole team may know: what few know must not silence anything. Each is held against the older ones
    most like it, be they overridden already: were those left out, a sentence whose thing is settled would take what stands
    beside it for that thing. One that is overridden leads to what took its place. Only what stands gives way, so that no
    memory ever leads back to itself. What is held back in a dispute takes no part.
    """
    if not ids:
        return
    async with database.team(team.id) as connection:
        everyone = (await audiences.whole_team(connection)).id
        heard = await vectors.heard(connection, embedder, everyone)
    rows = np.flatnonzero(np.isin(heard.ids, np.array(ids))).tolist()
    elders = await asyncio.to_thread(_elders, heard, rows)
    # Of two sentences about the same the more alike overrides it.
    order = sorted(elders, key=lambda row: -elders[row].nearest[0][1])
    for start in range(0, len(order), _CHUNK):
        async with database.team(team.id) as connection:
            await hold(connection, "memories")  # nobody tells or overrides anything meanwhile
            await _override(connection, heard, {row: elders[row] for row in order[start : start + _CHUNK]})


@dataclass(frozen=True, slots=True)
class _Elders:
    """The older rows that a newer one may override, each with its cosine, the nearest first, and the nearest's `twins`."""

    nearest: list[tuple[int, float]]
    twins: list[tuple[int, float]]


def _elders(heard: Vectors, rows: Sequence[int]) -> dict[int, _Elders]:
    """For these rows, and those newer ones that they may concern, the older ones most like each, where there are any."""
    late: set[int] = set()
    for row, alike in _likeness(heard, rows):
        late.update(np.flatnonzero((heard.dated > heard.dated[row]) & (alike >= select.LEAST_LIKENESS)).tolist())
    found: dict[int, _Elders] = {}
    for row, alike in _likeness(heard, sorted({*rows, *late})):
        older = np.flatnonzero((heard.dated < heard.dated[row]) & (alike >= select.LEAST_LIKENESS))
        order = older[np.argsort(-alike[older], kind="stable")]
        near = [(int(n), float(alike[n])) for n in order[:_NEAR]]
        if near:
            same = heard.vectors[[n for n, _ in near]] @ heard.vectors[near[0][0]] >= _TWINS
            found[row] = _Elders(
                near[: select.RIVALS_OF_TOLD], [one for one, twin in zip(near[1:], same[1:], strict=True) if twin]
            )
    return found


def _likeness(heard: Vectors, rows: Sequence[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each row with its cosine with all (n,)."""
    for start in range(0, len(rows), _CHUNK):
        some = list(rows[start : start + _CHUNK])
        yield from zip(some, heard.vectors[some] @ heard.vectors.T, strict=True)


async def _override(connection: Connection, heard: Vectors, elders: Mapping[int, _Elders]) -> None:
    rows = {row for new, olds in elders.items() for row in (new, *(old for old, _ in (*olds.nearest, *olds.twins)))}
    found = await memories.of_ids(connection, heard.ids[sorted(rows)].tolist())
    chains = _Chains(connection, heard, {memory.id: memory for memory in found})
    for row, olds in elders.items():
        new = chains.at(row)
        if new is None or not _takes_part(new, overridden=True):
            continue
        nearest = [(old, alike) for old, alike in ((chains.at(n), alike) for n, alike in olds.nearest) if old]
        twins = [(old, alike) for old, alike in ((chains.at(n), alike) for n, alike in olds.twins) if old]
        for old, alike in select.at_stake(new, nearest):
            await chains.take(new, old, alike)
        for old, alike in twins:
            if nearest and content(old.statement) == content(nearest[0][0].statement):
                await chains.take(new, old, alike)


class _Chains:
    """What overrode what, as it is while more is added: each memory leads to the one that took its place."""

    def __init__(self, connection: Connection, heard: Vectors, known: dict[int, Memory]) -> None:
        self._connection = connection
        self._heard = heard
        self._known = known
        self._heirs: dict[int, int] = {}

    def at(self, row: int) -> Memory | None:
        """The memory of a row, if it is there still."""
        return self._known.get(int(self._heard.ids[row]))

    async def take(self, new: Memory, old: Memory, alike: float) -> None:
        """Lets `new` take the place of `old`, or of what has taken that, or be overridden by that: who says otherwise later.

        What only says a value ("It's 9:00.") stands for what it overrode.
        """
        holds = _overrides(new, old, alike)
        way = await self._way(old)
        last = way[-1]
        if new.id in {one.id for one in way} or not _takes_part(last):
            return
        if last is old:
            gives_way = holds
        else:
            stands_for = holds and select.leaning(last) and not _disputed(new, last)
            likeness = self._likeness(new, last)
            if last.dated > new.dated and new.superseded_by is None and new.id not in self._heirs:
                if holds and (stands_for or _overrides(last, new, likeness)):
                    if len(way) == 2:
                        await self._link(old, new)
                    await self._link(new, last)
                return
            gives_way = stands_for or _overrides(new, last, likeness)
        if gives_way and (await self._way(new))[-1] is not last:
            await self._link(last, new)

    async def _way(self, memory: Memory) -> list[Memory]:
        """A memory, what took its place, and so on to what stands in the end."""
        way = [memory]
        while (id := self._heirs.get(way[-1].id, way[-1].superseded_by)) is not None:
            if id not in self._known:
                self._known |= {found.id: found for found in await memories.of_ids(self._connection, [id])}
            if id in {one.id for one in way}:
                break
            way.append(self._known[id])
        return way

    def _likeness(self, one: Memory, other: Memory) -> float:
        """The cosine of two statements; 0 where one has no vector among the rows."""
        ids = np.array([one.id, other.id])
        rows = np.minimum(np.searchsorted(self._heard.ids, ids), len(self._heard.ids) - 1)
        there = bool((self._heard.ids[rows] == ids).all())
        return float(np.dot(*self._heard.vectors[rows])) if there else 0.0

    async def _link(self, old: Memory, new: Memory) -> None:
        await memories.supersede(self._connection, old.id, new.id)
        self._heirs[old.id] = new.id


def _takes_part(memory: Memory, overridden: bool = False) -> bool:
    """True where a memory stands undisputed, or, where that is enough, was overridden."""
    return memory.conflict is None and (memory.reason is None or (overridden and memory.reason == "overridden"))


def _overrides(new: Memory, old: Memory, alike: float) -> bool:
    return not _disputed(new, old) and select.overrides(new, old, alike)


def _disputed(one: Memory, other: Memory) -> bool:
    """True for two people's words: they are weighed against each other instead (bot/weighing.py, and every night)."""
    return one.kind in select.TOLD and other.kind in select.TOLD and one.person_id != other.person_id
