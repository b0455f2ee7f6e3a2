"""`python -m bench.beside [--minutes M] [--every S] [--set NAME=VALUE ...]`: how long answers take while a night trains.

An invented team with a version at work is served by `nightschool serve`, and `nightschool worker` holds its next night beside
it, both as real processes on one database. Somebody asks over HTTP every S seconds, whether or not the one before was
answered: before the night, while it trains, in its other steps (questions, exam), and after it. The last line is one JSON
object: seconds, and `ratio` is the p95 of each phase beside that of the idle ones.
"""

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from bench.life import Life
from bench.loop import machine
from bench.memory import PeakMemory
from bench.served import Served
from bench.team import add_options, learning_of, settings_of
from bot import logs
from bot.assembly import Assembly, assembled
from bot.demo import Day
from bot.settings import Settings
from storage import adapters, nights, teams
from storage.nights import Night
from tests.acceptance.cluster import Cluster

_TRAINING = ("sft", "dpo", "sft again", "dpo again")
_IDLE = ("before", "after")
_NIGHT_SECONDS = 3600.0
"""A night that takes longer than that is given up."""


def main() -> None:
    """Reads the options, runs, prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--minutes", type=float, default=2.0, help="training budget of the night, and of the one before it"
    )
    options.add_argument("--every", type=float, default=2.0, help="seconds from question to question")
    options.add_argument("--idle", type=float, default=90.0, help="seconds without a night, before it and after")
    options.add_argument("--facts", type=int, default=60, help="facts that the team knows")
    options.add_argument("--log", type=Path, help="keep what serve and worker log in this folder")
    add_options(options, "--set", "--model", "--embedder", "--seed")
    print(json.dumps(asyncio.run(measure(options.parse_args()))))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Teaches a team, serves it, asks all along; returns the figures."""
    logs.configure("warning")
    with tempfile.TemporaryDirectory(prefix="nightschool-bench-") as temporary:
        folder = Path(temporary)
        cluster = Cluster(folder / "postgres")
        try:
            learning = learning_of(options) | {"night_minutes": options.minutes}
            settings = settings_of(
                str(folder), learning, model=options.model, embedder=options.embedder, database_url=cluster.url
            )
            async with assembled(settings) as school:
                questions = await _taught(school, folder, options)
                await school.rest()  # from here on only serve and the worker have models
                with PeakMemory() as memory:
                    async with _running(settings, learning, options.log or folder) as served:
                        watch = Watch(school)
                        asking = Asking(served.url, questions, options.every, watch)
                        night = await _through(watch, asking, options.idle)
        finally:
            cluster.close()
    return {
        "set": learning_of(options),
        "every": options.every,
        "phases": asking.figures(),
        "night": night.state,
        "training_seconds": round(sum(night.steps[name].seconds for name in _TRAINING if name in night.steps), 1),
        "night_seconds": round(sum(step.seconds for step in night.steps.values()), 1),
        "failed": dict(asking.failed),
        "peak_memory_bytes": memory.bytes,
        "swapped_bytes": memory.swapped,
        "machine": machine(),
    }


class Watch:
    """What the worker is at, as the night's row tells."""

    def __init__(self, school: Assembly) -> None:
        self._school = school
        self.phase = "before"
        self.night: Night | None = None
        self._known: int | None = None

    async def look(self) -> None:
        """Brings the phase up to date: before, training, rest of the night, after."""
        async with self._school.database.team(self._school.team.id) as connection:
            adapter = await adapters.ensure(connection)
            latest = await nights.latest(connection, adapter.id)
        if self._known is None:
            self._known = latest.id if latest else 0
        if latest is None or latest.id == self._known:
            return
        self.night = latest
        running = [name for name, step in latest.steps.items() if step.state == "running"]
        if latest.state != "running":
            self.phase = "after"
        else:
            self.phase = "training" if any(name in _TRAINING for name in running) else "rest_of_the_night"

    async def begin(self) -> None:
        """Makes the team's night due: the worker finds it at its next tick."""
        async with self._school.database.system() as connection:
            team = await teams.hold(connection, self._school.team.id)
            # To the second: a night that began after its hour, as the first did within this minute, counts as held.
            hour = datetime.now(UTC).time().replace(microsecond=0)
            await teams.update(connection, replace(team, night_at=hour, timezone="UTC"))


class Asking:
    """Questions at a steady rate, and how long their answers took in each phase."""

    def __init__(self, url: str, questions: Sequence[str], every: float, watch: Watch) -> None:
        self._url = url
        self._questions = itertools.cycle(questions)
        self._every = every
        self._watch = watch
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.routes: dict[str, Counter[str]] = defaultdict(Counter)
        self.failed: Counter[str] = Counter()

    async def go_on(self) -> None:
        """Asks until cancelled, and then waits for the answers under way."""
        under_way: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as http:
            try:
                started = time.monotonic()
                for number in itertools.count():
                    await asyncio.sleep(max(0.0, started + number * self._every - time.monotonic()))
                    task = asyncio.create_task(self._ask(http, next(self._questions)))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
            finally:
                await asyncio.gather(*under_way)

    async def _ask(self, http: aiohttp.ClientSession, question: str) -> None:
        # A question counts for the phase in which it was asked.
        phase, started = self._watch.phase, time.monotonic()
        try:
            async with http.post(f"{self._url}/ask", json={"question": question}) as reply:
                answer = await reply.json()
                if reply.status != 200:
                    self.failed[str(reply.status)] += 1
                    return
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failed[type(error).__name__] += 1
            return
        self.seconds[phase].append(time.monotonic() - started)
        self.routes[phase][answer["route"]] += 1

    def figures(self) -> dict[str, Any]:
        """Each phase: how many, p50, p95, most, and the p95 beside that of all idle ones."""
        idle = _quantile([value for phase in _IDLE for value in self.seconds[phase]], 0.95)
        return {
            phase: {
                "answers": len(values),
                "p50": _quantile(values, 0.5),
                "p95": _quantile(values, 0.95),
                "max": _quantile(values, 1.0),
                "ratio": round((_quantile(values, 0.95) or 0.0) / idle, 2) if idle else None,
                "routes": dict(self.routes[phase]),
            }
            for phase, values in self.seconds.items()
        }


async def _taught(school: Assembly, folder: Path, options: argparse.Namespace) -> list[str]:
    """A team whose first night is over, and which has heard something new since; returns what people ask."""
    day = Day(school, Console(stderr=True))
    life = Life(folder, options.seed, datetime.now(UTC) - timedelta(days=1))
    life.live(options.facts)
    await day.read(life.pages, life.chat)
    first = await day.sleep(options.minutes)
    _note(f"the first night: {first.state}")
    life.live(5)
    await day.read(life.pages, life.chat)
    return [fact.asked(number).question for number in (1, 2, 3) for fact in life.known.values()]


@asynccontextmanager
async def _running(settings: Settings, learning: dict[str, Any], logs_in: Path) -> AsyncIterator[Served]:
    """serve and a worker, both awake until the block ends; no night is due."""
    never = (datetime.now(UTC) + timedelta(hours=8)).time()
    environment = {
        "DATABASE_URL": str(settings.url),
        "NIGHTSCHOOL_TEAM": settings.team,
        "NIGHTSCHOOL_MODEL": settings.model,
        "NIGHTSCHOOL_EMBEDDER": settings.embedder,
        "NIGHTSCHOOL_DATA_FOLDER": str(settings.folder),
        **{f"NIGHTSCHOOL_LEARNING__{name.upper()}": str(value) for name, value in learning.items()},
    }
    logs_in.mkdir(parents=True, exist_ok=True)
    served = Served(environment, logs_in / "serve.log")
    # Only the worker names an hour: ensure_team writes it once, and what `begin` writes stays.
    worker = Served(environment | {"NIGHTSCHOOL_NIGHT_AT": f"{never:%H:%M}"}, logs_in / "worker.log", "worker")
    served.start()
    worker.start()
    try:
        await served.ready()
        await worker.ready()
        yield served
    finally:
        await worker.stop()
        await served.stop()


async def _through(watch: Watch, asking: Asking, idle: float) -> Night:
    """Idle, the night, idle again, with somebody asking all along; returns the night."""
    task = asyncio.create_task(asking.go_on())
    await watch.look()
    try:
        await asyncio.sleep(idle)
        await watch.begin()
        async with asyncio.timeout(_NIGHT_SECONDS):
            while watch.phase != "after":
                await asyncio.sleep(0.5)
                before = watch.phase
                await watch.look()
                if watch.phase != before:
                    _note(watch.phase)
        await asyncio.sleep(idle)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert watch.night is not None
    return watch.night


def _quantile(values: Sequence[float], share: float) -> float | None:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
