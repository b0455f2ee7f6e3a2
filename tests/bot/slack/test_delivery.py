"""Retries, rate limits, reconnects, kills and any order of delivery: nothing is lost, and everything is answered once."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bot import indexing
from bot.assembly import Models
from bot.settings import Settings
from bot.slack import calls, outlet
from bot.slack.settings import SlackSettings
from storage import feedback, memories, messages, posts
from tests.bot.slack.conftest import OPENS, Office, serving, shown

QUESTION = "When does the Lisbon office open?"


def answered_once(office: Office, asked: Any, channel: Any = None, says: str = OPENS) -> bool:
    """Whether one whole answer with its controls stands below a question, and nothing goes on."""
    place = channel or office.channel
    found = [one for one in office.ws.from_bot(place, asked.thread_ts or asked.ts) if one.ts > asked.ts]
    return (
        len(found) == 1
        and says in shown(found[0])
        and "'up " in str(found[0].blocks)
        and not (found[0].stream and found[0].stream.state == "in_progress")
    )


async def failed(office: Office) -> list[str]:
    """Why events were given up."""
    async with office.database.team(office.team.id) as connection:
        rows = await (await connection.execute("SELECT kind, error FROM events WHERE error IS NOT NULL")).fetchall()
    return [f"{row['kind']}: {row['error']}" for row in rows]


@asynccontextmanager
async def another(office: Office, settings: Callable[..., Settings], models: Models, port: int) -> AsyncIterator[None]:
    """The process is stopped in the middle of what it does, and another takes over."""
    office.servers[0].should_exit = True
    given = {"mode": "http", "bot_token": office.slack.bot_token, "signing_secret": office.slack.signing_secret}
    made = settings(slack=SlackSettings(**given, api_url=office.slack.base_url))  # type: ignore[arg-type]
    async with serving(made, models, port):
        yield


# Faults of Slack's


FAULTS: list[tuple[str, dict[str, Any]]] = [
    (method, fault)
    for method in ("chat.postMessage", "users.info", "conversations.info", "reactions.add", "chat.postEphemeral")
    for fault in (
        {"status": 429, "retry_after": 1},
        {"status": 500},
        {"drop": True},
        {"drop": True, "after": True},
        {"error": "internal_error", "times": 8},
        {"delay": 0.5},
    )
]


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
async def test_whatever_call_fails_a_question_and_a_correction_are_taken_once(
    office: Office, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(calls, "AGAIN_SECONDS", 0.05)
    await office.page()
    office.slack.without("chat.startStream")
    for number, (method, fault) in enumerate(FAULTS[::step]):
        user = office.ws.add_user(f"user{number}")
        channel = office.ws.add_channel(f"c{number}", members=[user], with_bot=True)
        office.slack.fail_next(method, **fault)
        asked = await office.ws.say(user, channel, f"{office.at} {QUESTION}")
        await office.quiet()
        assert answered_once(office, asked, channel, ""), (method, fault)
        said = await office.ws.say(user, channel, f"no, it is room {number}.", thread_ts=asked.ts)
        await office.quiet()
        assert len(office.ws.from_bot(channel, asked.ts)) == 1
        assert office.ws.message(channel, said.ts).reactions == {"memo": [office.ws.bot.id]}, (method, fault)
        assert await office.whispers(user, f"room {number}"), (method, fault)
        office.slack.limits.faults.clear()
    async with office.database.team(office.team.id) as connection:
        assert len(await feedback.standing(connection)) == len(FAULTS[::step])
    assert await failed(office) == []


async def test_retry_after_is_obeyed(office: Office) -> None:
    await office.page()
    office.slack.without("chat.startStream")
    office.slack.fail_next("chat.postMessage", status=429, retry_after=2)
    asked = await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}")
    await office.quiet()
    first, second = office.slack.calls_of("chat.postMessage")
    assert second.at - first.at >= 2.0 and answered_once(office, asked)


async def test_a_dialog_that_cannot_open_says_so_and_keeps_nobody_waiting(office: Office) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    for fault in ({"status": 429, "retry_after": 2}, {"status": 500}, {"drop": True}, {"error": "expired_trigger_id"}):
        office.slack.fail_next("views.open", **fault)
        delivery = await office.ws.click(office.ben, office.channel, answer.ts, "why")
        assert delivery.acknowledged and await office.whispers(office.ben, "press once more"), fault
        office.ws.ephemerals.clear()
    office.slack.fail_next("views.open", delay=4.0)
    delivery = await office.ws.click(office.ben, office.channel, answer.ts, "why")
    assert delivery.acknowledged and delivery.seconds < 3.0
    office.slack.fail_next("users.info", delay=4.0)
    delivery = await office.ws.click(office.ws.owner, office.channel, answer.ts, "thumbs", "negative")
    assert delivery.acknowledged and delivery.seconds < 3.0
    await office.quiet()
    async with office.database.team(office.team.id) as connection:
        assert [one.value for one in await feedback.standing(connection)] == ["down"]  # the thumb is kept all the same
    assert await failed(office) == []


@pytest.mark.slow
async def test_twenty_questions_at_once_within_slacks_limits(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "PACE_SECONDS", 1.0)
    await office.page()
    office.slack.limits.on = True
    asked = [await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}") for _ in range(20)]
    await office.slack.wait_for(lambda: all(answered_once(office, one) for one in asked), 120)
    await office.slack.delivery.settled()
    refused = [call for call in office.slack.calls if call.status == 429]
    for call in refused:
        wait = 1.0
        after = [one for one in office.slack.calls if one.method == call.method and 0 < one.at - call.at < wait]
        assert not after, f"{call.method} again within a second"
    assert await failed(office) == []


async def test_messages_of_a_channel_keep_a_second_apart(office: Office) -> None:
    pace = calls.Pace(0.3)
    clock = asyncio.get_running_loop()
    times: dict[str, list[float]] = {"a": [], "b": []}

    async def turn(channel: str) -> None:
        await pace.turn(channel)
        times[channel].append(clock.time())

    await asyncio.gather(*(turn(channel) for channel in "aaabbb"))
    for found in times.values():
        assert all(later - earlier >= 0.29 for earlier, later in zip(found, found[1:], strict=False))  # noqa: RUF007


@pytest.mark.parametrize("office", [{"mode": "socket"}], indirect=True)
async def test_a_socket_that_is_refused_or_cut_is_opened_again(office: Office) -> None:
    await office.page()
    asked = [await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}")]
    office.slack.fail_next("apps.connections.open", status=429, retry_after=1)
    await office.slack.sockets.disconnect("refresh_requested", grace=0.0)
    asked.append(await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}"))
    for connection in list(office.slack.sockets.connections):
        await connection.socket.close()
    asked.append(await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}"))
    office.slack.delivery.drop_acks = 2
    await office.slack.wait_for(lambda: all(answered_once(office, one) for one in asked), 30)
    await office.quiet()
    assert all(answered_once(office, one) for one in asked)


# Kills


async def test_a_lost_acknowledgement_is_answered_once(office: Office) -> None:
    await office.page()
    office.slack.delivery.drop_acks = 3
    asked = await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}")
    await office.quiet()
    assert answered_once(office, asked)


POINTS = [
    "a stream is begun",
    "a message is posted",
    "it is noted",
    "the stream has ended",
    "the answer is posted, in a direct message",
    "the first part is posted",
]


@pytest.mark.parametrize("point", POINTS)
async def test_a_process_that_is_stopped_anywhere_leaves_one_answer(
    office: Office,
    settings: Callable[..., Settings],
    models: Models,
    unused_ports: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    await office.page()
    reached = asyncio.Event()
    real_save, real_end = posts.save, outlet.Outlet.end
    direct = "direct" in point

    async def stuck(*_: Any, **__: Any) -> None:
        reached.set()
        await asyncio.sleep(3600)

    async def noted(connection: Any, post: Any) -> None:
        await real_save(connection, post)
        await connection.commit()
        await stuck()

    async def ended(self: Any, *args: Any, **kwargs: Any) -> None:
        await real_end(self, *args, **kwargs)
        await stuck()

    if point == "the first part is posted":
        monkeypatch.setattr("bot.slack.blocks.MOST", 40)
    if "posted" in point:
        office.slack.without("chat.startStream")
    if point == "it is noted":
        monkeypatch.setattr(posts, "save", noted)
    elif point == "the stream has ended":
        monkeypatch.setattr(outlet.Outlet, "end", ended)
    elif point == "the first part is posted":
        office.slack.fail_next("chat.postMessage", delay=0.0)
        office.slack.fail_next("chat.postMessage", delay=3600.0)
    else:
        monkeypatch.setattr(posts, "save", stuck)
    place = office.ws.dm(office.ana) if direct else office.channel
    if direct:
        await office.ws.say(office.ana, place, "remember that my locker is number 12", silent=False)
    asked = await office.ws.say(office.ana, place, f"{office.at} {QUESTION}")
    if point == "the first part is posted":
        await office.slack.wait_for(lambda: len(office.slack.calls_of("chat.postMessage")) == 2)
    else:
        await asyncio.wait_for(reached.wait(), 10)
    stopping = asyncio.create_task(office.slack.delivery.settled())
    monkeypatch.setattr(posts, "save", real_save)
    monkeypatch.setattr(outlet.Outlet, "end", real_end)
    async with another(office, settings, models, unused_ports[1]):
        await office.quiet()
        await stopping
        if point == "the first part is posted":
            found = office.ws.from_bot(place, asked.ts)
            said = " ".join(str(one.blocks) for one in found)
            assert [said.count(word) for word in ("Lisbon", "8:30", "every morning")] == [1, 1, 1]
            assert "'up " in str(found[-1].blocks)
        elif direct:
            found = [one for one in office.ws.from_bot(place) if one.ts > asked.ts]
            assert sum(OPENS in shown(one) for one in found) == 1
            assert any("locker is number 12" in shown(one) for one in office.ws.from_bot(place))
        else:
            assert answered_once(office, asked), [shown(one) for one in office.ws.from_bot(place)]
    assert await failed(office) == []


# Any order


async def state(office: Office) -> dict[str, Any]:
    """What is known in the end: what was said, what people think, what was learnt and stands."""
    await office.quiet()
    await (await office.front.desk(office.team.id)).indexing.settled()
    async with office.database.team(office.team.id) as connection:
        said = [(one.event_id, one.text) for one in await messages.current(connection)]
        given = [(one.person_id, one.kind, one.value, one.text) for one in await feedback.standing(connection)]
        known = await memories.of_states(connection, ["noted", "studied", "learnt"])
    return {
        "messages": sorted(said),
        "feedback": sorted(given, key=str),
        # Those of talk follow from the messages, and from when it was indexed.
        "memories": sorted((one.kind, one.statement) for one in known if one.kind != "message"),
    }


ACTS = [
    *("say", "correct", "edit", "edit", "correction", "delete", "react", "react", "react"),
    *("remember", "remembering", "forget"),
]
LEADS = {
    "edit": "They say that it was cleaned at",
    "correction": "no, the office in Lisbon opens at",
    "remembering": "{at} remember that the gym in Porto opens at",
}
HOURS = ["7:00", "7:30", "8:00", "8:15", "9:00", "9:45", "10:00", "11:30"]


FACTS = ["The bike shed is painted green.", "The choir sings on Tuesday evenings.", "Invoices are archived by Henrik."]


async def acts(office: Office, root: str, answer: str, chance: random.Random, count: int = 12) -> None:
    """Some acts of two people in a thread with an answer in it, by chance; each is possible where it is done."""
    said: list[str] = []
    known = list(FACTS)
    users = {office.ana.id: office.ana, office.ben.id: office.ben}
    for _ in range(count):
        act = chance.choice(ACTS)
        who = chance.choice(list(users.values()))
        if act == "say":
            text = f"The {chance.choice(['printer', 'lift', 'coffee machine'])} was repaired at {chance.choice(HOURS)}."
            said.append((await office.ws.say(who, office.channel, text, thread_ts=root)).ts)
        elif act == "correct":
            text = f"no, the office in Lisbon opens at {chance.choice(HOURS)}."
            said.append((await office.ws.say(who, office.channel, text, thread_ts=root)).ts)
        elif act == "remember":
            text = f"{office.at} remember that the gym in Porto opens at {chance.choice(HOURS)}."
            said.append((await office.ws.say(who, office.channel, text, thread_ts=root)).ts)
        elif act == "forget" and known:
            text = f"{office.at} forget {known.pop(chance.randrange(len(known)))}"
            await office.ws.say(who, office.channel, text, thread_ts=root)
        elif act in LEADS and said:
            ts, lead = chance.choice(said), LEADS[act].format(at=office.at)
            await office.ws.edit(office.channel, ts, f"{lead} {chance.choice(HOURS)}.")
        elif act == "delete" and said:
            ts = said.pop(chance.randrange(len(said)))
            await office.ws.delete(office.channel, ts)
        elif act == "react":
            name = chance.choice(["heart", "x"])
            if who.id in office.ws.message(office.channel, answer).reactions.get(name, []):
                await office.ws.unreact(who, office.channel, answer, name)
            else:
                await office.ws.react(who, office.channel, answer, name)


@pytest.mark.parametrize("seeds", [range(16), pytest.param(range(16, 56), marks=pytest.mark.slow)])
async def test_any_order_of_delivery_ends_in_the_same_state(
    office: Office, monkeypatch: pytest.MonkeyPatch, seeds: range
) -> None:
    monkeypatch.setattr(indexing, "INDEX_SECONDS", 0.02)
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    root = answer.thread_ts
    await forgotten(office)
    for seed in seeds:
        chance = random.Random(seed)
        office.slack.delivery.hold()
        await acts(office, root, answer.ts, chance)
        events = [delivery.payload for delivery in office.slack.delivery.held or []]
        office.slack.delivery.release(shuffle=chance, copies=chance.randint(1, 4))
        shuffled = await state(office)
        await forgotten(office)
        for payload in events:  # as new events, in the order in which they happened
            office.slack.delivery.send_event(payload)
            await office.quiet()
        ordered = await state(office)
        assert shuffled == ordered, seed
        await forgotten(office)


async def forgotten(office: Office) -> None:
    """Nothing was said or thought yet, and nothing of it was delivered, but the answer stands."""
    feedbacks = (await office.front.desk(office.team.id)).feedbacks
    async with office.database.team(office.team.id) as connection:
        given = await (await connection.execute("SELECT event_id FROM feedback WHERE surface = 'slack'")).fetchall()
    for one in given:  # so that what a correction overrode stands again
        await feedbacks.retract("slack", one["event_id"])
    async with office.database.team(office.team.id) as connection:
        await connection.execute("DELETE FROM memories WHERE answer_id IS NOT NULL OR kind = 'pinned'")
        await connection.execute("DELETE FROM feedback WHERE surface = 'test'")
        for table in ("feedback", "events", "forgettings"):
            await connection.execute(f"DELETE FROM {table} WHERE surface = 'slack'")
        await connection.execute("DELETE FROM messages")
    for number, fact in enumerate(FACTS):  # what may be forgotten
        await feedbacks.remember(fact, None, "test", f"r{number}")
