"""What `serve` and `worker` both show to those who watch them: /healthz, /readyz, /metrics; and a quiet HTTP server."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response

from bot import metrics
from storage import teams
from storage.database import Database
from storage.errors import DatabaseAway, NightschoolError

log = structlog.get_logger(__name__)

AWAY = (DatabaseAway, TimeoutError)
"""What says that the database is away, rather than that something is wrong."""

PATIENCE = 2.0
"""Seconds that a probe waits for the database: less than a prober's own limit."""


class PortTaken(NightschoolError):
    """The port is taken, or may not be opened: choose another with NIGHTSCHOOL_LISTEN_PORT."""


def probes(ready: Callable[[], Awaitable[str | None]], database: Callable[[], Database | None]) -> APIRouter:
    """The three paths. `ready` says why the process is not ready, or None; `database` is what metrics are read from."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        why = await ready()
        if why is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "why": why}, status_code=503)

    @router.get("/metrics")
    async def exposed() -> Response:
        held = database()
        metrics.DATABASE_UP.set(0)
        if held is not None:
            # What the database knows is stale while it is away; what this process counted is shown all the same.
            with contextlib.suppress(*AWAY):
                async with asyncio.timeout(PATIENCE):
                    async with held.system() as connection:
                        everyone = await teams.all(connection)
                    await metrics.refresh_queue(held)
                    for team in everyone:
                        await metrics.refresh(held, team)
                metrics.DATABASE_UP.set(1)
        return Response(metrics.exposed(), media_type=metrics.CONTENT_TYPE)

    return router


async def database_away(database: Database | None) -> str | None:
    """Why the database cannot be used now, within PATIENCE seconds; None if it can."""
    if database is None:
        return "the database has not been reached yet"
    try:
        async with asyncio.timeout(PATIENCE), database.system() as connection:
            await teams.all(connection)
    except AWAY as error:
        return f"the database does not answer ({type(error).__name__})"
    return None


def bound(host: str, port: int) -> socket.socket:
    """A listening socket, or PortTaken."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise PortTaken(
            f"{host}:{port} cannot be opened ({error.strerror}): choose another with NIGHTSCHOOL_LISTEN_HOST and "
            f"NIGHTSCHOOL_LISTEN_PORT, or for a worker NIGHTSCHOOL_WORKER_METRICS_PORT."
        ) from error


class Server(uvicorn.Server):
    """Uvicorn that leaves signals to the command that runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


async def served(application: FastAPI, listening: socket.socket, server_made: Callable[[Server], None]) -> None:
    """Serves until cancelled or `should_exit`; then answers what is under way (20 s at most) and ends.

    `server_made` is handed the server before it starts.
    """
    config = uvicorn.Config(application, log_config=None, access_log=False, timeout_graceful_shutdown=20, lifespan="on")
    server = Server(config)
    server_made(server)
    serving = asyncio.ensure_future(server.serve([listening]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
