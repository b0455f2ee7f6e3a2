"""Socket Mode: WebSockets that the app opens, envelopes with acknowledgements, disconnect messages.

https://docs.slack.dev/apis/events-api/using-socket-mode/
"""

import asyncio
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from aiohttp import WSMsgType, web

from tests.fakes.slack.objects import Json

if TYPE_CHECKING:
    from tests.fakes.slack.delivery import Delivery
    from tests.fakes.slack.server import FakeSlack

FROM_DELIVERY = {"http_timeout": "timeout", "connection_failed": "connection_closed"}


@dataclass(eq=False)
class Connection:
    """One open WebSocket. `leaving` once it was told to disconnect: nothing new is sent on it."""

    socket: web.WebSocketResponse
    waiting: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    received: list[Json] = field(default_factory=list)
    leaving: bool = False


class Sockets:
    """The app's connections; envelopes go round all of them."""

    def __init__(self, slack: "FakeSlack") -> None:
        self.slack = slack
        self.connections: list[Connection] = []
        self.ping_seconds = 10.0
        self.opened = 0
        """Connections ever made."""
        self._tickets: set[str] = set()
        self._turn = 0

    def ticket(self) -> str:
        """The address for one connection, good for one use."""
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        return f"ws://{self.slack.host}:{self.slack.port}/link/?ticket={ticket}&app_id={self.slack.app_id}"

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket's own handler: hello, pings, acknowledgements, until it closes."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=404)
        self._tickets.remove(ticket)
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        connection = Connection(socket)
        self.connections.append(connection)
        self.opened += 1
        hello = {
            "type": "hello",
            "num_connections": len(self.connections),
            "debug_info": {"host": "applink-fake", "build_number": 1, "approximate_connection_time": 18060},
            "connection_info": {"app_id": self.slack.app_id},
        }
        pings = asyncio.get_running_loop().create_task(self._ping(socket))
        try:
            await socket.send_json(hello)
            self.slack.changed()
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._acknowledged(connection, message.data)
        finally:
            pings.cancel()
            self.connections.remove(connection)
            for future in connection.waiting.values():
                if not future.done():
                    future.set_exception(ConnectionError("the app's connection closed"))
            self.slack.changed()
        return socket

    async def deliver(self, delivery: "Delivery", number: int, reason: str | None, seconds: float) -> Any:
        """Send one envelope; the acknowledgement's payload. TimeoutError or ConnectionError where none came."""
        async with asyncio.timeout(seconds):
            connection = await self._next()
            envelope: Json = {
                "envelope_id": str(uuid4()),
                "payload": delivery.payload,
                "type": delivery.kind,
                "accepts_response_payload": delivery.kind != "events_api",
            }
            if delivery.kind == "events_api":
                envelope |= {"retry_attempt": number, "retry_reason": FROM_DELIVERY.get(reason or "", reason or "")}
            acknowledgement: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            connection.waiting[envelope["envelope_id"]] = acknowledgement
            try:
                await connection.socket.send_json(envelope)
                return await acknowledgement
            finally:
                del connection.waiting[envelope["envelope_id"]]

    async def disconnect(self, reason: str = "refresh_requested", *, close: bool = True, grace: float = 0.2) -> None:
        """Tell every connection to go, as Slack does before it refreshes its servers ("warning" comes first and
        closes nothing); then close them after `grace` seconds.
        """
        told = list(self.connections)
        for connection in told:
            connection.leaving = reason != "warning"
            with suppress(ConnectionError):
                await connection.socket.send_json(
                    {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-fake"}}
                )
        if close and reason != "warning":
            await asyncio.sleep(grace)
            for connection in told:
                await connection.socket.close()

    async def close(self) -> None:
        """Close all connections."""
        for connection in list(self.connections):
            await connection.socket.close()

    async def _next(self) -> Connection:
        """The next connection in turn; waits until there is one."""
        while True:
            ready = [one for one in self.connections if not one.leaving and not one.socket.closed]
            if ready:
                self._turn += 1
                return ready[self._turn % len(ready)]
            await self.slack.next_change()

    def _acknowledged(self, connection: Connection, data: str) -> None:
        message = json.loads(data)
        connection.received.append(message)
        future = connection.waiting.get(message.get("envelope_id", ""))
        if future and not future.done():
            future.set_result(message.get("payload"))
        self.slack.changed()

    async def _ping(self, socket: web.WebSocketResponse) -> None:
        while not socket.closed:
            await asyncio.sleep(self.ping_seconds)
            with suppress(ConnectionError):
                await socket.ping(b"Ping from applink-fake")
