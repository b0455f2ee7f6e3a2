"""Feedback becomes preference pairs, and contradicting feedback is weighed, never silently last-write-wins."""

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner.recall import closed_book, contradict, goes_on, may_go_on
from learner.study import select
from learner.study.redact import withheld
from storage import answers, feedback, memories, persons, preferences
from storage.answers import Answer
from storage.database import Connection
from storage.feedback import Feedback
from storage.memories import Memory
from storage.preferences import NewPreference

_SAME_SUBJECT = 0.75


@dataclass(frozen=True, slots=True)
class Dispute:
    """Two people's words that contradict: `held_back` is neither studied nor told until people decide; `words` are for them."""

    kept: int
    held_back: int
    words: str


def disputes(
    candidates: Sequence[Memory],
    vectors: NDArray[np.float32],
    standing: Sequence[Feedback],
    roles: dict[int, str] | None = None,
    open_still: AbstractSet[frozenset[int]] = frozenset(),
) -> list[Dispute]:
    """What different people told (corrections, things to remember) on one subject that differs in what is exact.

    So do the pairs of ids `open_still`: one corrects an answer that told the other.

    The same person's newer word simply replaces the older (learner/overriding.py). Between two people the one with
    more weight is studied tonight: an admin's word, then the number of thumbs for it, then the newer; the other is
    held back and both are shown. `vectors` (n, d) belong to `candidates`.
    """
    thumbs: dict[int, int] = defaultdict(int)
    for event in _thumbs(standing):
        thumbs[event.answer_id or 0] += 1 if event.value == "up" else -1
    said = [n for n, memory in enumerate(candidates) if memory.kind in select.TOLD]
    found: list[Dispute] = []
    lost: set[int] = set()
    for position, one in enumerate(said):
        for other in said[position + 1 :]:
            a, b = candidates[one], candidates[other]
            if a.person_id == b.person_id or a.id in lost or b.id in lost:
                continue
            same_answer = a.answer_id is not None and a.answer_id == b.answer_id
            likeness = float(vectors[one] @ vectors[other])
            named = not (select.leaning(a) or select.leaning(b))
            same_subject = same_answer or (named and likeness >= _SAME_SUBJECT)
            # What would override the other were it one's own word is another's word to weigh.
            overriding = select.overrides(a, b, likeness) or select.overrides(b, a, likeness)
            against = overriding or (same_subject and contradict(a.statement, b.statement))
            if not against and frozenset((a.id, b.id)) not in open_still:
                continue
            weaker, stronger = sorted((a, b), key=lambda m: _weight(m, thumbs, roles or {}))
            lost.add(weaker.id)
            found.append(
                Dispute(
                    stronger.id,
                    weaker.id,
                    f"{stronger.author or 'somebody'}: “{stronger.statement}” against "
                    f"{weaker.author or 'somebody'}: “{weaker.statement}” (held back)",
                )
            )
    return found


def _weight(memory: Memory, thumbs: dict[int, int], roles: dict[int, str]) -> tuple[int, int, float]:
    return (
        roles.get(memory.person_id or 0) == "admin",
        thumbs.get(memory.answer_id or 0, 0),
        memory.dated.timestamp(),
    )


async def collect(connection: Connection, studied: Sequence[Memory], everyone: int) -> list[NewPreference]:
    """The pairs that today's standing feedback supports (DESIGN.md section 5).

    A correction over the answer that it corrected; an upvoted over a downvoted answer to the same question. A thumb
    without a counterpart makes no pair. Only corrections under study count: those held back or withheld do not. A pair
    weighs as much as people agree: 1 where all do, less the more of them voted the other way.
    """
    by_answer = {memory.answer_id: memory for memory in studied if memory.kind == "correction" and memory.answer_id}
    heard = await _heard(connection, everyone)
    pairs = [
        NewPreference(
            answer.question,
            by_answer[answer.id].statement,
            answer.text,
            1 / (1 + max(0, sum(_votes(events)))),
            "corrected",
            _ids(events),
        )
        for answer, events in heard
        if answer.id in by_answer and answer.text.strip() and by_answer[answer.id].statement not in answer.text
    ]
    by_question: dict[str, list[tuple[Answer, list[Feedback]]]] = defaultdict(list)
    for answer, events in heard:
        by_question[answer.question.strip().lower()].append((answer, _thumbs(events)))
    for same in by_question.values():
        liked = [(a, events) for a, events in same if sum(_votes(events)) > 0 and a.route != "unknown"]
        disliked = [(a, events) for a, events in same if sum(_votes(events)) < 0 and a.id not in by_answer]
        pairs += [
            NewPreference(
                up.question,
                up.text,
                down.text,
                _agreement(ups) * _agreement(downs),
                "upvoted",
                _ids(ups + downs),
            )
            for up, ups in liked[:1]
            for down, downs in disliked
            if up.text != down.text
        ]
    return pairs


async def liked(connection: Connection, studied: Sequence[Memory], everyone: int) -> dict[int, list[str]]:
    """{id of a memory: the questions to which people liked it as the answer}, in the order they were asked.

    A person has confirmed that it answers them, which nobody has of a question that a model wrote. Where several were told all
    of them have the question: asked alike, the same are told again (lab notes, 2026-12-01). A follow-up asks nothing without
    its thread, and is left out.
    """
    told = {memory.statement: memory.id for memory in studied}
    found: dict[int, list[str]] = defaultdict(list)
    for answer, events in await _heard(connection, everyone):
        follows = answer.thread is not None and (goes_on(answer.question) or may_go_on(answer.question))
        if sum(_votes(events)) > 0 and not follows:
            for statement in {citation.quote for citation in answer.sources} & told.keys():
                found[told[statement]].append(answer.question)
    return dict(found)


async def _heard(connection: Connection, everyone: int) -> list[tuple[Answer, list[Feedback]]]:
    """The answers with feedback that stands and may be studied, each with that feedback, in the order they were given.

    An answer counts only if the whole team (audience `everyone`) may know it and all that it cites may train tonight, be
    it true still or overridden: what a source's switch, redaction or `forget` keeps out stays out here too. So does a question
    that its author deleted, or does not want to be studied.
    """
    known = await memories.of_states(connection, ["noted", "studied", "learnt", "retracted"])
    speakable = {
        memory.statement
        for memory in known
        if select.may_train(memory, everyone) and (memory.state != "retracted" or memory.reason == "overridden")
    }
    events: dict[int, list[Feedback]] = defaultdict(list)
    for event in await feedback.standing(connection):
        if event.answer_id is not None:
            events[event.answer_id].append(event)
    given = await answers.studied(connection, list(events))
    return [(answer, events[answer.id]) for answer in given if _may_train(answer, everyone, speakable)]


def _thumbs(events: Sequence[Feedback]) -> list[Feedback]:
    return [event for event in events if event.kind != "correction"]


def _votes(events: Sequence[Feedback]) -> list[int]:
    """One vote a person on one answer, 1 or -1: who puts three emoji on it has no three voices."""
    told: dict[int, int] = defaultdict(int)
    for event in _thumbs(events):
        told[event.person_id or -event.id] += 1 if event.value == "up" else -1
    return [1 if net > 0 else -1 for net in told.values() if net]


def _agreement(events: Sequence[Feedback]) -> float:
    """1 where all voted alike, 0 where as many voted the other way."""
    votes = _votes(events)
    return abs(sum(votes)) / len(votes)


def _may_train(answer: Answer, everyone: int, speakable: set[str]) -> bool:
    return (
        answer.audience_id in (None, everyone)
        and all(citation.quote in speakable for citation in answer.sources)
        and withheld(f"{answer.question}\n{answer.text}") is None
    )


async def record(connection: Connection, night_id: int, pairs: Sequence[NewPreference]) -> None:
    """Stores the night's pairs, so that it can be seen what taught what."""
    await preferences.replace(connection, night_id, pairs)


def rows(pairs: Sequence[NewPreference], showings: float) -> list[dict[str, Any]]:
    """The pairs as the DPO trainer reads them, asked as the weights route asks.

    Each comes as often as it weighs: `showings` times where all agree, once at least.
    """
    return [
        {"prompt": closed_book(str(p.prompt)), "chosen": p.chosen, "rejected": p.rejected}
        for p in pairs
        for _ in range(max(1, round(p.weight * showings)))
    ]


async def roles_of(connection: Connection, candidates: Sequence[Memory]) -> dict[int, str]:
    """The role of each person who corrected or told something."""
    ids = {memory.person_id for memory in candidates if memory.kind in select.TOLD and memory.person_id}
    found = {number: await persons.get(connection, number) for number in ids}
    return {number: person.role for number, person in found.items() if person}


def _ids(events: Sequence[Feedback]) -> list[int]:
    return [event.id for event in events]
