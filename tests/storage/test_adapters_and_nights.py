"""Adapters with their versions, nights and exams."""

import asyncio
import json
import multiprocessing
import uuid

import psycopg
import pytest

from storage import adapters, exams, nights
from storage.database import Database
from storage.errors import NightLost, NightUnderWay, NotFound, VersionUnusable


@pytest.fixture
async def adapter(connection):
    return await adapters.ensure(connection)


@pytest.fixture
def register(connection, adapter):
    async def make(night_id=None, memory_ids=(), sha256=None):
        return await adapters.register(
            connection, adapter.id, base_model="b", uri="u", sha256=sha256 or uuid.uuid4().hex, bytes=1,
            night_id=night_id, memory_ids=memory_ids,
        )  # fmt: skip

    return make


async def states(connection, adapter):
    return [v.state for v in await adapters.versions(connection, adapter.id)]


async def test_one_adapter_a_scope(connection, adapter):
    assert await adapters.ensure(connection) == adapter
    assert (adapter.scope, adapter.person_id) == ("team", None)
    assert await adapters.all(connection) == [adapter]
    assert await adapters.serving(connection, adapter.id) is None


async def test_a_switch_retires_the_old_and_rollback_goes_back_step_by_step(connection, adapter, register):
    one, two, three = [await register() for _ in range(3)]
    assert [v.number for v in (one, two, three)] == [1, 2, 3]
    for version in (one, two, three):
        assert (await adapters.switch(connection, version.id)).state == "serving"
    assert await states(connection, adapter) == ["retired", "retired", "serving"]
    assert (await adapters.rollback(connection, adapter.id)).number == 2
    assert (await adapters.rollback(connection, adapter.id)).number == 1
    with pytest.raises(VersionUnusable, match="no earlier version"):
        await adapters.rollback(connection, adapter.id)
    assert (await adapters.rollback(connection, adapter.id, 3)).number == 3
    assert (await adapters.serving(connection, adapter.id)).number == 3
    with pytest.raises(VersionUnusable, match="no version 9"):
        await adapters.rollback(connection, adapter.id, 9)


async def test_refused_and_erased_versions_never_serve(connection, adapter, register):
    old, bad, good = await register(memory_ids=[7]), await register(), await register(memory_ids=[7, 8])
    await adapters.switch(connection, old.id)
    refused = await adapters.refuse(connection, bad.id, "forgot too much")
    assert (refused.state, refused.why) == ("refused", "forgot too much")
    with pytest.raises(VersionUnusable, match="forgot too much"):
        await adapters.switch(connection, bad.id)
    await adapters.switch(connection, good.id)
    with pytest.raises(VersionUnusable):
        await adapters.refuse(connection, good.id, "serves")
    assert [v.id for v in await adapters.erase(connection, [7])] == [old.id]
    assert await states(connection, adapter) == ["erased", "refused", "serving"]
    with pytest.raises(VersionUnusable):
        await adapters.rollback(connection, adapter.id)
    with pytest.raises(VersionUnusable, match="erased"):
        await adapters.rollback(connection, adapter.id, 1)
    with pytest.raises(NotFound):
        await adapters.switch(connection, 999_999_999)


async def test_two_serving_versions_are_impossible(connection, register):
    one, two = await register(), await register()
    await adapters.switch(connection, one.id)
    with pytest.raises(psycopg.errors.UniqueViolation):
        async with connection.transaction():
            await connection.execute("UPDATE versions SET state = 'serving' WHERE id = %s", [two.id])


async def test_a_switch_is_told_at_commit_and_only_then(database, team):
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen():
        async for payload in database.listen(adapters.CHANNEL, gap="listening"):
            heard.put_nowait(payload)

    listener = asyncio.create_task(listen())
    assert await asyncio.wait_for(heard.get(), 5) == "listening"
    async with database.team(team.id) as connection:
        adapter = await adapters.ensure(connection)
        version = await adapters.register(
            connection, adapter.id, base_model="b", uri="u", sha256="s", bytes=1, night_id=None, memory_ids=[]
        )
        await adapters.switch(connection, version.id)
        await asyncio.sleep(0.1)
        assert heard.empty()
    told = json.loads(await asyncio.wait_for(heard.get(), 5))
    assert told == {"team": team.id, "adapter": adapter.id, "version": version.id}
    listener.cancel()


async def test_under_many_flips_readers_always_see_exactly_one(database, team):
    async with database.team(team.id) as connection:
        adapter = await adapters.ensure(connection)
        made = [
            await adapters.register(
                connection,
                adapter.id,
                base_model="b",
                uri=f"u{n}",
                sha256=str(n),
                bytes=1,
                night_id=None,
                memory_ids=[],
            )
            for n in range(3)
        ]
        await adapters.switch(connection, made[0].id)
    done = asyncio.Event()
    seen = []

    async def read():
        while not done.is_set():
            async with database.team(team.id) as connection:
                seen.append([v.state for v in await adapters.versions(connection, adapter.id)].count("serving"))

    async def flip(offset):
        for n in range(30):
            async with database.team(team.id) as connection:
                await adapters.switch(connection, made[(n + offset) % 3].id)

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await asyncio.gather(flip(0), flip(1))
    done.set()
    await asyncio.gather(*readers)
    assert set(seen) == {1}


async def test_a_resumed_night_registers_its_version_once(connection, adapter, register):
    night = await nights.begin(connection, adapter.id)
    one = await register(night.id, sha256="x")
    assert await register(night.id, sha256="x") == one
    assert (await register(night.id, sha256="y")).number == 2
    assert [v.sha256 for v in await adapters.versions(connection, adapter.id)] == ["x", "y"]
    sat = await exams.save(connection, night.id, one.id, {"recall": 0.9}, True)
    assert await exams.of_version(connection, one.id) == sat
    again = await exams.save(connection, night.id, one.id, {"recall": float("nan")}, False)
    assert (again.results, again.passed, again.id) == ({"recall": None}, False, sat.id)


async def test_a_night_notes_its_steps_in_order(connection, adapter):
    night = await nights.begin(connection, adapter.id)
    assert (night.state, night.steps, night.ended_at) == ("running", {}, None)
    await nights.step_started(connection, night.id, "select")
    await nights.step_done(connection, night.id, "select", {"memories": 3, "loss": float("inf")})
    await nights.step_started(connection, night.id, "collect")
    resumed = await nights.begin(connection, adapter.id)
    assert (resumed.id, list(resumed.steps)) == (night.id, ["select", "collect"])
    assert (resumed.steps["select"].state, resumed.steps["select"].result) == ("done", {"memories": 3, "loss": None})
    assert resumed.steps["select"].seconds >= 0
    assert resumed.steps["collect"].state == "running"
    ended = await nights.end(connection, night.id, "released", {"learnt": 3})
    assert (ended.state, ended.report, ended.ended_at is not None) == ("released", {"learnt": 3}, True)
    assert await nights.latest(connection, adapter.id) == ended
    assert await nights.get(connection, night.id) == ended
    with pytest.raises(NightLost):
        await nights.beat(connection, night.id)
    nxt = await nights.begin(connection, adapter.id)
    assert nxt.id != night.id
    assert [n.id for n in await nights.all(connection)] == [night.id, nxt.id]


async def _begin(url, team_id, adapter_id, outcome, keep):
    from pathlib import Path

    database = await Database.open(url, Path())
    try:
        async with database.team(team_id) as connection:
            night = await nights.begin(connection, adapter_id)
        outcome.put(night.id)
        if keep:
            await asyncio.sleep(600)
    except NightUnderWay as error:
        outcome.put(str(error))
    finally:
        await database.close()


def _in_process(*arguments):
    asyncio.run(_begin(*arguments))


async def begin_elsewhere(database, team, adapter, keep):
    context = multiprocessing.get_context("spawn")
    outcome = context.Queue()
    process = context.Process(target=_in_process, args=(database.url, team.id, adapter.id, outcome, keep))
    process.start()
    return process, await asyncio.to_thread(outcome.get, True, 60)


async def test_a_living_nights_owner_is_respected_and_a_dead_one_succeeded(database, team, monkeypatch):
    async with database.team(team.id) as connection:
        adapter = await adapters.ensure(connection)
    process, night_id = await begin_elsewhere(database, team, adapter, keep=True)
    async with database.team(team.id) as connection:
        with pytest.raises(NightUnderWay, match="running already"):
            await nights.begin(connection, adapter.id)
        # Silent for longer than the limit: taken over, and its former owner may write no more.
        await connection.execute("UPDATE nights SET beat_at = clock_timestamp() - interval '31 seconds'")
        assert (await nights.begin(connection, adapter.id)).id == night_id
        await nights.beat(connection, night_id)
        await connection.execute("UPDATE nights SET owner = 'elsewhere/1/x'")
        with pytest.raises(NightLost):
            await nights.step_started(connection, night_id, "select")
        await nights_end(connection, night_id)
    process.kill()
    process.join()

    process, night_id = await begin_elsewhere(database, team, adapter, keep=True)
    process.kill()
    process.join()
    async with database.team(team.id) as connection:
        # Killed on this very machine: nobody waits for the heartbeat to go stale.
        assert (await nights.begin(connection, adapter.id)).id == night_id
    process, told = await begin_elsewhere(database, team, adapter, keep=False)
    process.join()
    assert "running already" in told


async def nights_end(connection, night_id):
    await connection.execute("UPDATE nights SET state = 'failed' WHERE id = %s", [night_id])


async def test_an_unknown_adapter_has_no_night(connection):
    with pytest.raises(NotFound):
        await nights.begin(connection, 999_999_999)
