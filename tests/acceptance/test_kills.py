"""The night killed by SIGKILL in each of its steps: the serving version is always complete, the next run finishes, and
nothing that people said is lost."""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from storage import adapters, answers, feedback, nights
from storage.answers import NewAnswer
from storage.errors import NightUnderWay
from tests.school import FACTS, School, training_processes

STEPS = ("collect", "select", "redact", "synthesize", "sft", "dpo", "exam", "release")
DEFAULT = {("sft", "progress")}
ALL = [
    *((step, "start") for step in STEPS),
    *((step, "done") for step in STEPS),
    ("sft", "progress"),
    ("dpo", "progress"),
    ("exam", "progress"),
    *(("release", moment) for moment in ("stored", "registered", "switched", "erased", "ending")),
]


@pytest.mark.parametrize(
    ("step", "moment"),
    [pytest.param(*one, marks=[] if one in DEFAULT else [pytest.mark.slow], id="-".join(one)) for one in ALL],
)
async def test_a_killed_night_is_taken_up_and_nothing_is_lost(school: School, step: str, moment: str) -> None:
    given = await prepared(school)
    serving = await school.serving()
    process = await started(school, die=[step, moment])
    assert await asyncio.wait_for(process.wait(), 120) == -signal.SIGKILL
    await until(lambda: training_processes(school.nights) == [], 10)
    # What serves is whole: the one before, or where the switch was made before the kill, the new one.
    now = await school.serving()
    assert now is not None and (now == serving or moment in ("switched", "erased", "ending", "done"))

    night = await school.night()
    assert night.state == "released"
    final = await school.serving()
    assert final is not None and serving is not None and final.id != serving.id
    assert FACTS[1] in {memory.statement for memory in await school.memories() if memory.id in final.memory_ids}
    assert await standing(school) == given
    states = [version.state for version in await school.versions()]
    assert states == ["retired", "serving"], "one night makes one version, however often it was begun"
    assert list(school.nights.iterdir()) == [] and not list(Path(school.root).rglob(".staging-*/manifest.json"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_killed_at_random_moments_again_and_again(school: School) -> None:
    """RELIABILITY.md 5, in small: the same night over and over, each kill somewhere else."""
    given = await prepared(school)
    chance = random.Random(5)
    for _ in range(20):
        process = await started(school)
        # It needs some 6 seconds to begin and some 10 to the end.
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), chance.uniform(5, 18))
        if process.returncode is None:
            process.kill()
        await process.wait()
        assert await school.serving() is not None
        assert await standing(school) == given
        if process.returncode == 0:
            await school.page(
                [*FACTS, f"The canteen has {chance.randrange(10**6)} chairs."]
            )  # something to learn again
    await until(lambda: training_processes(school.nights) == [], 10)
    assert (await school.night()).state in ("released", "empty")
    assert await school.serving() is not None


@pytest.mark.slow
async def test_two_workers_at_once_and_ctrl_c(school: School) -> None:
    given = await prepared(school)
    serving = await school.serving()
    process = await started(school)
    await until(lambda: process.returncode is not None or training_processes(school.nights) != [], 90)
    assert process.returncode is None
    with pytest.raises(NightUnderWay, match="running already"):
        await school.night()
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) not in (0, -signal.SIGKILL)
    await until(lambda: training_processes(school.nights) == [], 5)
    assert await school.serving() == serving and await standing(school) == given
    broken_off = await latest(school)
    assert broken_off.state == "running"
    night = await school.night()
    assert (night.id, night.state) == (broken_off.id, "released")


async def prepared(school: School) -> list[int]:
    """A team with a serving version, new things to learn and feedback for DPO; returns the feedback's ids."""
    await school.page(FACTS[:1])
    await school.collect()
    await school.switch(await school.put("first"))
    await school.page(FACTS, days_old=5)
    takes, nora = school.feedbacks(), await school.person("Nora")
    async with school.database.team(school.team.id) as connection:
        answer = await answers.save(connection, NewAnswer("test", "Who approves expenses?", "Nobody.", "notes"))
    await takes.correct(answer.id, nora, "No, Marta approves expenses above 250 euros.", "test", "c1")
    await takes.thumbs(answer.id, nora, False, "test", "t1")
    return await standing(school)


async def started(school: School, die: list[str] | None = None) -> asyncio.subprocess.Process:
    told = {
        "url": school.database.url, "team": school.team.key, "base": str(school.base), "folder": str(school.folder), "die": die
    }  # fmt: skip
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.acceptance.hold_night", json.dumps(told),
        cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


async def standing(school: School) -> list[int]:
    async with school.database.team(school.team.id) as connection:
        return [event.id for event in await feedback.standing(connection)]


async def latest(school: School) -> nights.Night:
    async with school.database.team(school.team.id) as connection:
        adapter = await adapters.ensure(connection)
        night = await nights.latest(connection, adapter.id)
    assert night is not None
    return night


async def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.05)
