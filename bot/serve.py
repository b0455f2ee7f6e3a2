"""`nightschool serve`: one ASGI application with what is configured; today the local JSON API and the probes.

A surface plugs in as an APIRouter made from the Front: see `api`, and `application`, which includes them.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import structlog
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as HTTPError

from bot import metrics
from bot.assembly import Assembly, assembled
from bot.probes import AWAY, Server, bound, database_away, probes, served
from bot.settings import Settings
from storage import persons
from storage.answers import Answer
from storage.database import Database
from storage.errors import NightschoolError, UnknownAnswer

if TYPE_CHECKING:
    from bot.answer import Asked, Colleague
    from bot.feedback import Feedbacks

log = structlog.get_logger(__name__)

SURFACE = "api"
_LOOPBACK = {"127.0.0.1", "::1", "localhost", "testclient"}


class NotReady(NightschoolError):
    """The colleague is not awake yet, or its database is away: ask again in some seconds."""


class Front:
    """The colleague behind every surface of this process: woken when the database is there, and counted."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.broken: NightschoolError | None = None
        self._assembly: Assembly | None = None
        self._colleague: Colleague | None = None
        self._feedbacks: Feedbacks | None = None
        self._why = "waking up"

    async def live(self) -> None:
        """Keeps the colleague awake until cancelled; waits for a database that is away.

        Returns, with `broken` set, where waiting cannot help: a wrong model path, a PostgreSQL that is too old.
        """
        while True:
            try:
                async with assembled(self.settings) as assembly:
                    self._assembly = assembly
                    self._feedbacks = await assembly.feedbacks()
                    self._colleague = await assembly.colleague()
                    log.info("awake", team=assembly.team.key)
                    await _warn_of_another_embedder(assembly)
                    await self._colleague.follow()
            except AWAY as error:
                self._why = str(error)
                log.warning("waiting for the database", error=type(error).__name__)
            except NightschoolError as error:
                self.broken = error
                return
            finally:
                self._assembly = self._colleague = self._feedbacks = None
            await asyncio.sleep(1)

    @property
    def database(self) -> Database | None:
        """The open database, if there is one."""
        return self._assembly.database if self._assembly else None

    async def ready(self) -> str | None:
        """Why questions cannot be answered now; None if they can."""
        if self._colleague is None:
            return self._why
        return await database_away(self.database)

    async def answer(self, asked: "Asked", on_text: Callable[[str], None] | None = None) -> Answer:
        """The colleague's answer. Raises NotReady, and what Colleague.answer raises."""
        if self._colleague is None:
            raise NotReady(f"Not ready ({self._why}): ask again in some seconds.")
        answer = await self._colleague.answer(asked, on_text)
        metrics.answered(answer)
        return answer

    @property
    def feedbacks(self) -> "Feedbacks":
        """Where feedback goes. Raises NotReady."""
        if self._feedbacks is None:
            raise NotReady(f"Not ready ({self._why}): try again in some seconds.")
        return self._feedbacks

    async def person(self, surface: str, user: str, name: str) -> int:
        """The number of the person who is `user` on `surface`. Raises NotReady."""
        if self._assembly is None:
            raise NotReady(f"Not ready ({self._why}): try again in some seconds.")
        async with self._assembly.database.team(self._assembly.team.id) as connection:
            return (await persons.identify(connection, surface, user, name)).id


class Question(BaseModel):
    """What POST /ask takes. The same `event_id` again gets the same answer, not a second one."""

    question: str
    thread: str | None = Field(default=None, max_length=200)
    event_id: str | None = Field(default=None, min_length=1, max_length=200)


class Opinion(BaseModel):
    """What POST /feedback takes: a thumb, or the correction in `text`."""

    answer: int
    value: Literal["up", "down", "correction"]
    text: str | None = None
    event_id: str | None = Field(default=None, min_length=1, max_length=200)


def this_machine(request: Request) -> None:
    """Lets only programs of this machine in: not other machines, not a proxy's clients, not a web page that was
    pointed at this address (its Host names another)."""
    client = request.client.host if request.client else ""
    host = request.url.hostname or ""
    proxied = "forwarded" in request.headers or "x-forwarded-for" in request.headers
    if proxied or client.removeprefix("::ffff:") not in _LOOPBACK or host not in _LOOPBACK:
        raise HTTPException(403, "The local JSON API answers programs of this machine only.")


def api(front: Front) -> APIRouter:
    """The local JSON API: POST /ask and POST /feedback. It knows what the whole team may know."""
    router = APIRouter(dependencies=[Depends(this_machine)])

    @router.post("/ask")
    async def ask(question: Question) -> dict[str, Any]:
        from bot.answer import Asked

        event = question.event_id or f"api-{uuid.uuid4()}"
        asked = Asked(question.question, None, None, SURFACE, event, question.thread)
        return shown(await front.answer(asked))

    @router.post("/feedback")
    async def feedback(opinion: Opinion) -> dict[str, Any]:
        person = await front.person(SURFACE, "local", "local API")
        event = opinion.event_id or f"api-{uuid.uuid4()}"
        if opinion.value == "correction":
            if not (opinion.text or "").strip():
                raise HTTPException(422, "A correction says in `text` what would have been right.")
            text = opinion.text or ""
            memory = await front.feedbacks.correct(opinion.answer, person, text, SURFACE, event)
            metrics.feedback(SURFACE, "correction")
            return {"memory": memory.id, "statement": memory.statement}
        await front.feedbacks.thumbs(opinion.answer, person, opinion.value == "up", SURFACE, event)
        metrics.feedback(SURFACE, "thumbs")
        return {"answer": opinion.answer, "value": opinion.value}

    return router


def shown(answer: Answer) -> dict[str, Any]:
    """An answer as JSON."""
    return {
        "answer": answer.id,
        "text": answer.text,
        "route": answer.route,
        "quoted": answer.quoted,
        "sources": [{"title": s.title, "uri": s.uri, "quote": s.quote} for s in answer.sources],
        "version": answer.version_id,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "seconds": answer.latency_ms / 1000,
    }


def application(front: Front, gone: Callable[[], None] = lambda: None) -> FastAPI:
    """The ASGI application; `gone` is called when the colleague cannot be woken and the process should end."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        living = asyncio.create_task(front.live())
        living.add_done_callback(lambda task: None if task.cancelled() else gone())
        try:
            yield
        finally:
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)

    app = FastAPI(title="Nightschool", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    async def told(_: Request, error: Exception) -> JSONResponse:
        metrics.failed(error)
        status = _status(error)
        if status >= 500:
            log.warning("request failed", error=type(error).__name__, status=status)
        text = str(error) if isinstance(error, NightschoolError) else "The database does not answer: try again."
        return _refused(status, text, {"Retry-After": "2"} if status == 503 else None)

    async def turned_away(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPError)
        return _refused(error.status_code, error.detail, error.headers)

    async def misformed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _refused(422, "; ".join(_problem(one) for one in error.errors()))

    async def broken(_: Request, error: Exception) -> JSONResponse:
        metrics.failed(error)  # the server logs it
        return _refused(500, "Something went wrong here; the log of `nightschool serve` says what.")

    for kind in (NightschoolError, *AWAY):
        app.add_exception_handler(kind, told)
    app.add_exception_handler(HTTPError, turned_away)
    app.add_exception_handler(RequestValidationError, misformed)
    app.add_exception_handler(Exception, broken)
    app.include_router(probes(front.ready, lambda: front.database))
    for surface in (api,):
        app.include_router(surface(front))
    return app


async def serve(settings: Settings) -> None:
    """Serves until cancelled. Raises PortTaken, and what makes the colleague impossible to wake."""
    front = Front(settings)
    with contextlib.closing(bound(settings.listen_host, settings.listen_port)) as listening:
        servers: list[Server] = []

        def gone() -> None:
            for server in servers:
                server.should_exit = True

        log.info("listening", host=settings.listen_host, port=settings.listen_port)
        await served(application(front, gone), listening, servers.append)
    if front.broken:
        raise front.broken


async def _warn_of_another_embedder(assembly: Assembly) -> None:
    from learner import notes

    lacking = await notes.waiting(assembly.database, assembly.team, (await assembly.embedder()).name)
    if lacking:
        log.warning("not indexed by this embedder, so nothing finds them: run nightschool sync", items=lacking)


def _status(error: Exception) -> int:
    from bot.answer import EmptyQuestion, QuestionTooLong
    from bot.feedback import EmptyCorrection, TakenBack

    if isinstance(error, (EmptyQuestion, EmptyCorrection)):
        return 422
    if isinstance(error, TakenBack):
        return 409
    if isinstance(error, QuestionTooLong):
        return 413
    if isinstance(error, UnknownAnswer):
        return 404
    return 503 if isinstance(error, (NotReady, *AWAY)) else 500


def _refused(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status, headers=headers)


def _problem(problem: Mapping[str, Any]) -> str:
    """One thing that is wrong with a body; pydantic's `input`, the person's own words, is left out."""
    if problem["type"] == "json_invalid":
        return "The body is not JSON."
    place = ".".join(str(part) for part in problem["loc"][1:]) or "the body"
    return f"{place}: {problem['msg']}"
