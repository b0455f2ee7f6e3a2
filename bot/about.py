"""What a correction is about: which of the memories that an answer told."""

import numpy as np

from learner.engine.embedder import Embedder
from learner.recall import adds
from learner.study.select import TOLD, leaning
from storage import feedback, memories
from storage.answers import Answer
from storage.database import Connection
from storage.memories import Memory

_LIKE, _LIKE_ASKED = 0.52, 0.41
"""From which likeness on a correction is about a memory that was told: 90 of 100 are, and 2 of 54 whose answer had told the wrong
memory; where the question must tell what it is about 80 of 100, and 9 of 54 (docs/lab-notes.md, 2026-11-30, sixth session)."""


async def meant(connection: Connection, embedder: Embedder, memory: Memory, answer: Answer) -> Memory | None:
    """The memory that a correction is about, of those that its answer told; none where it says the same or another thing.

    Where the answer told the wrong memory that one is innocent: what a correction is about must be like it, alone and with its
    question (on the mean of both). One that only says a value is about what its question asks.
    """
    told = await _told(connection, memory, answer)
    if not told:
        return None
    words, least = (answer.question, _LIKE_ASKED) if leaning(memory) else (memory.statement, _LIKE)
    subjects = [await _subject(connection, old) for old in told]
    both, alone, *vectors = await embedder.embed([f"{answer.question} {memory.statement}", words, *subjects])
    likeness = np.array(vectors) @ (both + alone) / 2
    nearest = int(likeness.argmax())
    about = likeness[nearest] >= least and adds(memory.statement, told[nearest].statement)
    return told[nearest] if about else None


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
