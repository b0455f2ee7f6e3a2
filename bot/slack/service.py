"""Slack within `nightschool serve`: /slack/events or a socket, installations, and what works the inbox off."""

import asyncio
import contextlib
import logging

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.adapter.starlette.async_handler import to_async_bolt_request, to_starlette_response
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier

from bot.front import Front
from bot.inbox import Inbox, Later
from bot.probes import AWAY
from bot.settings import BadSettings
from bot.slack.app import SlackApp
from bot.slack.calls import SURFACE, calling, client
from bot.slack.incoming import shaped
from bot.slack.installations import Workspaces
from bot.slack.oauth import INSTALL_PATH, REDIRECT_PATH, oauth_flow
from bot.together import together
from bot.vault import Vault
from storage.database import Database
from storage.errors import NightschoolError
from storage.events import Event

log = structlog.get_logger(__name__)

EVENTS_PATH = "/slack/events"
MOST_BYTES = 1_000_000
"""Slack's own requests are much smaller; what is larger is not read."""

AGAIN_SECONDS = 15.0
"""After how long a socket that could not be opened is tried again."""

_CONNECT_SECONDS = 30.0
_LOOK_SECONDS = 15.0
_MISSES = 4
_STAMP_DIGITS = 12


class SlackService:
    """The Slack app of one process. `surface` and `handle` are for the inbox, `router` for the web server.

    Raises BadSettings where the settings lack something for their mode.
    """

    surface = SURFACE

    def __init__(self, front: Front) -> None:
        self._front = front
        self._settings = front.settings.slack
        if problems := list(self._settings.problems()):
            raise BadSettings("\n".join(problems))
        self._app: SlackApp | None = None
        self._workspaces: Workspaces | None = None
        self._flow: AsyncOAuthFlow | None = None

    def open(self, database: Database, inbox: Inbox) -> None:
        """The database is there: events can be kept from now on."""
        settings = self._front.settings
        vault = Vault.load(settings)
        self._workspaces = Workspaces(settings, database, vault)
        self._flow = oauth_flow(settings, self._workspaces, vault) if self._settings.many else None
        self._app = SlackApp(self._front, database, inbox, self._workspaces, self._settings)

    async def handle(self, event: Event, attempts: int) -> None:
        """Works off an event of the inbox."""
        assert self._app is not None
        await self._app.handle(event, attempts)

    async def live(self) -> None:
        """What goes on beside requests, until cancelled: the permission sync, and in Socket Mode the socket."""
        assert self._app is not None
        going = [self._app.renew(), self._greeted()]
        if self._settings.mode == "socket":
            going.append(self._socket())
        await together(*going)

    def router(self) -> APIRouter:
        """POST /slack/events over HTTP; GET /slack/install and its redirect where the app is installed by OAuth."""
        router = APIRouter()
        if self._settings.mode == "http":
            router.add_api_route(EVENTS_PATH, self._events, methods=["POST"])
        if self._settings.many:
            router.add_api_route(INSTALL_PATH, self._install, methods=["GET"])
            router.add_api_route(REDIRECT_PATH, self._redirect, methods=["GET"])
        return router

    async def _events(self, request: Request) -> Response:
        if self._app is None:
            return _away()
        # Bolt checks all of this too, but only after it has read and parsed whatever anybody sent.
        body = await _read(request)
        if body is None:
            return JSONResponse({"error": "too large"}, 413)
        if not self._signed(body, request):
            return JSONResponse({"error": "invalid request"}, 401)
        try:
            asked = to_async_bolt_request(request, body)
        except (ValueError, TypeError, AttributeError, RecursionError):  # no JSON, or no object
            return JSONResponse({"error": "not a request of Slack's"}, 400)
        if not shaped(asked.body):
            return JSONResponse({"error": "not a request of Slack's"}, 400)
        return to_starlette_response(await self._app.bolt.async_dispatch(asked))

    def _signed(self, body: bytes, request: Request) -> bool:
        secret = self._settings.signing_secret
        stamp = request.headers.get("x-slack-request-timestamp", "")
        signature = request.headers.get("x-slack-signature", "")
        if secret is None or not (stamp + signature).isascii() or not stamp.isdigit() or len(stamp) > _STAMP_DIGITS:
            return False
        try:
            return SignatureVerifier(secret.get_secret_value()).is_valid(body, stamp, signature)
        except UnicodeDecodeError:
            return False

    async def _install(self, request: Request) -> Response:
        if self._flow is None:
            return _away()
        return to_starlette_response(await self._flow.handle_installation(to_async_bolt_request(request, b"")))

    async def _redirect(self, request: Request) -> Response:
        if self._flow is None:
            return _away()
        return to_starlette_response(await self._flow.handle_callback(to_async_bolt_request(request, b"")))

    async def _greeted(self) -> None:
        """Says at the start where the bot is, or what keeps it from being there."""
        assert self._workspaces is not None
        try:
            everywhere = await self._workspaces.all()
        except (NightschoolError, *AWAY) as error:
            log.warning("not known yet where it is in Slack", error=type(error).__name__)
            return
        for installed in everywhere:
            log.info("in Slack", workspace=installed.workspace, bot=installed.bot_user, mode=self._settings.mode)

    async def _socket(self) -> None:
        """Keeps a socket to Slack open. The SDK reconnects by itself; a token that is refused is tried again in a while.

        The SDK tries for ever too, and does not tell why it cannot: so we ask for the first address, and begin anew where it
        stays without a connection.
        """
        assert self._app is not None and self._settings.app_token is not None
        token = self._settings.app_token.get_secret_value()
        quiet = logging.getLogger("nightschool.slack.socket")
        quiet.setLevel(logging.ERROR)  # it shows envelopes at debug
        while True:
            web = client(token, self._settings.api_url)
            handler = AsyncSocketModeHandler(self._app.bolt, token, logger=quiet, web_client=web)
            try:
                async with calling():
                    handler.client.wss_uri = (await web.apps_connections_open(app_token=token))["url"]
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await handler.connect_async()  # type: ignore[no-untyped-call]
                log.info("listening to Slack", mode="socket")
                missed = 0
                while missed < _MISSES:
                    await asyncio.sleep(_LOOK_SECONDS)
                    missed = 0 if await handler.client.is_connected() else missed + 1
                log.warning("the socket to Slack is lost")
            except (Later, OSError, TimeoutError) as error:
                log.warning("Slack cannot be reached", error=str(error) or type(error).__name__)
            except NightschoolError as error:
                refusal = error.__cause__
                why = refusal.response.get("error") if isinstance(refusal, SlackApiError) else str(error)
                log.error("Slack refuses the socket: check NIGHTSCHOOL_SLACK__APP_TOKEN", error=why)
            finally:
                await _closed(handler)
            await asyncio.sleep(AGAIN_SECONDS)


async def _closed(handler: AsyncSocketModeHandler) -> None:
    """Closes a socket with all that the SDK runs for it, of which it leaves some where the connection is broken."""
    client = handler.client
    try:
        with contextlib.suppress(Exception):
            await handler.close_async()  # type: ignore[no-untyped-call]
    finally:
        running = (client.message_processor, client.current_session_monitor, client.message_receiver)
        for task in [task for task in running if task is not None]:
            task.cancel()
        await client.aiohttp_client_session.close()


async def _read(request: Request) -> bytes | None:
    """The body; None where it is longer than MOST_BYTES, whatever its headers say, of which no more is read then."""
    if int(request.headers.get("content-length") or 0) > MOST_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def _away() -> Response:
    return JSONResponse({"error": "not ready"}, 503, headers={"Retry-After": "2"})
