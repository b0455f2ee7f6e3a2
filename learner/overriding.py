"""Newer overrides older: written into the ledger as soon as both are read, whichever was read first."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learner.study import select
from storage import audiences, memories, vectors
from storage.database import Connection, Database
from storage.locks import hold
from storage.memories import Memory
from storage.teams import Team
from storage.vectors import Vectors

_CHUNK = 256
_NEAR = 20
"""Among so many are looked for the nearest's twins: the same sentence on another page."""
_TWINS, _COPY = 0.8, 0.05
"""How like the nearest a twin must be, and how much less than that one it may be like the new sentence."""


async def override(database: Database, team: Team, embedder: str, ids: Sequence[int]) -> None:
    """Lets these memories override what they say otherwise, and be overridden by what says otherwise than they.

    Only those that the whole team may know: what few know must not silence anything. Each is held against the older ones
    most like it, be they overridden already: were those left out, a sentence whose thing is settled would take what stands
    beside it for that thing. One that is overridden leads to what took its place, and none leads back to itself. What is
    held back in a dispute takes no part.
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
    wanted = np.zeros(len(heard.ids), dtype=np.bool_)
    wanted[list(rows)] = True
    for row, alike in _likeness(heard, rows if len(rows) < len(wanted) else ()):
        wanted |= (heard.dated > heard.dated[row]) & (alike >= select.LEAST_LIKENESS)
    found: dict[int, _Elders] = {}
    for row, alike in _likeness(heard, np.flatnonzero(wanted).tolist()):
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
        nearest, twins = (
            [(old, alike) for n, alike in found if (old := chains.at(n))] for found in (olds.nearest, olds.twins)
        )
        for old, alike in select.at_stake(new, nearest):
            await chains.take(new, old, alike)
        for old, alike in twins:
            if nearest and old.statement == nearest[0][0].statement and alike >= nearest[0][1] - _COPY:
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
        """Lets `new` take the place of `old`; where that has gone, of two that stand for the two the later overrides the other.

        What only says a value ("It's 9:00.") stands for what it overrode.
        """
        way, head = await self._way(old), (await self._way(new))[-1]
        last, holds = way[-1], _overrides(new, old, alike)
        if head.id in {one.id for one in way}:
            return
        if last is old or last.reason == "superseded":  # edited: the next revision takes its place
            if holds and (last is not old or _takes_part(old)):
                await self._link(last, new)
        elif last.dated < new.dated:
            if _takes_part(last) and (self._stands_against(new, last) or (holds and self._leans(new, last))):
                await self._link(last, new)
        elif holds and _takes_part(last) and _takes_part(head):
            first, then = sorted((last, head), key=lambda memory: memory.dated)
            if self._leans(first, then) or self._leans(then, first) or self._stands_against(then, first):
                if head is new and len(way) == 2:
                    await self._link(old, new)
                await self._link(first, then)

    def _stands_against(self, new: Memory, old: Memory) -> bool:
        return _overrides(new, old, self._likeness(new, old))

    def _leans(self, other: Memory, leaning: Memory) -> bool:
        return select.leaning(leaning) and not select.disputed(other, leaning)

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
        # Whoever was held back against a word that gives way does not get the better of what that gives way to.
        held_back, head = await memories.held_against(self._connection, old.id), (await self._way(new))[-1]
        for one in (old, *(one for one in held_back if one.dated < new.dated and one.id != head.id)):
            await memories.supersede(self._connection, one.id, new.id)
            self._heirs[one.id] = new.id


def _takes_part(memory: Memory, overridden: bool = False) -> bool:
    """True where a memory stands undisputed, or, where that is enough, was overridden."""
    return memory.conflict is None and (memory.reason is None or (overridden and memory.reason == "overridden"))


def _overrides(new: Memory, old: Memory, alike: float) -> bool:
    return not select.disputed(new, old) and select.overrides(new, old, alike)
