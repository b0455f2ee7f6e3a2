"""What a correction is about: which of the memories that an answer told."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learner.engine.embedder import Embedder
from learner.recall import adds, topic
from learner.study.select import TOLD, leaning
from storage import feedback, memories
from storage.answers import Answer
from storage.database import Connection
from storage.memories import Memory

_LIKE, _LIKE_ASKED = 0.56, 0.41
"""From which likeness on a correction is about a memory that was told: 91 of 100 are, and 5 of 146 whose answer had told the
wrong memory; where the question must tell what it is about 80 and 28 of 146 (docs/lab-notes.md, 2026-11-30, seventh session)."""


async def meant(connection: Connection, embedder: Embedder, memory: Memory, answer: Answer) -> Memory | None:
    """The memory that a correction is about, of those that its answer told; none where it says the same or another thing.

    Where the answer told the wrong memory that one is innocent: what a correction is about must be like it. One that only says
    a value is about what its question asks.
    """
    told = await _told(connection, memory, answer)
    if not told:
        return None
    subjects = [await _subject(connection, old) for old in told]
    likeness = await _likeness(embedder, answer.question, memory, subjects)
    nearest = int(likeness.argmax())
    least = _LIKE_ASKED if leaning(memory) else _LIKE
    about = likeness[nearest] >= least and adds(memory.statement, told[nearest].statement)
    return told[nearest] if about else None


async def _likeness(embedder: Embedder, question: str, memory: Memory, subjects: Sequence[str]) -> NDArray[np.float32]:
    """How like each of the subjects (n,) a correction is: cosines of its words, alone and with the question.

    As much counts the cosine of the words that are left without values and names on both sides: "the yearly plan for plants holds
    6,000 euros" is like the same of books in all but the thing.
    """
    words = question if leaning(memory) else memory.statement
    both, alone, *vectors = await embedder.embed([f"{question} {memory.statement}", words, *subjects])
    likeness: NDArray[np.float32] = np.array(vectors) @ (both + alone) / 2
    if leaning(memory):
        return likeness
    topics = [topic(text) for text in (memory.statement, *subjects)]
    mine, *theirs = await embedder.embed(topics)
    bare = np.array([bool(topics[0] and one) for one in topics[1:]])
    return np.where(bare, (likeness + np.array(theirs) @ mine) / 2, likeness)


async def _told(connection: Connection, memory: Memory, answer: Answer) -> list[Memory]:
    """What an answer told, and what the same person corrected it to, as it stands now, of the correction's own audience."""
    found = await memories.of_ids(connection, [answer.memory_id] if answer.memory_id else [])
    found += await memories.saying(connection, [source.quote for source in answer.sources], memory.audience_id)
    # Between two people the same answer is a dispute already; one's own later word takes the place of the earlier.
    said = [one.id for one in await feedback.of_answer(connection, answer.id) if one.person_id == memory.person_id]
    found += [one for one in await memories.of_feedback(connection, said) if one.kind == "correction"]
    seen: set[int] = set()
    while gone := [m.superseded_by for m in found if m.superseded_by and m.superseded_by not in seen]:
        seen.update(gone)
        found += await memories.of_ids(connection, gone)
    standing = {one.id: one for one in found if one.reason is None and one.audience_id == memory.audience_id}
    # What a person told later than this holds against it, not it against that.
    return [
        one for one in standing.values() if one.id != memory.id and not (one.kind in TOLD and one.dated > memory.dated)
    ]


async def _subject(connection: Connection, memory: Memory) -> str:
    """What a memory is about: its own words, or those of what it overrode, or the question that it answers."""
    words, seen = memory, {memory.id}
    while leaning(words):
        olds = [old for old in await memories.overridden_by(connection, words.id) if old.id not in seen]
        if not olds:
            return memory.context or memory.statement
        words = next((old for old in olds if not leaning(old)), olds[0])
        seen.add(words.id)
    return words.statement
