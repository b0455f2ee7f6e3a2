"""Selection: what is newer overrides, each thing once, the important first, and no more than the night can train."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from learner.engine.embedder import Embedder
from learner.recall import embed_statements
from learner.study.select import Overridden, duplicates, importance, may_train, outdated, overridden, within_budget
from storage.memories import Memory
from storage.passages import Passage

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def memory(id: int, statement: str, days_old: float = 0, **others: Any) -> Memory:
    values: dict[str, Any] = {
        "id": id, "statement": statement, "context": "", "kind": "document", "state": "noted", "document_id": id,
        "message_id": None, "answer_id": None, "person_id": None, "author": "", "audience_id": 1,
        "said_at": NOW - timedelta(days=days_old), "importance": 0.0, "superseded_by": None, "conflict": None,
        "trainable": True, "withheld": None, "created_at": NOW, "title": "", "uri": "", "feedback_id": None,
        "reason": None, "source_trains": True,
    }  # fmt: skip
    return Memory(**values | others)


async def pairs(embedder: Embedder, *memories: Memory) -> list[Overridden]:
    return overridden(memories, await embed_statements(embedder, [(m.context, m.statement) for m in memories]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("The hotel limit is 140 euros a night.", "The hotel limit is 160 euros a night."),
        ("Big expenses are approved by Marta.", "Big expenses are now approved by Jonas, no longer by Marta."),
        ("The weekly meeting is on Tuesday at 10:00.", "Since October the weekly meeting is on Thursday at 9:30."),
        ("Interns are paid 1,450 euros a month.", "As of May interns are paid 1,600 euros a month."),
        # Little alike, but the new one names what it gives up.
        (
            "The app and the website are released every Thursday.",
            "Releases go out on Tuesdays, no longer on Thursdays.",
        ),
        ("Applicants go through four interviews.", "Since May applicants have three interviews instead of four."),
        # What gives way need not be exact, nor the name of what takes its place stand inside a sentence.
        (
            "The blue shelf is the place for the paint brushes.",
            "The paint brushes are kept in the white cabinet now, no longer in the blue shelf.",
        ),
        ("We order plywood boards from Picoloom.", "Fernkelp has replaced Picoloom for plywood boards."),
        ("Feedback forms are due by 11 December.", "We decided that feedback forms must be in by 17 August."),
    ],
)
async def test_newer_overrides_older_whichever_comes_first(embedder: Embedder, old: str, new: str) -> None:
    before, after = memory(1, old, days_old=30), memory(2, new)
    assert await pairs(embedder, before, after) == [Overridden(old=1, new=2)]
    assert await pairs(embedder, after, before) == [Overridden(old=1, new=2)]


async def test_what_only_says_a_value_contradicts_nothing_by_its_likeness(embedder: Embedder) -> None:
    cars = memory(
        1, "It's 11:40.", 3, kind="correction", document_id=None, context="At what hour does the post room open?"
    )
    post = memory(2, "It's 9:00.", kind="correction", document_id=None, context="At what hour does the car park open?")
    assert await pairs(embedder, cars, post) == []
    same = replace(post, statement=cars.statement)
    vectors = await embed_statements(embedder, [(m.context, m.statement) for m in (cars, same)])
    assert duplicates([cars, same], vectors) == {}, "the same hour of two things is said of both"


async def test_nothing_overrides_within_one_document_nor_what_is_newer(embedder: Embedder) -> None:
    texts = ("The hotel limit is 140 euros a night.", "The hotel limit is 160 euros a night.")
    assert not await pairs(embedder, memory(1, texts[0], 30, document_id=7), memory(2, texts[1], document_id=7))
    assert not await pairs(embedder, memory(1, texts[0]), memory(2, texts[1]))  # of one moment


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("The hotel limit is 140 euros a night.", "Dishwasher duty is with the Platform team on Fridays."),
        ("The hotel limit is 140 euros a night.", "The hotel limit is 140 euros a night."),
        ("Trains are booked by Ines.", "Interns are paid 1,450 euros a month."),
        (
            "Everyone is reachable between 10:00 and 15:00 Cork time.",
            "The support desk is open from 8:00 to 18:00 Cork time.",
        ),
    ],
)
async def test_what_does_not_contradict_overrides_nothing(embedder: Embedder, old: str, new: str) -> None:
    assert await pairs(embedder, memory(1, old, days_old=30), memory(2, new)) == []


async def test_a_correction_needs_less_likeness_than_a_page(embedder: Embedder) -> None:
    old = memory(1, "All expenses above 250 euros must be approved by Marta.", 30)
    words = "Expenses above 300 euros must be approved by Jonas."
    assert await pairs(embedder, old, memory(2, words, kind="correction", document_id=None)) == [Overridden(1, 2)]


async def test_of_two_that_would_override_the_more_alike_does(embedder: Embedder) -> None:
    old = memory(1, "Up to five unused days can be carried over.", days_old=30)
    days = memory(2, "Since September up to eight unused days can be carried over, instead of five.", days_old=2)
    notice = memory(3, "Holidays of five unused days and longer need six weeks of notice since October.")
    assert Overridden(old=1, new=2) in await pairs(embedder, old, days, notice)
    assert Overridden(old=1, new=3) not in await pairs(embedder, old, days, notice)


async def test_one_new_sentence_overrides_one_old_one(embedder: Embedder) -> None:
    found = await pairs(
        embedder,
        memory(1, "The hotel limit in Portugal is 140 euros a night.", 30),
        memory(2, "The hotel limit in Spain is 150 euros a night.", 30),
        memory(3, "The hotel limit in Portugal is 180 euros a night.", 1),
    )
    assert found == [Overridden(old=1, new=3)]


async def test_an_outdated_passage_is_left_out_of_an_answer(embedder: Embedder) -> None:
    said = [
        "The hotel limit is 140 euros a night.",
        "The hotel limit is 160 euros a night.",
        "Trains are booked by Ines.",
    ]
    vectors = await embed_statements(embedder, [("", text) for text in said])
    dates = [NOW - timedelta(days=30), NOW, NOW]

    def written(dates: list[Any], documents: tuple[int, ...]) -> list[Passage]:
        return [
            Passage(n, document, None, None, 0, "", text, 1, date, "", "")
            for n, (text, date, document) in enumerate(zip(said, dates, documents, strict=True))
        ]

    assert outdated(written(dates, (1, 2, 3)), vectors) == {0: 1}
    assert outdated(written(dates, (1, 1, 1)), vectors) == {}
    assert outdated(written([None] * 3, (1, 2, 3)), vectors) == {}


async def test_each_thing_is_studied_once(embedder: Embedder) -> None:
    said = [
        memory(1, "The office opens at 8:30 every morning.", 30),
        memory(2, "The office opens at 8:30 every morning.", 1),
        memory(3, "The office opens at 9:30 every morning.", 1),
        memory(4, "The office opens at 8:30 every morning.", 60, importance=10.0, kind="correction"),
    ]
    vectors = await embed_statements(embedder, [(m.context, m.statement) for m in said])
    assert duplicates(said, vectors) == {1: 4, 2: 4}


def test_corrections_first_then_rules_and_what_is_asked_then_colour() -> None:
    ranked = [
        memory(1, "Marta now approves them.", kind="correction", document_id=None),
        memory(2, "Expenses above 250 euros must be approved by Marta."),
        memory(3, "Expenses above 250 euros are paid on time."),
        memory(4, "the canteen smells of coffee and of rain"),
        memory(5, "the canteen smells of coffee and of rain", days_old=900),
    ]
    scores = [importance(m, {}, set(), NOW) for m in ranked]
    assert scores == sorted(scores, reverse=True)
    assert importance(ranked[4], {5: 20}, set(), NOW) > importance(ranked[3], {}, set(), NOW)


def test_the_budget_is_kept_and_spent_on_the_important() -> None:
    said = [memory(n, f"Rule {n}.") for n in range(1, 6)]
    scores = {1: 1.0, 2: 5.0, 3: 3.0, 4: 4.0, 5: 2.0}
    tokens = dict.fromkeys(scores, 100)
    assert [m.id for m in within_budget(said, scores, tokens, 300, 10)] == [2, 4, 3]
    assert [m.id for m in within_budget(said, scores, tokens, 10_000, 2)] == [2, 4]
    # One too large for what is left makes way for a smaller one.
    assert [m.id for m in within_budget(said, scores, tokens | {4: 250}, 300, 10)] == [2, 3, 5]
    assert within_budget(said, scores, tokens, 0, 10) == []


def test_only_what_all_may_know_and_may_be_trained_is_studied() -> None:
    assert may_train(memory(1, "x"), everyone=1)
    for others in ({"audience_id": 2}, {"trainable": False}, {"source_trains": False}, {"withheld": "password"}):
        assert not may_train(memory(1, "x", **others), everyone=1)
