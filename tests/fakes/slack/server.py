"""The server: one app, its workspaces, and all that Slack offers it, on one port of 127.0.0.1."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Self, TypeVar

from aiohttp import web

from tests.fakes.slack import api, chat, control, conversations, surfaces  # noqa: F401  (registers the methods)
from tests.fakes.slack.api import NEWER_METHODS, Call
from tests.fakes.slack.delivery import Deliveries, signature
from tests.fakes.slack.limits import Fault, Limits
from tests.fakes.slack.oauth import Tokens
from tests.fakes.slack.records import EVENTS, SCOPES
from tests.fakes.slack.responses import Responses
from tests.fakes.slack.sockets import Sockets
from tests.fakes.slack.workspace import Workspace

Found = TypeVar("Found")


class FakeSlack:
    """Slack for one app. `async with FakeSlack(request_url=...) as slack:`; without a request URL, Socket Mode.

    `slack.base_url` is what AsyncWebClient takes as base_url; `slack.workspace` is the first workspace, with the app
    installed; its token is `slack.bot_token`.
    """

    def __init__(
        self,
        request_url: str | None = None,
        *,
        port: int = 0,
        mode: str = "new",
        rate_limits: bool = False,
        scopes: Iterable[str] = SCOPES,
        host: str = "127.0.0.1",
    ) -> None:
        self.request_url = request_url
        self.interactivity_url: str | None = None
        self.command_url: str | None = None
        self.redirect_uri: str | None = None
        self.host, self.port = host, port
        self.mode = mode
        self.app_id = "A0NIGHTSCHL"
        self.client_id, self.client_secret = "1111111111.2222222222", secrets.token_hex(16)
        self.signing_secret, self.verification_token = secrets.token_hex(16), secrets.token_hex(12)
        self.app_token = f"xapp-1-{self.app_id}-{secrets.token_hex(12)}"
        self.unknown: set[str] = set(NEWER_METHODS) if mode == "old" else set()
        """Methods that this server does not know."""
        self.events: set[str] = set(EVENTS)
        """The app's subscriptions, as `message.channels`, `app_mention`, …"""
        self.trigger_seconds = 3.0
        self.stream_seconds: float | None = None
        """How long a stream may stay open: for ever; Slack closes it after about five minutes, undocumented."""
        self.calls: list[Call] = []
        self.limits = Limits()
        self.limits.on = rate_limits
        self.tokens = Tokens(self)
        self.delivery = Deliveries(self)
        self.sockets = Sockets(self)
        self.responses = Responses(self)
        self.workspaces: dict[str, Workspace] = {}
        self._change = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.workspace = self.add_workspace("Harbour", scopes=scopes)
        self.installing = self.workspace
        """The workspace for which the consent page consents, unless the app names another."""

    def add_workspace(self, name: str, *, installed: bool = True, scopes: Iterable[str] = SCOPES) -> Workspace:
        """Another workspace, with or without the app."""
        workspace = Workspace(self, len(self.workspaces) + 1, name, scopes)
        workspace.installed = installed
        self.workspaces[workspace.id] = workspace
        if installed:
            self.tokens.issue(workspace.id, workspace.scopes, f"xoxb-{workspace.number}-{secrets.token_hex(12)}")
        return workspace

    def token_of(self, workspace: Workspace) -> str:
        """The workspace's live bot token."""
        live = [one.value for one in self.tokens.known.values() if one.team_id == workspace.id and not one.error]
        return live[-1]

    @property
    def bot_token(self) -> str:
        """The first workspace's bot token."""
        return self.token_of(self.workspace)

    @property
    def url(self) -> str:
        """Where the server is."""
        return f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """Where the Web API is, as AsyncWebClient(base_url=...) takes it."""
        return f"{self.url}/api/"

    async def start(self) -> Self:
        """Listen."""
        app = web.Application(client_max_size=4 * 1024**2)
        app.router.add_route("*", "/api/{method}", lambda request: api.handle(self, request))
        app.router.add_get("/oauth/v2/authorize", self.tokens.authorize)
        app.router.add_get("/link/", self.sockets.connect)
        app.router.add_post("/response/{id}", self.responses.handle)
        app.router.add_post("/control", lambda request: control.handle(self, request))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def close(self) -> None:
        """Stop listening and delivering."""
        await self.delivery.close()
        await self.sockets.close()
        if self._runner:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Switches

    def fail_next(self, method: str | None, *, times: int = 1, **fault: Any) -> None:
        """Order a fault for the next calls of a method (of any, if None): `error="internal_error"`, `status=429,
        retry_after=2`, `status=500`, `drop=True`, `delay=1.5`; with `after=True` the call takes effect all the same.
        """
        self.limits.faults.append(Fault(method, times=times, **fault))

    def without(self, *methods: str) -> None:
        """These methods are unknown from now on."""
        self.unknown |= set(methods)

    # Seeing

    def calls_of(self, *methods: str) -> list[Call]:
        """The calls of these methods, refused ones too."""
        return [call for call in self.calls if call.method in methods]

    def signed(self, body: str, at: float | None = None) -> dict[str, str]:
        """The headers with which Slack signs a body; `at` dates them otherwise, for forgeries."""
        timestamp = int(time.time() if at is None else at)
        return {
            "X-Slack-Request-Timestamp": str(timestamp),
            "X-Slack-Signature": signature(self.signing_secret, timestamp, body),
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        }

    def changed(self) -> None:
        """Wake whoever waits for something to happen."""
        self._change.set()
        self._change = asyncio.Event()

    async def next_change(self) -> None:
        """Wait until anything has happened."""
        await self._change.wait()

    async def wait_for(self, predicate: Callable[[], Found], timeout: float = 10) -> Found:  # noqa: ASYNC109
        """What `predicate` returns once that is true; looked at again whenever something happened here, and for what
        happens elsewhere ten times a second. TimeoutError tells which calls the app made last.
        """
        try:
            async with asyncio.timeout(timeout):
                while not (found := predicate()):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.next_change(), 0.1)
                return found
        except TimeoutError:
            last = [f"{call.method}: {(call.answer or {}).get('error', 'ok')}" for call in self.calls[-8:]]
            raise TimeoutError(f"not within {timeout} s; the app's last calls: {last}") from None
