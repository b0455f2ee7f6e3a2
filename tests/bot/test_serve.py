"""`serve` over real HTTP: answers, feedback, probes and metrics; a database that is away at the start and in the middle."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bot.assembly import Models
from bot.front import Desk, Front
from bot.inbox import Inbox
from bot.serve import SURFACE, application
from bot.settings import Settings
from learner import notes
from learner.engine.embedder import Embedder
from storage import audiences, documents, feedback, sources
from storage.database import Database
from storage.documents import NewDocument
from storage.events import Event, NewEvent
from storage.teams import Team

MakeSettings = Callable[..., Settings]
PAGE = "# Office hours\n\nThe Cork office opens at half past seven and closes at seven in the evening.\n"


@contextmanager
def serving(settings: Settings, client: tuple[str, int] = ("127.0.0.1", 5000)) -> Iterator[tuple[TestClient, Front]]:
    front = Front(settings)
    with TestClient(application(front), base_url="http://127.0.0.1:8010", client=client) as http:
        yield http, front


def until(condition: Callable[[], bool], seconds: float = 60) -> float:
    """Waits for `condition`; how long it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "waited in vain"
        time.sleep(0.1)
    return time.monotonic() - start


@pytest.fixture
async def knowing(database: Database, team: Team, embedder: Embedder) -> None:
    """The team has one page, indexed."""
    async with database.team(team.id) as connection:
        source = await sources.ensure(connection, "files", "/pages", "pages", training=True)
        everyone = await audiences.whole_team(connection)
        new = NewDocument(
            source_id=source.id,
            key="hours.md",
            title="Office hours",
            uri="hours.md",
            text=PAGE,
            sha256="0" * 64,
            author="",
            written_at=datetime(2026, 1, 1, tzinfo=UTC),
            audience_id=everyone.id,
            meta={},
        )
        await documents.save(connection, new)
    await notes.index(database, team, embedder)


async def test_a_question_its_feedback_and_what_prometheus_sees(
    database: Database, team: Team, settings: MakeSettings, knowing: None
) -> None:
    def work() -> dict[str, Any]:
        with serving(settings()) as (http, _):
            until(lambda: http.get("/readyz").status_code == 200)
            asked = {"question": "When does the Cork office open?", "event_id": "one"}
            answer = http.post("/ask", json=asked)
            assert answer.status_code == 200
            said = answer.json()
            assert said["route"] == "notes"
            assert "half past seven" in said["text"]
            assert said["sources"][0]["uri"] == "hours.md"
            assert http.post("/ask", json=asked).json()["answer"] == said["answer"], "the same event, the same answer"

            assert http.post("/ask", json={"question": "  "}).status_code == 422
            assert http.post("/ask", json={"question": "long " * 10000}).status_code == 413
            assert http.post("/ask", json={}).status_code == 422

            assert http.post("/feedback", json={"answer": said["answer"], "value": "up"}).status_code == 200
            corrected = http.post(
                "/feedback", json={"answer": said["answer"], "value": "correction", "text": "no, it opens at eight"}
            )
            assert corrected.json()["statement"] == "It opens at eight."
            assert http.post("/feedback", json={"answer": 10**9, "value": "down"}).status_code == 404
            assert http.post("/feedback", json={"answer": said["answer"], "value": "correction"}).status_code == 422

            seen = http.get("/metrics").text
            assert 'nightschool_answers_total{route="notes",surface="api"}' in seen
            assert 'nightschool_feedback_total{kind="correction",surface="api"}' in seen
            assert f'nightschool_serving_version{{team="{team.key}"}} 0.0' in seen
            assert "nightschool_database_up 1.0" in seen
            assert "half past seven" not in seen
        return said

    said = await asyncio.to_thread(work)
    async with database.team(team.id) as connection:
        standing = await feedback.standing(connection)
    assert sorted(f.kind for f in standing if f.answer_id == said["answer"]) == ["correction", "thumbs"]


async def test_what_it_refuses_it_says_why_and_never_in_the_words_it_was_given(
    database: Database, team: Team, settings: MakeSettings, knowing: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with database.team(team.id) as connection:
        await feedback.retract(connection, SURFACE, "taken-back")

    def work() -> None:
        with serving(settings()) as (http, _):
            until(lambda: http.get("/readyz").status_code == 200)
            answer = http.post("/ask", json={"question": "When does the Cork office open?"}).json()["answer"]
            said = {"answer": answer, "value": "correction"}

            def refused(status: int, path: str, **request: Any) -> str:
                reply = http.post(path, **request)
                assert (reply.status_code, reply.json().keys()) == (status, {"error"}), reply.text
                assert "hunter2" not in reply.text
                return str(reply.json()["error"])

            assert "what would have been right" in refused(422, "/feedback", json=said | {"text": "?!"})
            assert "2,000" in refused(422, "/feedback", json=said | {"text": "hunter2 " * 300})
            assert "`text`" in refused(422, "/feedback", json=said)
            assert "taken back" in refused(
                409, "/feedback", json=said | {"text": "no, at eight", "event_id": "taken-back"}
            )
            assert refused(422, "/ask", json={"question": ["hunter2"]}).startswith("question: ")
            assert refused(422, "/feedback", json=said | {"value": "hunter2"}).startswith("value: ")
            assert refused(422, "/ask", content=b"{hunter2", headers={"content-type": "application/json"})
            assert refused(404, "/feedback", json=said | {"value": "up", "answer": 10**30})
            assert refused(404, "/hunter3") and refused(405, "/healthz")
            assert "this machine" in refused(403, "/ask", json={"question": "Who?"}, headers={"host": "evil.example"})

    await asyncio.to_thread(work)
    assert "hunter2" not in caplog.text and "request failed" not in caplog.text


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ("10.0.0.7", {}),
        ("127.0.0.1", {"host": "evil.example"}),
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.7"}),
    ],
)
def test_the_local_api_answers_this_machine_only(settings: MakeSettings, client: str, headers: dict[str, str]) -> None:
    away = settings(database_url="postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    with serving(away, (client, 5000)) as (http, _):
        assert http.post("/ask", json={"question": "Who?"}, headers=headers).status_code == 403
        assert http.get("/healthz", headers=headers).status_code == 200


async def test_it_says_at_once_that_another_embedder_indexed_the_pages(
    settings: MakeSettings, knowing: None, small_embedder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with serving(settings(embedder=str(small_embedder))) as (http, _):
            until(lambda: http.get("/readyz").status_code == 200)
            until(lambda: "run nightschool sync" in capsys.readouterr().out)

    await asyncio.to_thread(work)


def test_a_mistake_of_ours_is_told_as_an_error_too(settings: MakeSettings) -> None:
    class Mistaken(Front):
        async def desk(self, *_: Any) -> Desk:
            raise ZeroDivisionError("hunter2")

    front = Mistaken(settings(database_url="postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"))
    client = TestClient(application(front), "http://127.0.0.1", False, client=("127.0.0.1", 5000))
    with client as http:
        reply = http.post("/ask", json={"question": "Who?"})
    assert reply.status_code == 500 and "the log" in reply.json()["error"] and "hunter2" not in reply.text


def test_a_database_that_is_away_at_the_start_is_waited_for(settings: MakeSettings) -> None:
    away = settings(database_url="postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    with serving(away) as (http, front):
        assert http.get("/healthz").status_code == 200
        until(lambda: "cannot be reached" in http.get("/readyz").text)
        assert http.get("/readyz").status_code == 503
        refused = http.post("/ask", json={"question": "Who?"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert "nightschool_database_up 0.0" in http.get("/metrics").text
        assert front.broken is None


def test_what_waiting_cannot_mend_ends_the_process(settings: MakeSettings) -> None:
    gone: list[bool] = []
    front = Front(settings(model="/no/such/model"))
    with TestClient(application(front, lambda: gone.append(True)), base_url="http://localhost") as http:
        until(lambda: bool(gone))
        assert http.get("/readyz").status_code == 503
    assert "/no/such/model does not exist" in str(front.broken)


class Cable:
    """A TCP way to the test's PostgreSQL that can be pulled out and put back."""

    def __init__(self, database: Database) -> None:
        parts = conninfo_to_dict(database.url)
        self._host, self._port = str(parts["host"]), int(parts.get("port") or 5432)
        self._open: set[asyncio.StreamWriter] = set()
        self._ways: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self._parts = parts

    @property
    def url(self) -> str:
        return make_conninfo(**(self._parts | {"host": "127.0.0.1", "port": str(self.port), "sslmode": "disable"}))

    async def plug(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def pull(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.gather(*self._ways, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._host.startswith("/"):
            there = await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        else:
            there = await asyncio.open_connection(self._host, self._port)
        self._open |= {writer, there[1]}
        way = asyncio.current_task()
        assert way is not None and self._server is not None
        self._ways.add(way)
        way.add_done_callback(self._ways.discard)
        if not self._server.is_serving():  # pulled out while it was being made
            writer.transport.abort()
            there[1].transport.abort()
        await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()


@asynccontextmanager
async def plugged(database: Database) -> AsyncIterator[Cable]:
    cable = Cable(database)
    await cable.plug()
    try:
        yield cable
    finally:
        await cable.pull()


async def test_a_database_that_goes_away_in_the_middle(
    database: Database, settings: MakeSettings, knowing: None
) -> None:
    loop = asyncio.get_running_loop()
    async with plugged(database) as cable:
        url = cable.url

        def on_loop(call: Callable[[], Any]) -> None:
            asyncio.run_coroutine_threadsafe(call(), loop).result(10)

        def work() -> None:
            with serving(settings(database_url=url)) as (http, _):
                until(lambda: http.get("/readyz").status_code == 200)
                assert http.post("/ask", json={"question": "When does Cork open?"}).status_code == 200
                on_loop(cable.pull)
                assert http.get("/readyz").status_code == 503
                assert http.post("/ask", json={"question": "When does Cork close?"}).status_code == 503
                assert http.get("/healthz").status_code == 200
                on_loop(cable.plug)
                assert until(lambda: http.get("/readyz").status_code == 200, 30) < 5
                assert http.post("/ask", json={"question": "When does Cork close?"}).status_code == 200

        await asyncio.to_thread(work)


AWAY_SECONDS = 7.0
"""Longer than a transaction waits for a connection."""


class Listening:
    """A chat platform that notes what it is handed."""

    surface = "test"

    def __init__(self) -> None:
        self.opened: list[tuple[Database, Inbox]] = []
        self.handled: list[str] = []

    def router(self) -> APIRouter:
        return APIRouter()

    def open(self, database: Database, inbox: Inbox) -> None:
        self.opened.append((database, inbox))

    async def handle(self, event: Event, attempts: int) -> None:
        self.handled.append(event.event_id)

    async def live(self) -> None:
        await asyncio.Event().wait()


async def test_a_database_that_goes_away_while_the_models_load_leaves_no_platform_deaf(
    database: Database, team: Team, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with plugged(database) as cable:

        class Slow(Models):
            pulled = False

            async def embedder(self) -> Embedder:
                found = await super().embedder()
                if not self.pulled:
                    self.pulled = True
                    await cable.pull()
                    loop = asyncio.get_running_loop()
                    loop.call_later(AWAY_SECONDS, lambda: plugging.append(loop.create_task(cable.plug())))
                return found

        plugging: list[asyncio.Task[None]] = []
        made = settings(database_url=cable.url)
        models, platform = Slow(made), Listening()
        front = Front(made, models)
        app = application(front, connected=[platform])
        async with asyncio.timeout(60), app.router.lifespan_context(app):
            while await front.ready() is not None:  # noqa: ASYNC110 - it has no event of its own
                await asyncio.sleep(0.05)
            assert plugging, "it was away"
            assert "waiting for the database" in capsys.readouterr().out
            [(kept, inbox)] = platform.opened
            assert kept is front.database
            await inbox.put(team.id, NewEvent("test", "one", "lane", "kind", {}))
            while platform.handled != ["one"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await models.rest()
