"""The night queue: due at the team's own hour, once, with any number of workers; a killed worker's night goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import procrastinate
import pytest
from procrastinate.jobs import Job

from bot import worker
from bot.settings import Settings
from bot.worker import CLOCK, NIGHTS, Nights, due, last_tick
from storage import adapters, nights, teams
from storage.database import Database
from storage.errors import NightUnderWay
from storage.teams import Team

MakeSettings = Callable[..., Settings]


@pytest.mark.parametrize(
    ("zone", "hour", "now", "expected"),
    [
        ("UTC", time(2), "2026-11-24T02:00:00+00:00", "2026-11-24T02:00:00+00:00"),
        ("UTC", time(2), "2026-11-24T01:59:59+00:00", None),
        ("UTC", time(2), "2026-11-24T04:59:59+00:00", "2026-11-24T02:00:00+00:00"),
        ("UTC", time(2), "2026-11-24T05:00:00+00:00", None),
        ("Europe/Berlin", time(2), "2026-07-01T00:05:00+00:00", "2026-07-01T00:00:00+00:00"),
        ("Europe/Berlin", time(2), "2026-12-01T00:05:00+00:00", None),
        ("Europe/Berlin", time(2), "2026-12-01T01:05:00+00:00", "2026-12-01T01:00:00+00:00"),
        ("America/Los_Angeles", time(23, 30), "2026-12-02T07:31:00+00:00", "2026-12-02T07:30:00+00:00"),
        ("America/Los_Angeles", time(23, 30), "2026-12-02T09:00:00+00:00", "2026-12-02T07:30:00+00:00"),
        # The clocks go forward at 02:00: half past two does not exist, and the night is held all the same.
        ("Europe/Berlin", time(2, 30), "2026-03-29T01:31:00+00:00", "2026-03-29T01:30:00+00:00"),
    ],
)
def test_a_night_is_due_at_the_teams_own_hour(zone: str, hour: time, now: str, expected: str | None) -> None:
    team = Team(1, "t", "T", zone, hour, {})
    found = due(team, datetime.fromisoformat(now))
    assert (found and found.astimezone(UTC)) == (datetime.fromisoformat(expected) if expected else None)


@asynccontextmanager
async def opened(settings: Settings, database: Database, now: datetime) -> AsyncIterator[Nights]:
    queue = Nights(settings, database, lambda: now)
    async with queue.app.open_async():
        await queue.prepare()
        yield queue


async def at(database: Database, team: Team, now: datetime) -> int:
    """Sets the team's hour to a minute before `now`; the number of its adapter."""
    async with database.system() as connection:
        hour = (now - timedelta(minutes=1)).time().replace(second=0, microsecond=0)
        await teams.update(connection, replace(team, timezone="UTC", night_at=hour))
    async with database.team(team.id) as connection:
        return (await adapters.ensure(connection)).id


async def jobs(queue: Nights, adapter: int) -> list[Job]:
    return list(await queue.app.job_manager.list_jobs_async(queue=NIGHTS, lock=f"adapter-{adapter}"))


async def ended(queue: Nights, adapter: int) -> bool:
    return any(job.status in ("succeeded", "failed") for job in await jobs(queue, adapter))


# A time at which no other test's team is due, and later than anything the tests hold.
NOW = datetime(2031, 5, 6, 14, 31, 20, tzinfo=UTC)


async def test_the_queues_tables_are_made_once_by_many_workers(database: Database, settings: MakeSettings) -> None:
    async def start() -> bool:
        async with opened(settings(), database, NOW) as queue:
            return await queue.app.check_connection_async()

    assert all(await asyncio.gather(*(start() for _ in range(4))))


async def test_many_ticks_of_two_workers_put_a_night_into_the_queue_once(
    database: Database, team: Team, settings: MakeSettings
) -> None:
    adapter = await at(database, team, NOW)
    async with opened(settings(), database, NOW) as one, opened(settings(), database, NOW) as two:
        for second in range(0, 30, 10):
            await asyncio.gather(*(queue.tick(int(NOW.timestamp()) + second) for queue in (one, two)))
        found = await jobs(one, adapter)
        assert [job.task_kwargs["team"] for job in found] == [team.key]
        # Begun or ended, the job still stands for this night.
        await one.app.job_manager.cancel_job_by_id_async(found[0].id or 0)
        await two.tick(int(NOW.timestamp()) + 60)
        assert len(await jobs(one, adapter)) == 1
    async with opened(settings(), database, NOW + timedelta(days=1)) as tomorrow:
        await tomorrow.tick(int(NOW.timestamp()) + 86400)
        assert len(await jobs(tomorrow, adapter)) == 2


async def test_two_workers_hold_one_night_and_a_team_without_news_sleeps_on(
    database: Database, team: Team, settings: MakeSettings
) -> None:
    adapter = await at(database, team, NOW)
    async with opened(settings(), database, NOW) as one, opened(settings(), database, NOW) as two:
        running = [asyncio.create_task(queue.run()) for queue in (one, two)]
        async with asyncio.timeout(120):
            while not await ended(one, adapter):  # noqa: ASYNC110 (it happens in the database, not in this loop)
                await asyncio.sleep(0.5)
        [job] = await jobs(one, adapter)
        assert job.status == "succeeded"
        for task in running:
            task.cancel()
        assert [type(e) for e in await asyncio.gather(*running, return_exceptions=True)] == [asyncio.CancelledError] * 2
    async with database.team(team.id) as connection:
        held = await nights.all(connection)
    assert [night.state for night in held] == ["empty"]
    seen = await last_tick(database)
    assert seen is not None and datetime.now(UTC) - seen < timedelta(minutes=1)


async def test_a_killed_workers_night_goes_back_into_the_queue(
    database: Database, team: Team, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "STALLED_SECONDS", 1)
    adapter = await at(database, team, NOW)
    async with opened(settings(), database, NOW) as queue:
        manager = queue.app.job_manager
        for other in await manager.list_jobs_async(queue=NIGHTS, status="todo"):  # other tests' teams have theirs
            await manager.cancel_job_by_id_async(other.id or 0)
        await queue.tick(0)
        dead = await manager.register_worker()
        taken = await manager.fetch_job(queues=[NIGHTS], worker_id=dead)
        assert taken is not None and taken.lock == f"adapter-{adapter}"
        await queue.tick(0)
        assert [job.status for job in await jobs(queue, adapter)] == ["doing"], "its heartbeat is not old yet"
        await asyncio.sleep(1.2)
        await asyncio.gather(queue.tick(0), queue.tick(0))
        assert [job.status for job in await jobs(queue, adapter)] == ["todo"]
        await manager.cancel_job_by_id_async(taken.id or 0)


async def test_a_killed_workers_tick_does_not_stop_the_clock(
    database: Database, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "STALLED_SECONDS", 0)
    async with opened(settings(), database, NOW) as queue:
        manager = queue.app.job_manager
        await queue.app.configure_task("tick", queueing_lock=None).defer_async(timestamp=1)
        taken = await manager.fetch_job(queues=[CLOCK], worker_id=await manager.register_worker())
        assert taken is not None
        await asyncio.sleep(0.1)
        await queue.tick(2)
        assert not list(await manager.list_jobs_async(id=taken.id))


async def test_what_is_tried_again(settings: MakeSettings) -> None:
    patience = worker._Patience()

    def again(exception: BaseException, attempts: int = 0) -> bool:
        job = Job(
            id=1, queue=NIGHTS, lock=None, queueing_lock=None, task_name="night", attempts=attempts, status="doing"
        )
        return isinstance(patience.get_retry_decision(exception=exception, job=job), procrastinate.RetryDecision)

    assert again(asyncio.CancelledError(), 50), "a worker that stopped says nothing about the night"
    assert again(NightUnderWay(), 50)
    assert again(RuntimeError(), 0)
    assert again(RuntimeError(), 1)
    assert not again(RuntimeError(), 2)
