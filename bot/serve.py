"""`nightschool serve`: one ASGI application with what is configured; the local JSON API, the probes, and the chat
platforms.

A chat platform plugs in as a Service: see `services`.
"""

import asyncio
import contextlib
import gc
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import structlog
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as HTTPError

from bot import metrics
from bot.front import Front, NotReady
from bot.inbox import Inbox
from bot.probes import AWAY, Server, bound, probes, served
from bot.settings import Settings
from bot.together import together
from storage.answers import Answer
from storage.database import Database
from storage.errors import NightschoolError, UnknownAnswer
from storage.events import Event

log = structlog.get_logger(__name__)

SURFACE = "api"
_LOOPBACK = {"127.0.0.1", "::1", "localhost", "testclient"}


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
        return shown(await (await front.desk()).answer(asked))

    @router.post("/feedback")
    async def feedback(opinion: Opinion) -> dict[str, Any]:
        desk = await front.desk()
        person = await front.person(SURFACE, "local", "local API")
        event = opinion.event_id or f"api-{uuid.uuid4()}"
        if opinion.value == "correction":
            if not (opinion.text or "").strip():
                raise HTTPException(422, "A correction says in `text` what would have been right.")
            text = opinion.text or ""
            memory = await desk.feedbacks.correct(opinion.answer, person, text, SURFACE, event)
            metrics.feedback(SURFACE, "correction")
            return {"memory": memory.id, "statement": memory.statement, "held_back": memory.conflict}
        await desk.feedbacks.thumbs(opinion.answer, person, opinion.value == "up", SURFACE, event)
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


class Service(Protocol):
    """A chat platform within this process: its paths, what works its events off, and what goes on beside requests."""

    @property
    def surface(self) -> str:
        """Its name, as in the events it keeps."""
        ...

    def router(self) -> APIRouter:
        """Its paths; they answer 503 until it is open."""
        ...

    def open(self, database: Database, inbox: Inbox) -> None:
        """The database is there: what comes in can be kept."""
        ...

    async def handle(self, event: Event, attempts: int) -> None:
        """Works off one event."""
        ...

    async def live(self) -> None:
        """What goes on until cancelled."""
        ...


def services(front: Front) -> list[Service]:
    """The chat platforms that the settings connect. Raises BadSettings."""
    found: list[Service] = []
    if front.settings.slack.mode != "off":
        from bot.slack.service import SlackService

        found.append(SlackService(front))
    return found


async def _serve_surfaces(front: Front, connected: Sequence[Service]) -> None:
    """Works off what the chat platforms bring, from when the database is there, until cancelled."""
    database = await front.opened()
    inbox = Inbox(database)
    for service in connected:
        service.open(database, inbox)
    await together(
        inbox.run({service.surface: service.handle for service in connected}),
        *(service.live() for service in connected),
    )


def application(
    front: Front, gone: Callable[[], None] = lambda: None, connected: Sequence[Service] | None = None
) -> FastAPI:
    """The ASGI application; `gone` is called when the colleague cannot be woken and the process should end.

    `connected` are the chat platforms, those of the settings where None. Raises BadSettings.
    """
    connected = services(front) if connected is None else connected

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        living = [asyncio.create_task(front.live())]
        if connected:
            living.append(asyncio.create_task(_serve_surfaces(front, connected)))
        for task in living:
            task.add_done_callback(lambda task: None if task.cancelled() else gone())
        try:
            yield
        finally:
            for task in reversed(living):  # the front last: what is put off until later needs its database
                task.cancel()
                [outcome] = await asyncio.gather(task, return_exceptions=True)
                if isinstance(outcome, NightschoolError):
                    front.broken = front.broken or outcome
                elif isinstance(outcome, Exception):
                    log.error("a chat platform's service ended", error=type(outcome).__name__, exc_info=outcome)

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
    app.include_router(api(front))
    for service in connected:
        app.include_router(service.router())
    return app


async def serve(settings: Settings) -> None:
    """Serves until cancelled. Raises PortTaken, and what makes the colleague impossible to wake."""
    # A full collection looks at all that the models' libraries made: half a second in which nothing is acknowledged. What
    # is there once it is awake stays, so it need not be looked at.
    front = Front(settings, woken=gc.freeze)
    with contextlib.closing(bound(settings.listen_host, settings.listen_port)) as listening:
        servers: list[Server] = []

        def gone() -> None:
            for server in servers:
                server.should_exit = True

        log.info("listening", host=settings.listen_host, port=settings.listen_port)
        await served(application(front, gone), listening, servers.append)
    if front.broken:
        raise front.broken


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
