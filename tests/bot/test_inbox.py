"""The inbox: what is put is worked off, once, in order, whatever goes wrong on the way."""

import asyncio
import contextlib
import uuid

import pytest

from bot import inbox as inbox_module
from bot.inbox import AT_ONCE, Inbox, Later, aside
from storage import events
from storage.events import NewEvent


@pytest.fixture
def surface():
    """A surface of the test's own: the queue spans all teams of the session's database."""
    return f"test-{uuid.uuid4().hex[:8]}"


@contextlib.asynccontextmanager
async def working(database, surface, handler):
    inbox = Inbox(database)
    running = asyncio.create_task(inbox.run({surface: handler}))
    try:
        yield inbox
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - anything may be awaited so
            await asyncio.sleep(0.01)


def said(surface, number, lane="1"):
    return NewEvent(surface, f"Ev{number}", lane, "message", {"number": number})


async def test_events_of_a_lane_come_in_order_and_once(database, team, surface):
    seen = []

    async def handler(event, attempts):
        seen.append(event.payload["number"])

    async with working(database, surface, handler) as inbox:
        for number in range(20):
            await inbox.put(team.id, said(surface, number))
            await inbox.put(team.id, said(surface, number))
        await until(lambda: len(seen) == 20)
        await asyncio.sleep(0.1)
    assert seen == list(range(20))


async def test_many_at_once_are_written_together(database, team, surface):
    inbox = Inbox(database)
    await asyncio.gather(*(inbox.put(team.id, said(surface, number, str(number))) for number in range(200)))
    seen = set()

    async def handler(event, attempts):
        seen.add(event.payload["number"])

    async with working(database, surface, handler):
        await until(lambda: len(seen) == 200, 60)


async def test_what_fails_is_tried_again_and_in_the_end_given_up(database, team, surface, monkeypatch):
    monkeypatch.setattr(inbox_module, "ATTEMPTS", 2)
    tries = []

    async def handler(event, attempts):
        tries.append((event.payload["number"], attempts))
        if event.payload["number"] == 0:
            raise RuntimeError("no")

    async with working(database, surface, handler) as inbox:
        await inbox.put(team.id, said(surface, 0))
        await inbox.put(team.id, said(surface, 1))
        await until(lambda: (1, 1) in tries)
    assert tries == [(0, 1), (0, 2), (1, 1)]
    async with database.team(team.id) as connection:
        [row] = await (await connection.execute("SELECT error, payload FROM events WHERE error IS NOT NULL")).fetchall()
    assert row == {"error": "RuntimeError", "payload": {}}


async def test_patience_is_no_failure(database, team, surface, monkeypatch):
    monkeypatch.setattr(inbox_module, "ATTEMPTS", 1)
    tries = []

    async def handler(event, attempts):
        tries.append(attempts)
        if len(tries) < 4:
            raise Later(0.0, "Slack asks to wait", patient=True)

    async with working(database, surface, handler) as inbox:
        await inbox.put(team.id, said(surface, 0))
        await until(lambda: len(tries) == 4)
    assert tries == [1, 2, 2, 2]  # not counted, but that it was taken up before is known


async def test_a_stopped_process_leaves_its_work_to_the_next_at_once(database, team, surface):
    begun, finished = asyncio.Event(), asyncio.Event()

    async def never(event, attempts):
        begun.set()
        await asyncio.sleep(3600)

    async def handler(event, attempts):
        assert attempts == 2  # what the first one said, it may have said already
        finished.set()

    async with working(database, surface, never) as inbox:
        await inbox.put(team.id, said(surface, 0))
        await asyncio.wait_for(begun.wait(), 10)
    async with working(database, surface, handler):
        await asyncio.wait_for(finished.wait(), 10)


async def test_a_killed_process_leaves_it_when_its_lease_runs_out(database, team, surface):
    finished = asyncio.Event()

    async def handler(event, attempts):
        assert attempts == 2
        finished.set()

    await Inbox(database).put(team.id, said(surface, 0))
    async with database.system() as connection:
        await events.take(connection, [surface], 1, 0.5)
    async with working(database, surface, handler):
        await asyncio.wait_for(finished.wait(), 10)


async def test_who_waits_aside_holds_up_nobody(database, team, surface):
    """Answers that wait for the model do not keep talk, or a correction, from being worked off."""
    waiting, quick = asyncio.Event(), []

    async def handler(event, attempts):
        if event.payload["number"] < 3 * AT_ONCE:
            with aside():
                await waiting.wait()
        quick.append(event.payload["number"])

    async with working(database, surface, handler) as inbox:
        for number in range(3 * AT_ONCE + 2):
            await inbox.put(team.id, said(surface, number, str(number)))
        await until(lambda: sorted(quick) == [3 * AT_ONCE, 3 * AT_ONCE + 1])
        waiting.set()
        await until(lambda: len(quick) == 3 * AT_ONCE + 2)


async def test_an_errand_under_way_is_not_begun_twice_when_its_lease_runs_out(database, team, surface):
    begun, finish = [], asyncio.Event()

    async def handler(event, attempts):
        begun.append(event.payload["number"])
        with aside():
            await finish.wait()

    async with working(database, surface, handler) as inbox:
        await inbox.put(team.id, said(surface, 0))
        await until(lambda: begun == [0])
        async with database.system() as connection:  # as if the database had been away for so long
            await connection.execute(
                "UPDATE errands SET taken_until = now() - interval '1 s' WHERE surface = %s", [surface]
            )
        await inbox.put(team.id, said(surface, 1, "2"))
        await until(lambda: len(begun) > 1, 20)
        await asyncio.sleep(0.2)
        assert begun == [0, 1]
        finish.set()
