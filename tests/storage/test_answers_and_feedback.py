"""Answers, feedback and preferences."""

import asyncio
import datetime
import itertools

import pytest

from storage import adapters, answers, feedback, nights, persons, preferences
from storage.answers import Citation, NewAnswer
from storage.errors import UnknownAnswer
from storage.feedback import NewFeedback
from storage.preferences import NewPreference

NOON = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)


def after(minutes):
    return NOON + datetime.timedelta(minutes=minutes)


@pytest.fixture
async def ada(connection):
    return await persons.identify(connection, "slack", "U1", "Ada")


@pytest.fixture
async def answer(connection):
    return await answers.save(connection, NewAnswer("slack", "Lunch?", "At noon.", "notes"))


async def test_an_answer_is_kept_with_its_sources(connection, ada):
    new = NewAnswer(
        "slack", "Lunch?", "At noon.", "notes", person_id=ada.id, thread="t", event_id="e1", quoted=True,
        sources=[Citation("Rules", "file:///rules.md", "Lunch is at noon.")], prompt_tokens=90, completion_tokens=4,
        latency_ms=120.5, confidence=0.75,
    )  # fmt: skip
    kept = await answers.save(connection, new)
    assert kept.sources == [Citation("Rules", "file:///rules.md", "Lunch is at noon.")]
    assert (kept.prompt_tokens, kept.latency_ms, kept.confidence, kept.quoted) == (90, 120.5, 0.75, True)
    assert await answers.save(connection, NewAnswer("slack", "Lunch?", "At one.", "notes", event_id="e1")) == kept
    assert await answers.by_event(connection, "slack", "e1") == kept
    assert await answers.by_event(connection, "teams", "e1") is None
    assert await answers.get(connection, kept.id) == kept
    assert await answers.recent(connection, kept.created_at) == [kept]
    assert await answers.recent(connection, kept.created_at + datetime.timedelta(seconds=1)) == []


async def test_a_thread_is_told_in_order(connection):
    for text in "abcd":
        await answers.save(connection, NewAnswer("slack", text, text, "unknown", thread="t"))
    assert [a.text for a in await answers.thread(connection, "slack", "t", 3)] == ["b", "c", "d"]
    assert await answers.thread(connection, "slack", "u", 3) == []


async def test_feedback_on_an_unknown_answer_is_refused_with_a_message(connection, ada):
    with pytest.raises(UnknownAnswer, match="no answer 12345"):
        await feedback.record(connection, NewFeedback(12345, ada.id, "slack", "e", "thumbs", "up"))


async def test_feedback_delivered_four_times_at_once_is_one_row(database, team):
    async with database.team(team.id) as connection:
        answer = await answers.save(connection, NewAnswer("slack", "Lunch?", "At noon.", "notes"))

    async def deliver():
        async with database.team(team.id) as connection:
            return await feedback.record(connection, NewFeedback(answer.id, None, "slack", "e", "thumbs", "up"))

    assert [r is None for r in await asyncio.gather(*(deliver() for _ in range(4)))].count(False) == 1
    async with database.team(team.id) as connection:
        assert len(await feedback.standing(connection)) == 1


async def test_every_order_of_feedback_and_retraction_ends_retracted(connection, answer):
    for number, order in enumerate(itertools.permutations(range(4))):
        event = str(number)
        todo = [
            lambda event=event: feedback.record(
                connection, NewFeedback(answer.id, None, "slack", event, "emoji", "tada")
            ),
            lambda event=event: feedback.record(
                connection, NewFeedback(answer.id, None, "slack", event, "emoji", "tada")
            ),
            lambda event=event: feedback.retract(connection, "slack", event),
            lambda event=event: feedback.retract(connection, "slack", event),
        ]
        for n in order:
            await todo[n]()
    assert await feedback.standing(connection) == []


@pytest.mark.parametrize("stands", [True, False])
async def test_with_the_surfaces_times_the_last_word_counts_in_every_order(connection, answer, stands):
    """Added, removed (and added again): a surface that calls all three by one id still converges."""
    for number, order in enumerate(itertools.permutations(range(3 if stands else 2))):
        event = f"{stands}{number}"

        def add(minute, event=event):
            new = NewFeedback(answer.id, None, "slack", event, "emoji", f"tada{minute}", at=after(minute))
            return feedback.record(connection, new)

        todo = [
            lambda: add(1),
            lambda event=event: feedback.retract(connection, "slack", event, after(2)),
            lambda: add(3),
        ]
        for n in order:
            await todo[n]()
    found = await feedback.standing(connection)
    assert [(f.value, f.created_at) for f in found] == ([("tada3", after(3))] * 6 if stands else [])


async def test_retracting_says_what_stood(connection, answer):
    kept = await feedback.record(connection, NewFeedback(answer.id, None, "slack", "e", "thumbs", "up"))
    taken = await feedback.retract(connection, "slack", "e")
    assert taken.id == kept.id
    assert taken.retracted_at is not None
    assert await feedback.retract(connection, "slack", "e") is None
    assert await feedback.retract(connection, "slack", "never given") is None
    assert (
        await feedback.record(connection, NewFeedback(answer.id, None, "slack", "never given", "thumbs", "up")) is None
    )


async def test_of_a_persons_thumbs_only_the_last_stands(connection, ada, answer):
    bo = await persons.identify(connection, "slack", "U2", "Bo")
    for event, person, value in (("1", ada, "up"), ("2", bo, "up"), ("3", ada, "down")):
        await feedback.record(connection, NewFeedback(answer.id, person.id, "slack", event, "thumbs", value))
    await feedback.record(connection, NewFeedback(answer.id, ada.id, "slack", "4", "correction", text="At one."))
    await feedback.record(connection, NewFeedback(answer.id, ada.id, "slack", "5", "correction", text="At two."))
    found = await feedback.standing(connection)
    assert [(f.event_id, f.value) for f in found] == [("2", "up"), ("3", "down"), ("4", ""), ("5", "")]
    await feedback.retract(connection, "slack", "3")
    assert [f.event_id for f in await feedback.standing(connection)] == ["1", "2", "4", "5"]
    assert [f.event_id for f in await feedback.of_answer(connection, answer.id)] == ["1", "2", "4", "5"]
    assert await feedback.standing(connection, since=found[-1].created_at + datetime.timedelta(seconds=1)) == []


async def test_a_nights_preferences_are_replaced(connection):
    adapter = await adapters.ensure(connection)
    night = await nights.begin(connection, adapter.id)
    pair = NewPreference("Lunch?", "At noon.", "At one.", 0.5, "correction", [1, 2])
    chat = NewPreference([{"role": "user", "content": "Lunch?"}], "At noon.", "At one.", 1.0, "votes", [])
    kept = await preferences.replace(connection, night.id, [pair, chat])
    assert [(p.prompt, p.weight, p.feedback_ids) for p in kept] == [("Lunch?", 0.5, [1, 2]), (chat.prompt, 1.0, [])]
    assert len(await preferences.replace(connection, night.id, [pair])) == 1
