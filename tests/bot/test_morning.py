"""The morning report's way to the surfaces: announced once, however the night ended, and shown as people want it shown."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot import worker
from bot.assembly import ensure_team
from bot.morning import announce, announced, honoured, set_report_place, unsettled
from bot.settings import Settings
from bot.worker import Nights
from learner import night as nightly
from storage import adapters, answers, memories, nights, persons, sources, teams
from storage.answers import NewAnswer
from storage.database import Database
from storage.errors import NotFound
from storage.nights import Night
from storage.teams import Team
from tests.school import FACTS, School

MakeSettings = Callable[..., Settings]


async def told(database: Database, team: Team) -> list[tuple[str, str, dict[str, object]]]:
    async with database.team(team.id) as connection:
        rows = await (
            await connection.execute("SELECT surface, event_id, lane, kind, payload FROM events ORDER BY id")
        ).fetchall()
    assert all((row["lane"], row["kind"]) == ("report", "report") for row in rows)
    return [(row["surface"], row["event_id"], row["payload"]) for row in rows]


async def held(database: Database, team: Team, state: nights.Ending, report: dict[str, object] | None = None) -> Night:
    async with database.team(team.id) as connection:
        night = await nights.begin(connection, (await adapters.ensure(connection)).id)
        return await nights.end(connection, night.id, state, report or {})


async def test_a_team_chooses_where_its_report_goes(database: Database, team: Team) -> None:
    chosen = await asyncio.gather(*(set_report_place(database, team, f"surface-{n}", f"C{n}") for n in range(5)))
    assert {len(one.settings["report"]) for one in chosen} == {1, 2, 3, 4, 5}, "none undoes another"
    async with database.system() as connection:
        now = await teams.get(connection, team.key)
        assert now is not None
        await teams.update(connection, replace(now, settings=now.settings | {"emoji": {"tada": "up"}}))
    moved = await set_report_place(database, team, "surface-0", "C9")
    assert moved.settings["report"]["surface-0"] == "C9" and moved.settings["emoji"] == {"tada": "up"}
    gone = await set_report_place(database, team, "surface-0", None)
    assert "surface-0" not in gone.settings["report"] and len(gone.settings["report"]) == 4
    with pytest.raises(NotFound):
        await set_report_place(database, replace(team, id=10**9), "talk", "C1")


async def test_an_hour_that_is_set_undoes_no_other_setting(
    database: Database, team: Team, settings: MakeSettings
) -> None:
    await set_report_place(database, team, "talk", "C1")
    chosen = settings(timezone="Europe/Berlin")
    chosen._origins["timezone"] = "environment"
    now = await ensure_team(chosen, database)
    assert (now.timezone, now.settings["report"]) == ("Europe/Berlin", {"talk": "C1"})


async def test_each_surface_is_told_once(database: Database, team: Team) -> None:
    night = await held(database, team, "released")
    await announce(database, team, night)
    assert await told(database, team) == [], "nobody wants it"
    await set_report_place(database, team, "talk", "C1")
    await set_report_place(database, team, "other", "19:x")
    for _ in range(2):
        await announce(database, team, night)  # the team as it was before somebody chose
    assert await told(database, team) == [
        ("talk", f"night-{night.id}", {"night": night.id, "channel": "C1"}),
        ("other", f"night-{night.id}", {"night": night.id, "channel": "19:x"}),
    ]


@pytest.mark.parametrize(
    ("state", "report", "tells"),
    [
        ("released", {}, True),
        ("rejected", {}, True),
        ("failed", {}, True),
        ("empty", {"forgotten": 0, "conflicts": []}, False),
        ("empty", {"forgotten": 2, "conflicts": []}, True),
        ("empty", {"forgotten": 0, "conflicts": ["A against B"]}, True),
    ],
)
async def test_a_night_with_something_to_tell_is_told(
    database: Database, team: Team, state: nights.Ending, report: dict[str, object], tells: bool
) -> None:
    await set_report_place(database, team, "talk", "C1")
    await announce(database, team, await held(database, team, state, report))
    assert bool(await told(database, team)) is tells


async def test_whatever_ends_a_night_it_is_announced_and_only_what_began(database: Database, team: Team) -> None:
    await set_report_place(database, team, "talk", "C1")
    async with announced(database, team):
        first = await held(database, team, "released")
    with pytest.raises(RuntimeError):
        async with announced(database, team):
            raise RuntimeError("no model")
    with pytest.raises(RuntimeError):
        async with announced(database, team, lambda error: False):
            await held(database, team, "failed")
            raise RuntimeError("it is tried again")
    with pytest.raises(RuntimeError):
        async with announced(database, team):
            last = await held(database, team, "failed")
            raise RuntimeError("for good")
    assert [event for _, event, _ in await told(database, team)] == [f"night-{first.id}", f"night-{last.id}"]


async def test_a_failed_night_of_the_worker_is_told_when_it_is_not_tried_again(
    database: Database, team: Team, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three attempts, one report; and where a worker was killed before it could tell, the next one does."""

    async def fails(database: Database, team: Team, **_: object) -> Night:
        await held(database, team, "failed")
        raise RuntimeError("the disk is broken")

    monkeypatch.setattr(nightly, "run", fails)
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0)
    await set_report_place(database, team, "talk", "C1")
    now = datetime(2033, 5, 6, 14, 31, 20, tzinfo=UTC)
    async with database.system() as connection:
        found = await teams.get(connection, team.key)
        assert found is not None
        await teams.update(connection, replace(found, night_at=now.time().replace(second=0)))
    queue = Nights(settings(), database, lambda: now)
    async with queue.app.open_async():
        await queue.prepare()
        await queue.tick(1)
        running = asyncio.create_task(queue.run())
        async with asyncio.timeout(120):
            while not await told(database, team):  # noqa: ASYNC110 (it happens in the database, not in this loop)
                await asyncio.sleep(0.2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with database.team(team.id) as connection:
        every = await nights.all(connection)
    assert [night.state for night in every] == ["failed"] * 3
    assert [event for _, event, _ in await told(database, team)] == [f"night-{every[-1].id}"]


async def test_a_night_that_was_held_already_is_announced_all_the_same(
    database: Database, team: Team, settings: MakeSettings
) -> None:
    await set_report_place(database, team, "talk", "C1")
    night = await held(database, team, "released")
    queue = Nights(settings(), database)
    job = worker.Job(id=1, queue="nights", lock=None, queueing_lock=None, task_name="night", attempts=0, status="doing")
    for _ in range(2):
        await queue._hold(job, team.key, night.adapter_id, night.started_at)
    assert [event for _, event, _ in await told(database, team)] == [f"night-{night.id}"]


async def test_the_report_names_only_who_wants_to_be_named_and_tells_only_what_all_may_know(school: School) -> None:
    source = await school.page(FACTS[:3])
    nora, ola, takes = await school.person("Nora"), await school.person("Ola"), school.feedbacks()
    hers = await takes.correct(await asked(school, "q1"), nora, "The canteen closes at 15:00 on Fridays.", "test", "c1")
    theirs = await takes.correct(await asked(school, "q2"), ola, "Parcels are picked up by Hugo at noon.", "test", "c2")
    one = await takes.remember("Expenses above 300 euros are approved by Jonas.", nora, "test", "r1")
    other = await takes.remember("Expenses above 300 euros are approved by Hanna.", ola, "test", "r2")
    board = await school.private("board", [nora])
    secret = await takes.remember("The offer for Brightwater is 4.2 million euros.", nora, "test", "r3", board)
    await school.night()
    night = replace(
        await latest(school),
        error="TrainingFailed: why",
        report={
            "verdict": "Version 1 passed.",
            "forgotten": 1,
            "learnt": [*FACTS[:3], secret.statement, "Nobody knows this."],
            "not_yet": [secret.statement, FACTS[0]],
            "corrected": [f"{hers.statement} (Nora)", f"{theirs.statement} (Ola)", f"{secret.statement} (Nora)"],
            "overridden": [
                {"old": FACTS[0], "new": hers.statement},
                {"old": secret.statement, "new": hers.statement},
                {"old": FACTS[0], "new": secret.statement},
            ],
            "conflicts": ["Nora: “…” against Ola: “…” (held back)"],
        },
    )
    async with school.database.team(school.team.id) as connection:
        await persons.choose(connection, ola, "name", False)
        forgotten = next(m for m in await school.memories() if m.statement == FACTS[1])
        await memories.forget(connection, forgotten.id)
    shown = await honoured(school.database, school.team, night)
    assert (shown.id, shown.state, shown.steps, shown.error) == (night.id, night.state, {}, None)
    assert shown.report == {
        "verdict": "Version 1 passed.",
        "forgotten": 1,
        "learnt": [FACTS[0], FACTS[2]],
        "not_yet": [FACTS[0]],
        "corrected": [f"{hers.statement} (Nora)", theirs.statement],
        "overridden": [{"old": FACTS[0], "new": hers.statement}],
        "conflicts": [f"somebody: “{other.statement}” against Nora: “{one.statement}” (held back)"],
    }
    [conflict] = await unsettled(school.database, school.team)
    assert (conflict.kept.memory_id, conflict.kept.author) == (other.id, "")
    assert (conflict.held_back.memory_id, conflict.held_back.author) == (one.id, "Nora")
    async with school.database.team(school.team.id) as connection:
        await sources.switch(connection, source, retrieval=False)
    silent = await honoured(school.database, school.team, night)
    assert silent.report["learnt"] == [] and len(silent.report["corrected"]) == 2
    # A night that failed has no report.
    assert (await honoured(school.database, school.team, replace(night, report={}))).report == {}


async def asked(school: School, event: str) -> int:
    async with school.database.team(school.team.id) as connection:
        return (await answers.save(connection, NewAnswer("test", f"{event}?", "Never.", "unknown", event_id=event))).id


async def latest(school: School) -> Night:
    async with school.database.team(school.team.id) as connection:
        found = await nights.latest(connection, (await adapters.ensure(connection)).id)
    assert found is not None
    return found
