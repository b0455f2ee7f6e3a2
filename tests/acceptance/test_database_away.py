"""PostgreSQL stopped as by a power cut in the middle of a night, of answering, of waiting: nothing is lost, nothing false is
said, and all goes on by itself once it is back."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from bot.worker import last_tick
from learner.engine.packaged import embedder_folder
from storage import answers, nights, teams
from storage.database import Database
from storage.errors import DatabaseAway
from tests.acceptance.cluster import Cluster
from tests.acceptance.hold_night import MOMENTS
from tests.acceptance.test_kills import STEPS, latest, prepared, standing
from tests.conftest import CACHE
from tests.school import FACTS, School

BACK_SECONDS = 5
"""RELIABILITY.md: healthy within 5 s of the database's return."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Not below pytest's own folder: each pytest that begins shuts that to all but root, and PostgreSQL never runs as root.
    with TemporaryDirectory(prefix="nightschool-cluster-") as folder:
        cluster = Cluster(Path(folder) / "postgres")
        yield cluster
        cluster.close()


@pytest.fixture(autouse=True)
def up_again(cluster: Cluster) -> Iterator[None]:
    """A test that fails while the database is away is not to fail the next ones."""
    yield
    cluster.start()


@pytest.fixture(scope="module")
async def database(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """In this module everything lives in the cluster that goes away."""
    database = await Database.open(cluster.url, tmp_path_factory.mktemp("data"))
    yield database
    await database.close()


@pytest.fixture
def stopping(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], Callable[[str, float, str], None]]:
    """Makes a night's progress that stops the database once, at a step's start or progress, or right after something."""

    def make(step: str, moment: str) -> Callable[[str, float, str], None]:
        left = [True]

        def stop() -> None:
            if left.pop() if left else False:
                cluster.stop()

        def after(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def done(*args: Any, **others: Any) -> Any:
                result = await function(*args, **others)
                stop()
                return result

            return done

        def tell(at: str, share: float, words: str) -> None:
            if at == step and {"start": share == 0.0, "progress": share > 0.0 and words != ""}.get(moment):
                stop()

        if moment in MOMENTS:
            place, name = MOMENTS[moment]
            monkeypatch.setattr(place, name, after(getattr(place, name)))
        return tell

    return make


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([("sft", "start"), ("release", "switched")], id="some"),
        pytest.param(
            [
                *((step, "start") for step in STEPS[:5]),
                ("sft", "progress"),
                ("dpo", "start"),
                ("dpo", "progress"),
                ("exam", "start"),
                ("exam", "progress"),
                ("release", "start"),
                *(("release", moment) for moment in MOMENTS),
            ],
            id="all",
            marks=[pytest.mark.slow, pytest.mark.timeout(900)],
        ),
    ],
)
async def test_a_night_is_taken_up_where_the_database_left_it(
    school: School, cluster: Cluster, stopping: Any, moments: list[tuple[str, str]]
) -> None:
    """One night, whose database goes away again and again, each time later."""
    given, serving = await prepared(school), await school.serving()
    seen: set[int] = set()
    for step, moment in moments:
        with pytest.raises(DatabaseAway, match=r"Check that it runs.* then try again"):
            await school.night(stopping(step, moment))
        cluster.start()
        night = await latest(school)
        seen.add(night.id)
        # Nothing is half done: the steps before have their results, this one has none, and what serves is whole.
        assert night.state == "running" and night.error is None
        done = [name for name, one in night.steps.items() if one.state == "done"]
        assert done == list(STEPS[: STEPS.index(step)] if moment != "erased" and moment != "ending" else STEPS)
        now = await school.serving()
        assert now is not None and (now == serving or moment in ("switched", "erased", "ending"))
        assert await standing(school) == given
    resumed: list[str] = []
    night = await school.night(lambda step, share, words: resumed.append(step))
    assert (seen, night.state) == ({night.id}, "released")
    assert set(resumed) == set(STEPS) - set(done), "what was done is not done again"
    final = await school.serving()
    assert final is not None and serving is not None and final.id != serving.id
    assert FACTS[1] in {memory.statement for memory in await school.memories() if memory.id in final.memory_ids}
    assert [version.state for version in await school.versions()] == ["retired", "serving"]
    assert await standing(school) == given and list(school.nights.iterdir()) == []


@pytest.mark.parametrize("away", [4, pytest.param(60, marks=pytest.mark.slow)])
async def test_serve_says_no_while_the_database_is_away_and_goes_on_when_it_is_back(
    school: School, cluster: Cluster, unused_tcp_port: int, away: int
) -> None:
    await school.page(FACTS)
    asking = Asking(f"http://127.0.0.1:{unused_tcp_port}")
    with program(school, "serve", NIGHTSCHOOL_LISTEN_PORT=str(unused_tcp_port)):

        def through() -> tuple[float, float, float]:
            asking.until("/readyz", 200, 90)
            with asking.away():
                asking.wait_for_answers(5)
                cluster.stop()
                gone = time.monotonic()
                asking.until("/readyz", 503, 5)
                assert asking.get("/healthz")[0] == 200
                assert b"nightschool_database_up 0.0" in asking.get("/metrics")[1]
                assert asking.post("/feedback", {"answer": 1, "value": "up"})[0] == 503
                time.sleep(away)
                coming = time.monotonic()
                cluster.start()
                back = time.monotonic()
                asking.until("/readyz", 200, BACK_SECONDS)
                asking.wait_for_answers(5)
            asking.again()
            return gone, coming, back

        gone, coming, back = await asyncio.to_thread(through)
    said = [reply for reply in asking.replies if reply.status == 200]
    assert {reply.status for reply in asking.replies} == {200, 503}, "an answer, or come back later"
    assert not [reply for reply in said if gone <= reply.asked and reply.told <= coming]
    assert min(reply.told for reply in said if reply.told > back) - back <= BACK_SECONDS
    # What was answered is stored as it was told, once, and asked again it gets the same answer.
    async with school.database.team(school.team.id) as connection:
        stored = {answer.event_id: answer for answer in await answers.recent(connection, LONG_AGO)}
        assert len(stored) == len(await answers.recent(connection, LONG_AGO))
    assert set(stored) == {reply.event for reply in asking.replies}
    for reply in said:
        kept = stored[reply.event]
        assert (reply.answer["answer"], reply.answer["text"]) == (kept.id, kept.text)


async def test_an_idle_worker_comes_back_by_itself(school: School, cluster: Cluster, unused_tcp_port: int) -> None:
    """Its clock ticks again, and a night that is due after the return is held."""
    probe = Asking(f"http://127.0.0.1:{unused_tcp_port}")
    noon = (datetime.now(UTC) + timedelta(hours=12)).strftime("%H:%M")
    with program(school, "worker", NIGHTSCHOOL_WORKER_METRICS_PORT=str(unused_tcp_port), NIGHTSCHOOL_NIGHT_AT=noon):
        await asyncio.to_thread(probe.until, "/readyz", 200, 60)
        cluster.stop()
        await asyncio.to_thread(probe.until, "/readyz", 503, 5)
        assert (await asyncio.to_thread(probe.get, "/healthz"))[0] == 200
        await asyncio.sleep(2)
        cluster.start()
        back = datetime.now(UTC)
        await asyncio.to_thread(probe.until, "/readyz", 200, BACK_SECONDS)
        async with school.database.system() as connection:
            hour = (back - timedelta(minutes=1)).time().replace(second=0, microsecond=0)
            await teams.update(connection, replace(school.team, timezone="UTC", night_at=hour))
        async with asyncio.timeout(90):
            # It happens in another process.
            while not (held := await nights_of(school)) or held[-1].state == "running":  # noqa: ASYNC110
                await asyncio.sleep(0.5)
        assert [night.state for night in held] == ["empty"]
        ticked = await last_tick(school.database)
        assert ticked is not None and ticked >= back - timedelta(seconds=1)


async def test_a_worker_revives_its_embedded_database(school: School, cluster: Cluster, unused_tcp_port: int) -> None:
    probe = Asking(f"http://127.0.0.1:{unused_tcp_port}")
    noon = (datetime.now(UTC) + timedelta(hours=12)).strftime("%H:%M")
    data = cluster.folder.with_name("data")
    own = {"DATABASE_URL": "", "NIGHTSCHOOL_DATA_FOLDER": str(data), "NIGHTSCHOOL_NIGHT_AT": noon}

    def work() -> None:
        with program(school, "worker", NIGHTSCHOOL_WORKER_METRICS_PORT=str(unused_tcp_port), **own):
            probe.until("/readyz", 200, 60)
            os.kill(int((data / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            probe.until("/readyz", 503, 10)
            probe.until("/readyz", 200, 30)

    await asyncio.to_thread(work)


LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for an event, when it was asked and told (seconds of the monotonic clock)."""

    event: str
    asked: float
    told: float
    status: int
    answer: dict[str, Any]


@dataclass
class Asking:
    """People who ask over HTTP all the time, and note every reply."""

    address: str
    replies: list[Reply] = field(default_factory=list)

    @contextmanager
    def away(self, people: int = 2) -> Iterator[None]:
        """While entered, `people` ask one question after the other."""
        enough = threading.Event()

        def one(who: int) -> None:
            for number in range(10**6):
                if enough.is_set():
                    return
                self.ask(f"person-{who}-{number}")
                enough.wait(0.1)

        asking = [threading.Thread(target=one, args=[who]) for who in range(people)]
        for thread in asking:
            thread.start()
        try:
            yield
        finally:
            enough.set()
            for thread in asking:
                thread.join(60)

    def ask(self, event: str) -> None:
        """Asks, as an event of its own."""
        asked = time.monotonic()
        status, body = self.post(
            "/ask", {"question": f"When does the office in Lisbon open ({event})?", "event_id": event}
        )
        self.replies.append(Reply(event, asked, time.monotonic(), status, json.loads(body)))

    def again(self) -> None:
        """Every event once more."""
        for event in Counter(reply.event for reply in self.replies):
            self.ask(event)

    def wait_for_answers(self, more: int) -> None:
        """Until so many more questions were answered."""
        wanted = sum(reply.status == 200 for reply in self.replies) + more
        deadline = time.monotonic() + 60
        while sum(reply.status == 200 for reply in self.replies) < wanted:
            assert time.monotonic() < deadline, self.replies[-3:]
            time.sleep(0.05)

    def until(self, path: str, status: int, seconds: float) -> None:
        """Until a path replies with that status."""
        deadline = time.monotonic() + seconds
        while (found := self.get(path)[0]) != status:
            assert time.monotonic() < deadline, f"{path} still says {found}"
            time.sleep(0.1)

    def get(self, path: str) -> tuple[int, bytes]:
        """A reply's status and body; status 0: nobody listens."""
        return self._sent(urllib.request.Request(self.address + path))

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        """The same, for JSON that is sent."""
        headers = {"content-type": "application/json"}
        return self._sent(urllib.request.Request(self.address + path, json.dumps(body).encode(), headers))

    def _sent(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except urllib.error.URLError:
            return 0, b"{}"


@contextmanager
def program(school: School, command: str, **others: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of `nightschool` as a process on the school's database, team and model, ended with SIGTERM."""
    environment = {
        "DATABASE_URL": school.database.url,
        "NIGHTSCHOOL_TEAM": school.team.key,
        "NIGHTSCHOOL_MODEL": str(school.base),
        "NIGHTSCHOOL_EMBEDDER": str(embedder_folder("packaged", CACHE)),
        "NIGHTSCHOOL_DATA_FOLDER": str(school.folder / "data"),
        "OMP_NUM_THREADS": "1",
    }
    log = school.folder / f"{command}.log"
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "bot.cli", command],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env=os.environ | environment | others,
            cwd=Path(__file__).parents[2],
        )
    try:
        yield process
        assert process.poll() is None, log.read_text()
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text(), log.read_text()


async def nights_of(school: School) -> list[nights.Night]:
    async with school.database.team(school.team.id) as connection:
        return await nights.all(connection)
