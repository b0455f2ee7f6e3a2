"""`python -m bench.slack`: a talkative workspace against `nightschool serve`, over signed HTTP; the last line is one JSON object.

    people -> a fake Slack (in this process) -> serve (a real process) -> a wire as long as one likes -> PostgreSQL

People talk (80%), react (10%), edit (5%) and ask with a mention (5%): the latter are answered out of an adapter of random
weights, so that the model is busy. Times are in milliseconds, of Slack's side: from sending to the acknowledgement.

    python -m bench.slack                                              one minute of 50 events a second
    python -m bench.slack --total 10000 --delay-ms 500 --busy 16 --answer-tokens 2000 --no-drain    RELIABILITY.md, figure 1
    python -m bench.slack --total 10000 --kills 200 --events-per-second 10 --model tiny     figure 2
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.served import Served
from bench.talk import QUESTIONS, Talk
from bench.wire import Wire
from bot.demo import SAMPLE
from bot.quiz import read
from bot.slack.incoming import event_id
from learner.engine.embedder import Embedder
from learner.engine.local import LocalEngine
from learner.engine.packaged import base_model_folder, embedder_folder
from storage import teams
from storage.database import Database
from tests.acceptance.cluster import Cluster
from tests.fakes.slack import Delivery, FakeSlack
from tests.school import School, make_tiny

TEAM = "bench"
RETRIES = (0.2, 3.0, 10.0)
"""Slack's waits before its retries are 0, 60 and 300 seconds: long enough for a restart, as these are."""

_QUIET_SECONDS = 900.0
_BUSY_SECONDS = 15.0
"""How long the first questions have until the model is at them."""


def main() -> None:
    """Reads the options, runs, prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events-per-second", type=float, default=50.0)
    options.add_argument("--seconds", type=float, default=60.0, help="how long people go on")
    options.add_argument("--total", type=int, help="how much people do in all, in place of --seconds")
    options.add_argument(
        "--delay-ms", type=float, default=0.0, help="what each round trip to the database takes longer"
    )
    options.add_argument(
        "--kills", type=int, default=0, help="how often serve is killed at a random moment, and started anew"
    )
    options.add_argument("--model", choices=["packaged", "tiny"], default="packaged")
    options.add_argument(
        "--questions", type=float, default=QUESTIONS, help="the share of questions among what people do"
    )
    options.add_argument(
        "--busy", type=int, default=0, help="so many questions are asked first, for the model to write at"
    )
    options.add_argument("--answer-tokens", type=int, default=96, help="how long each answer is that the model writes")
    options.add_argument("--no-drain", action="store_true", help="end when people do, with the queue as long as it is")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--log", type=Path, help="keep what serve logs here")
    chosen = options.parse_args()
    figures = asyncio.run(run(chosen))
    print(json.dumps(figures))


async def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Prepares a team, runs and returns the figures."""
    with tempfile.TemporaryDirectory(prefix="nightschool-bench-") as temporary:
        folder = Path(temporary)
        cluster = Cluster(folder / "postgres")
        try:
            cache = Path(".nightschool")
            base = base_model_folder("packaged", cache)
            if chosen.model == "tiny":
                base = make_tiny(base, folder / "tiny")
            pages = [page.read_text(encoding="utf-8") for page in sorted((SAMPLE / "pages").rglob("*.md"))]
            await prepare(cluster.url, base, embedder_folder("packaged", cache), folder, pages)
            async with Office.opened(cluster.url, base, folder, chosen.answer_tokens, chosen.log) as office:
                acts = chosen.total or round(chosen.events_per_second * chosen.seconds)
                talk = Talk(office.slack, sample_questions(), chosen.questions, chosen.seed)
                for _ in range(chosen.busy):
                    await talk.ask()
                if chosen.busy:
                    await asyncio.sleep(_BUSY_SECONDS)
                office.wire.seconds = chosen.delay_ms / 1000
                return await measure(
                    office, talk, chosen.events_per_second, acts, chosen.kills, drained=not chosen.no_drain
                )
        finally:
            cluster.close()


async def prepare(url: str, base: Path, embedder: Path, folder: Path, pages: Sequence[str]) -> None:
    """A team that has learnt these pages, with a random adapter at work: every question makes it write."""
    database = await Database.open(url, folder)
    engine, vectors = LocalEngine(base, memory_bytes=10**9), Embedder(embedder)
    async with database.system() as connection:
        team = await teams.ensure(connection, TEAM, "Bench")
    school = School(database, team, engine, vectors, base, folder)
    for number, page in enumerate(pages):
        await school.page(page, f"Page {number}", index=number == len(pages) - 1)
    await school.taught()
    await school.switch(await school.put("first", scale=0.1))
    await engine.close()
    vectors.close()
    await database.close()


@dataclass
class Office:
    """The fake Slack, serve, and the wire between serve and the database; `database` is reached without the wire."""

    slack: FakeSlack
    served: Served
    wire: Wire
    database: Database

    @staticmethod
    @contextlib.asynccontextmanager
    async def opened(
        url: str, base: Path, folder: Path, tokens: int = 96, log: Path | None = None
    ) -> "AsyncIterator[Office]":
        """Everything started and awake, until the block ends."""
        async with FakeSlack() as slack, Wire(url) as wire:
            served = Served(
                {
                    "DATABASE_URL": wire.url,
                    "NIGHTSCHOOL_TEAM": TEAM,
                    "NIGHTSCHOOL_MODEL": str(base),
                    "NIGHTSCHOOL_DATA_FOLDER": str(folder),
                    "NIGHTSCHOOL_EMBEDDER": str(embedder_folder("packaged", Path(".nightschool"))),
                    "NIGHTSCHOOL_LEARNING__MAX_ANSWER_TOKENS": str(tokens),
                    "NIGHTSCHOOL_SLACK__MODE": "http",
                    "NIGHTSCHOOL_SLACK__BOT_TOKEN": slack.bot_token,
                    "NIGHTSCHOOL_SLACK__SIGNING_SECRET": slack.signing_secret,
                    "NIGHTSCHOOL_SLACK__API_URL": slack.base_url,
                },
                log or folder / "serve.log",
            )
            slack.request_url = f"{served.url}/slack/events"
            slack.delivery.retry_seconds = RETRIES
            slack.delivery.at_once = asyncio.Semaphore(2000)
            database = await Database.open(url, folder, pool_size=2)
            served.start()
            try:
                await served.ready()
                yield Office(slack, served, wire, database)
            finally:
                wire.seconds = 0.0
                await served.stop()
                await database.close()

    async def waiting(self) -> int:
        """How many events wait to be worked off."""
        async with self.database.system() as connection:
            row = await (await connection.execute("SELECT count(*) AS n FROM errands")).fetchone()
        return int(row["n"]) if row else 0

    async def kept(self) -> Counter[str]:
        """The ids of all events that have a row, and how many it has."""
        return Counter(str(row["event_id"]) for row in await self._rows("SELECT event_id FROM events"))

    async def given_up(self) -> list[str]:
        """Why events were given up."""
        return [str(row["error"]) for row in await self._rows("SELECT error FROM events WHERE error IS NOT NULL")]

    async def heard(self) -> set[str]:
        """The messages that are in the notes, as channel:time."""
        return {str(row["event_id"]) for row in await self._rows("SELECT event_id FROM messages WHERE arrived")}

    async def _rows(self, query: Any) -> list[dict[str, Any]]:
        async with self.database.system() as connection:
            team = await teams.get(connection, TEAM)
        assert team is not None
        async with self.database.team(team.id) as connection:
            return await (await connection.execute(query)).fetchall()

    async def killed(self, times: int, chance: random.Random) -> None:
        """Kills serve at random moments and starts it anew: some find it waking up, some at work."""
        for number in range(times):
            await self.served.says("/healthz", 200, 120)
            await asyncio.sleep(chance.uniform(0.0, 4.0))
            self.served.kill()
            self.served.start()
            _note(f"killed {number + 1} of {times}")


def sample_questions() -> list[str]:
    """What people ask."""
    return [question.question for question in read(SAMPLE / "questions.jsonl")]


async def measure(
    office: Office,
    talk: Talk,
    per_second: float,
    acts: int,
    kills: int = 0,
    *,
    drained: bool = True,
    queued: bool = True,
) -> dict[str, Any]:
    """Lets people go on, kills serve as often as asked, waits until the queue is empty (`drained`), and counts.

    `queued`: looks every second how long the queue is, for which the database must not go away.
    """
    gc.collect()
    gc.freeze()  # a full collection here, of half a second, would be taken for serve's
    queue: list[int] = []
    watching = asyncio.create_task(_watch(office, queue) if queued else asyncio.sleep(0))
    before, started = psutil.Process(office.served.pid).cpu_times(), time.monotonic()
    await asyncio.gather(
        talk.go_on(per_second, acts), office.killed(kills, random.Random(kills)) if kills else asyncio.sleep(0)
    )
    ended = time.monotonic()
    await office.slack.delivery.settled(sum(RETRIES) + 60)
    used = psutil.Process(office.served.pid).cpu_times()
    office.wire.seconds = 0.0
    left = await office.waiting()
    if drained:
        async with asyncio.timeout(_QUIET_SECONDS):
            while await office.waiting():  # noqa: ASYNC110 - another process works it off
                await asyncio.sleep(0.2)
    drain = time.monotonic() - ended
    watching.cancel()
    kept, told = await office.kept(), talk.told()
    events = [delivery for delivery in office.slack.delivery.events if not own(delivery, office.slack.workspace.bot.id)]
    acknowledged = [delivery for delivery in events if delivery.acknowledged]
    seconds = [_seconds(delivery) for delivery in acknowledged]
    attempts = [attempt for delivery in events for attempt in delivery.attempts]
    there = {(delivery.event.get("channel"), delivery.event.get("ts")) for delivery in acknowledged}
    asked, heard = len(told), await office.heard()
    return {
        "acts": acts,
        "events": len(events),
        "events_per_second": round(len(events) / (ended - started), 1),
        "acknowledged": len(acknowledged),
        "ack_p50_ms": _ms(_share(seconds, 0.5)),
        "ack_p99_ms": _ms(_share(seconds, 0.99)),
        "ack_max_ms": _ms(max(seconds, default=0.0)),
        "ack_within_1s": _part(seconds, 1.0),
        "ack_within_3s": _part(seconds, 3.0),
        "attempts": len(attempts),
        "attempts_failed": dict(
            Counter(str(attempt.status or attempt.failure) for attempt in attempts if attempt.failure)
        ),
        "lost": sum(event_id(delivery.payload) not in kept for delivery in acknowledged),
        "kept_twice": sum(count > 1 for count in kept.values()),
        "given_up": dict(Counter(await office.given_up())),
        "said": len(talk.said),
        "heard": len(heard),
        "unheard": sum((one.channel, one.ts) in there and f"{one.channel}:{one.ts}" not in heard for one in talk.said),
        "questions": asked,
        "unanswered": sum(
            one.replies == 0 and (message.channel, message.ts) in there
            for (message, _), one in zip(talk.asked, told, strict=True)
        ),
        "answered_once": sum(one.replies == 1 for one in told),
        "answered_more": sum(one.replies > 1 for one in told),
        "first_words_p50_ms": _ms(_share([one.first for one in told if one.first is not None], 0.5)),
        "first_words_p99_ms": _ms(_share([one.first for one in told if one.first is not None], 0.99)),
        "answer_p50_ms": _ms(_share([one.whole for one in told if one.whole is not None], 0.5)),
        "answer_p99_ms": _ms(_share([one.whole for one in told if one.whole is not None], 0.99)),
        "queue": queue[:: max(1, len(queue) // 20)],
        "queue_most": max(queue, default=0),
        "queue_left": left,
        "drain_s": round(drain, 1) if drained else None,
        "kills": kills,
        "serve_cpu_s": round(used.user + used.system - before.user - before.system, 1) if not kills else None,
        "load_average": round(os.getloadavg()[0], 1),
    }


async def _watch(office: Office, queue: list[int]) -> None:
    while True:
        queue.append(await office.waiting())
        await asyncio.sleep(1)


def own(delivery: Delivery, bot: str) -> bool:
    """Whether it tells of what the bot itself wrote: such events are acknowledged and not kept."""
    event = delivery.event
    return bot in (event.get("user"), event.get("message", {}).get("user"))


def _seconds(delivery: Delivery) -> float:
    """How long the attempt took that was acknowledged."""
    return next(attempt.seconds for attempt in delivery.attempts if attempt.failure is None)


def _share(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _part(values: Sequence[float], most: float) -> float:
    return round(sum(value <= most for value in values) / max(1, len(values)), 5)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
