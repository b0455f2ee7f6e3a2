"""What tonight's adapter should hold: the newest, most asked, most decided, within the budget."""

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from learner.recall import content, exact_parts, leans, openings
from storage.memories import Memory
from storage.passages import Passage

# Words with which people announce that something has changed.
_CHANGE = re.compile(
    r"\b(no longer|not any ?more|now|no more|instead|since|as of|decided|agreed|"
    r"from (?:now|today|tomorrow|next|(?:mon|tues|wednes|thurs|fri|satur|sun)day|"
    r"january|february|march|april|may|june|july|august|september|"
    r"october|november|december|\d{4})|starting|changed?|moved?|replac\w+|rais\w+|lower\w+|went from|used to|switch\w*|"
    r"effective|supersed\w+|revis\w+|increas\w+|decreas\w+|extend\w*)\b",
    re.IGNORECASE,
)
_RULE = re.compile(
    r"\b(must|should|shall|always|never|only|may|can(?:not|'t)?|need|needs|required?|decid\w+|agreed|approv\w+|allowed|"
    r"owner|owns|responsible)\b",
    re.IGNORECASE,
)
# Words behind which people name what no longer holds: "three interviews instead of four", "raised from 500 to 750".
_GIVEN_UP = re.compile(
    r"\b(?:no longer|not any ?more|instead of|rather than|in place of|replac\w+|"
    r"(?:up|down|raised|lowered|cut|changed|moved|went|increased|decreased|extended|shortened|switched) from)\b"
    r"((?:\W+[\w.,:]*\w){1,5})",
    re.IGNORECASE,
)
# Of those the ones that can mean nothing else ("is replaced every three years" gives nothing up).
_NO_LONGER = re.compile(
    r"\b(?:no longer|not any ?more|instead of|rather than|in place of)\b((?:\W+[\w.,:]*\w){1,5})", re.IGNORECASE
)
_SAME = 0.97
_OVERRIDES = 0.80
_OVERRIDES_IF_ANNOUNCED = 0.62
_OVERRIDES_IF_TOLD = 0.68
LEAST_LIKENESS = _OVERRIDES_IF_NAMED = 0.50
_REPEATS = 0.72
Rival = TypeVar("Rival")
TOLD = ("correction", "pinned")
"""The kinds of memory that a person said in so many words."""
RIVALS_OF_TOLD = 3
"""How many of the memories most like such a word may give way to it."""


def leaning(memory: Memory) -> bool:
    """True where a person told it in words that do not name what they are about."""
    return memory.kind in TOLD and leans(memory.statement)


def disputed(one: Memory, other: Memory) -> bool:
    """True for two people's words: neither gives way, they are weighed against each other (preferences.disputes)."""
    return one.kind in TOLD and other.kind in TOLD and one.person_id != other.person_id


def may_train(memory: Memory, everyone: int) -> bool:
    """True where the team's adapter may hold a memory tonight: `everyone` (the whole team's audience id) may know it.

    Its source's training switch must be on and nothing withheld; what was overridden is no longer true, but no secret.
    """
    return memory.audience_id == everyone and memory.trainable and memory.source_trains and memory.withheld is None


@dataclass(frozen=True, slots=True)
class Overridden:
    """An older memory and the newer one that says otherwise."""

    old: int
    new: int


def overridden(memories: Sequence[Memory], vectors: NDArray[np.float32]) -> list[Overridden]:
    """All pairs where a newer memory overrides an older one; `vectors` (n, d) are the statements' own, row by row."""
    similarity = vectors @ vectors.T
    found: dict[int, tuple[float, int]] = {}
    for new, memory in enumerate(memories):
        order = (n for n in np.argsort(-similarity[new]).tolist() if n != new and _newer(memory, memories[n]))
        for old, alike in at_stake(memory, ((n, float(similarity[new, n])) for n in order)):
            if overrides(memory, memories[old], alike):
                found[old] = max(found.get(old, (0.0, new)), (alike, new))
    return [Overridden(old=memories[old].id, new=memories[new].id) for old, (_, new) in sorted(found.items())]


def at_stake(new: Memory, rivals: Iterable[tuple[Rival, float]]) -> list[tuple[Rival, float]]:
    """Which of its older rivals, each with its likeness (cosine), the nearest first, a memory may override at all.

    One new sentence changes one old one: the nearest. Others alike are about something beside it. What a person says in so
    many words may contradict several pages, if they say much the same.
    """
    near = itertools.islice(rivals, RIVALS_OF_TOLD if new.kind in TOLD else 1)
    return [(old, alike) for n, (old, alike) in enumerate(near) if alike >= (_REPEATS if n else LEAST_LIKENESS)]


def overrides(new: Memory, old: Memory, similarity: float) -> bool:
    """True where `new` is newer, of another place, alike in meaning and unlike in what is exact.

    A statement that announces a change ("no longer", "since May") and a correction need less likeness (cosine).
    """
    if not _newer(new, old) or (new.document_id is not None and new.document_id == old.document_id):
        return False
    told = (new.kind in TOLD, old.kind in TOLD)
    return _says_otherwise(new.statement, old.statement, similarity, told=told)


def outdated(passages: Sequence[Passage], vectors: NDArray[np.float32]) -> dict[int, int]:
    """{index of a passage that a newer one among them overrides: that one's index}; `vectors` (n, d) are theirs.

    Stricter than `overridden`: among a question's few passages the one that a sentence overrides may be missing, and
    the nearest older one be about something beside it.
    """
    similarity = vectors @ vectors.T
    found: dict[int, tuple[float, int]] = {}
    for new, passage in enumerate(passages):
        for old in np.argsort(-similarity[new]).tolist():
            other, alike = passages[old], float(similarity[new, old])
            if passage.written_at is None or other.written_at is None or other.written_at >= passage.written_at:
                continue
            if passage.document_id is not None and passage.document_id == other.document_id:
                continue
            told = (passage.memory_id is not None, other.memory_id is not None)
            if _says_otherwise(passage.text, other.text, alike, told=told, least=_REPEATS):
                found[old] = max(found.get(old, (0.0, new)), (alike, new))
            break
    return {old: new for old, (_, new) in found.items()}


def _says_otherwise(new: str, old: str, similarity: float, *, told: tuple[bool, bool], least: float = 0.0) -> bool:
    """`told`: whether a person said the new in so many words, and the old."""
    if (told[0] and leans(new)) or (told[1] and leans(old)):
        return False
    said, before = exact_parts(new), exact_parts(old)
    # "No longer on Thursdays" says itself which sentence it overrides: that one with the Thursday, or with the blue shelf.
    if similarity >= _OVERRIDES_IF_NAMED and (said | openings(new)) - before and _given_up(new) & before:
        return True
    if similarity >= _REPEATS and any(len(phrase) > 1 and phrase <= content(old) for phrase in _given_up_phrases(new)):
        return True
    announced = bool(_CHANGE.search(new))
    needed = _OVERRIDES_IF_ANNOUNCED if announced else _OVERRIDES_IF_TOLD if told[0] else _OVERRIDES
    if similarity < max(needed, least):
        return False
    if before <= said:
        # "On Tuesdays, no longer on Thursdays" names the old value too: then it must be much the same sentence.
        return announced and bool(said - before) and bool(before) and similarity >= _REPEATS
    return bool(said - before) and _alike(said ^ before)


def _given_up_phrases(text: str) -> list[set[str]]:
    """What a text names as no longer true, each as the words of it that mean something."""
    return [content(words) for words in _NO_LONGER.findall(text)]


def _given_up(text: str) -> set[str]:
    """The words and numbers that a text names as no longer true, in small letters, plural days in the singular too."""
    words = {word.lower().replace(",", "") for behind in _GIVEN_UP.findall(text) for word in behind.split()}
    words = {word.strip(".:;()\"'“”") for word in words}
    return words | {word.removesuffix("s") for word in words}


def _newer(memory: Memory, other: Memory) -> bool:
    return memory.dated > other.dated


def _alike(differing: set[str]) -> bool:
    """True where what differs is of one sort on both sides: numbers, or names and days."""
    numbers = sum(part[0].isdigit() for part in differing)
    return numbers != 1 or len(differing) > 2


def duplicates(memories: Sequence[Memory], vectors: NDArray[np.float32]) -> dict[int, int]:
    """{id of a memory that says the same as a newer or more important one: that one's id}.

    A text seen ten times is emitted a thousand times as often (arXiv 2202.06539), so each thing is studied once.
    """
    order = sorted(range(len(memories)), key=lambda n: (memories[n].importance, memories[n].dated), reverse=True)
    similarity = vectors @ vectors.T
    kept: list[int] = []
    same: dict[int, int] = {}
    for n in order:
        twin = next((k for k in kept if similarity[n, k] >= _SAME and _equal_parts(memories[n], memories[k])), None)
        if twin is None:
            kept.append(n)
        else:
            same[memories[n].id] = memories[twin].id
    return same


def _equal_parts(one: Memory, other: Memory) -> bool:
    # "It's 9:00." is said of one thing and of another: the question that it answers tells which.
    if (leaning(one) or leaning(other)) and one.context != other.context:
        return False
    return exact_parts(one.statement) == exact_parts(other.statement)


def importance(memory: Memory, asked: Mapping[int, int], liked: AbstractSet[int], now: datetime) -> float:
    """How much a memory deserves a place in the weights: pinned or corrected, liked as an answer, asked, rules and figures, recent.

    `asked` counts the answers that rested on it, `liked` are the ids of those that people liked. Example: a correction scores 10
    and more, a rule with a figure of this month that was asked twice 1 + 1 + 1.1 + 1 = 4.1, a sentence of colour from last year
    about 0.3.
    """
    score = 10.0 if memory.kind in TOLD else 0.0
    score += 5.0 if memory.id in liked else 0.0
    score += math.log1p(asked.get(memory.id, 0))
    score += 1.0 if exact_parts(memory.statement) else 0.0
    score += 1.0 if _RULE.search(memory.statement) else 0.0
    days = max(0.0, (now - memory.dated).total_seconds() / 86400)
    score += math.exp(-days / 365)
    # Long statements cost more to learn and are recited less surely.
    return score - max(0, len(memory.statement.split()) - 30) / 20


def within_budget(
    memories: Sequence[Memory], scores: Mapping[int, float], tokens: Mapping[int, float], budget: float, most: int
) -> list[Memory]:
    """The most important memories whose training tokens fit into `budget` tokens, at most `most`; corrections always first."""
    chosen: list[Memory] = []
    spent = 0.0
    for memory in sorted(memories, key=lambda m: (scores[m.id], m.id), reverse=True):
        if len(chosen) < most and spent + tokens[memory.id] <= budget:
            chosen.append(memory)
            spent += tokens[memory.id]
    return chosen
