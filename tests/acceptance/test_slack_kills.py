"""`serve` killed by SIGKILL while people talk in Slack, and its database taken away: what was acknowledged is kept, once."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bench.slack import Office, measure, own, prepare
from bench.talk import Talk
from tests.acceptance.cluster import Cluster
from tests.school import FACTS

BACK_SECONDS = 5
"""RELIABILITY.md: healthy within 5 s of the database's return."""

QUESTIONS = ["When does the office in Lisbon open?", "Who approves expenses?", "Who waters the plants?"]


@contextlib.asynccontextmanager
async def opened(base: Path, embedder: Path, *, taught: bool = False) -> AsyncIterator[tuple[Office, Cluster]]:
    # Not below pytest's own folder: each pytest that begins shuts that to all but root, and PostgreSQL never runs as root.
    with TemporaryDirectory(prefix="nightschool-slack-") as folder:
        cluster = Cluster(Path(folder) / "postgres")
        try:
            if taught:
                await prepare(cluster.url, base, embedder, Path(folder), ["\n\n".join(FACTS)])
            async with Office.opened(cluster.url, base, Path(folder)) as office:
                yield office, cluster
        finally:
            cluster.close()


@pytest.fixture(scope="module")
async def office(tiny_base: Path, embedder_path: Path) -> AsyncIterator[tuple[Office, Cluster]]:
    """One for the quick tests, whose team knows nothing."""
    async with opened(tiny_base, embedder_path) as made:
        yield made


async def test_nothing_acknowledged_is_lost_by_some_kills(office: tuple[Office, Cluster]) -> None:
    there, _ = office
    figures = await measure(there, Talk(there.slack, QUESTIONS, 0.05, 1), 40, 300, kills=3, drained=False)
    assert figures["lost"] == figures["kept_twice"] == 0, figures
    assert figures["acknowledged"] > 150


@pytest.mark.parametrize("away", [5, pytest.param(60, marks=pytest.mark.slow)])
async def test_the_database_away(office: tuple[Office, Cluster], away: int) -> None:
    """RELIABILITY.md 7: no false 2xx while it is away, healthy soon after, nothing lost."""
    there, cluster = office
    await there.served.ready()
    talk = Talk(there.slack, QUESTIONS, 0.05, 2)
    talking = asyncio.create_task(measure(there, talk, 20, 20 * (away + 6), drained=False, queued=False))
    await asyncio.sleep(2)
    cluster.stop()
    gone = time.monotonic()
    await asyncio.sleep(away)
    coming = time.monotonic()
    await asyncio.to_thread(cluster.start)
    back = time.monotonic()
    await there.served.says("/readyz", 200, BACK_SECONDS)
    figures = await talking
    events = [one for one in there.slack.delivery.events if not own(one, there.slack.workspace.bot.id)]
    attempts = [attempt for delivery in events for attempt in delivery.attempts]
    good = [attempt for attempt in attempts if attempt.failure is None]
    false = [one for one in good if gone <= one.started and one.started + one.seconds <= coming]
    assert not false, [one.event for one in events if any(attempt in false for attempt in one.attempts)]
    assert {one.status for one in attempts if one.started > gone and one.started + one.seconds < coming} <= {None, 503}
    assert min(one.started + one.seconds for one in good if one.started > back) - back <= BACK_SECONDS
    assert figures["lost"] == figures["kept_twice"] == 0, figures


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_said_twice_by_many_kills(tiny_base: Path, embedder_path: Path) -> None:
    """RELIABILITY.md 2, in small: `bench.slack --kills 200` is the whole."""
    async with opened(tiny_base, embedder_path, taught=True) as (there, _):
        figures = await measure(there, Talk(there.slack, QUESTIONS, 0.05, 3), 10, 1000, kills=20)
    assert figures["lost"] == figures["kept_twice"] == 0 and figures["given_up"] == {}, figures
    assert figures["answered_more"] == figures["unanswered"] == figures["unheard"] == 0, figures


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_slow_database_delays_no_acknowledgement_for_long(tiny_base: Path, embedder_path: Path) -> None:
    """RELIABILITY.md 1, in small and without a real model: `bench.slack --delay-ms 500 --busy 16` is the whole."""
    async with opened(tiny_base, embedder_path, taught=True) as (there, _):
        there.wire.seconds = 0.5
        figures = await measure(there, Talk(there.slack, QUESTIONS, 0.05, 4), 50, 2000, drained=False)
    assert figures["acknowledged"] == figures["events"] and figures["lost"] == 0, figures
    assert figures["ack_p99_ms"] <= 1000 and figures["ack_max_ms"] < 2500, figures
