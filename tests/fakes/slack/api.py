"""The Web API's door: /api/METHOD, with tokens, scopes, limits, ordered faults and a log of every call.

The methods themselves stand in chat.py, conversations.py and surfaces.py; each registers with `method`.
"""

import asyncio
import base64
import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.slack.limits import Fault
from tests.fakes.slack.oauth import Token
from tests.fakes.slack.objects import Json, SlackError, invalid_arguments

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack
    from tests.fakes.slack.workspace import Workspace

NEWER_METHODS = (
    "assistant.threads.setStatus",
    "assistant.threads.setSuggestedPrompts",
    "assistant.threads.setTitle",
    "chat.appendStream",
    "chat.startStream",
    "chat.stopStream",
    "views.open",
    "views.publish",
    "views.push",
    "views.update",
)
"""What a server of mode "old" does not know."""


@dataclass
class Call:
    """One call as it was logged. `answer` is what the app got: None where the connection was dropped."""

    method: str
    args: Json
    token: str | None
    at: float
    team_id: str | None = None
    status: int = 200
    answer: Json | None = None

    @property
    def ok(self) -> bool:
        """Whether it was answered with ok."""
        return bool(self.answer and self.answer.get("ok"))


@dataclass
class Request:
    """What a method's function gets."""

    slack: "FakeSlack"
    args: Json
    token: Token
    authorization: str = ""

    @property
    def workspace(self) -> "Workspace":
        """The workspace of the token."""
        return self.slack.workspaces[self.token.team_id]

    def text(self, name: str, *, required: bool = True) -> str:
        """A string argument; '' where it is missing and need not be there."""
        value = self.args.get(name)
        if value is None or value == "":
            if required:
                raise invalid_arguments(f"missing required field: {name}")
            return ""
        return str(value)

    def flag(self, name: str) -> bool:
        """A boolean argument, false unless given."""
        return str(self.args.get(name, "")).lower() in ("1", "true")

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to `most`."""
        value = self.args.get(name)
        try:
            return min(max(1, int(value or default)), most)
        except ValueError:
            raise SlackError("invalid_limit") from None

    def json(self, name: str, error: str = "invalid_arguments") -> Any:
        """An argument of JSON, given as such or as its text; None where it is missing."""
        value = self.args.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value else None
        except ValueError:
            raise SlackError(error) from None

    def need(self, *scopes: str) -> None:
        """missing_scope unless the token has one of these."""
        if scopes and not set(scopes) & set(self.token.scopes):
            raise SlackError("missing_scope", needed=scopes[0], provided=",".join(self.token.scopes))

    def page(self, items: Sequence[Any], limit: int) -> tuple[list[Any], str]:
        """The page that `cursor` asks for, and the next one's cursor ('' at the end)."""
        start = 0
        if cursor := self.text("cursor", required=False):
            try:
                start = int(base64.b64decode(cursor).decode().removeprefix("next:"))
            except ValueError:
                raise SlackError("invalid_cursor") from None
        end = start + limit
        following = base64.b64encode(f"next:{end}".encode()).decode() if end < len(items) else ""
        return list(items[start:end]), following


Method = Callable[[Request], Json]


@dataclass
class Known:
    """A method, the scopes one of which it needs, and whether it is called without a bot token."""

    run: Method
    scopes: tuple[str, ...] = field(default=())
    without_token: bool = False


METHODS: dict[str, Known] = {}


def method(name: str, *scopes: str, without_token: bool = False) -> Callable[[Method], Method]:
    """Register a function as a method of the Web API."""

    def register(run: Method) -> Method:
        METHODS[name] = Known(run, scopes, without_token)
        return run

    return register


async def handle(slack: "FakeSlack", request: web.Request) -> web.StreamResponse:
    """Answer one call, and log it."""
    name = request.match_info["method"]
    args = await _args(request)
    authorization = request.headers.get("Authorization", "")
    value = authorization[7:] if authorization.startswith("Bearer ") else args.pop("token", None)
    call = Call(name, args, value, time.monotonic())
    slack.calls.append(call)
    fault = slack.limits.fault(name)
    if fault and fault.delay:
        await asyncio.sleep(fault.delay)
    headers: dict[str, str] = {}
    if fault is None or fault.after or not (fault.error or fault.status or fault.drop):
        call.answer, headers = _answer(slack, call, authorization)
    if fault and (fault.error or fault.status or fault.drop):
        call.answer, headers = _broken(fault)
        call.status = fault.status or 200
        if fault.drop:
            call.answer = None
    if call.answer and call.answer.get("error") == "ratelimited":
        call.status = 429
    slack.changed()
    if fault and fault.drop:
        if request.transport:
            request.transport.close()
        return web.Response()
    if call.status >= 500:
        return web.Response(status=call.status, text="<html>Server Error</html>", content_type="text/html")
    return web.json_response(call.answer, status=call.status, headers=headers)


def _answer(slack: "FakeSlack", call: Call, authorization: str) -> tuple[Json, dict[str, str]]:
    """The answer by the rules, with its headers."""
    known = METHODS.get(call.method)
    headers: dict[str, str] = {}
    try:
        if known is None or call.method in slack.unknown:
            raise SlackError("unknown_method", req_method=call.method)
        if known.without_token:
            token = Token("", slack.workspace.id, [])
        elif call.method == "apps.connections.open":
            token = _app_token(slack, call.token)
        else:
            token = slack.tokens.check(call.token)
        call.team_id = token.team_id
        headers["X-OAuth-Scopes"] = ",".join(token.scopes)
        wait = slack.limits.wait(call.method, token.team_id, str(call.args.get("channel", "")))
        if wait:
            raise SlackError("ratelimited", headers={"Retry-After": str(wait)})
        request = Request(slack, call.args, token, authorization)
        request.need(*known.scopes)
        return {"ok": True} | copy.deepcopy(known.run(request)), headers
    except SlackError as error:
        return {"ok": False, "error": error.code} | error.fields, headers | error.headers


def _broken(fault: Fault) -> tuple[Json, dict[str, str]]:
    if fault.status == 429:
        return {"ok": False, "error": "ratelimited"}, {"Retry-After": str(fault.retry_after or 1)}
    return {"ok": False, "error": fault.error or "internal_error"}, {}


def _app_token(slack: "FakeSlack", value: str | None) -> Token:
    if not value:
        raise SlackError("not_authed")
    if value.startswith("xoxb-"):
        raise SlackError("not_allowed_token_type")
    if value != slack.app_token:
        raise SlackError("invalid_auth")
    return Token(value, slack.workspace.id, ["connections:write"])


async def _args(request: web.Request) -> Json:
    """The arguments from query, form or JSON together."""
    args: Json = dict(request.query)
    if request.content_type == "application/json":
        body = await request.text()
        try:
            given = json.loads(body) if body else {}
        except ValueError:
            given = {}
        return args | (given if isinstance(given, dict) else {})
    return args | dict(await request.post())


@method("api.test", without_token=True)
def api_test(request: Request) -> Json:
    """Say the arguments back."""
    if error := request.text("error", required=False):
        raise SlackError(error, args=request.args)
    return {"args": request.args}


@method("auth.test")
def auth_test(request: Request) -> Json:
    """Who the token is."""
    workspace = request.workspace
    return {
        "url": f"https://{workspace.domain}.slack.com/",
        "team": workspace.name,
        "user": workspace.bot.name,
        "team_id": workspace.id,
        "user_id": workspace.bot.id,
        "bot_id": workspace.bot.bot_id,
        "is_enterprise_install": False,
    } | ({"enterprise_id": workspace.enterprise_id} if workspace.enterprise_id else {})


@method("auth.revoke")
def auth_revoke(request: Request) -> Json:
    """Kill the token."""
    if request.flag("test"):
        return {"revoked": False}
    request.token.error = "token_revoked"
    return {"revoked": True}


@method("apps.connections.open")
def apps_connections_open(request: Request) -> Json:
    """An address for a Socket Mode connection."""
    return {"url": request.slack.sockets.ticket()}


@method("oauth.v2.access", without_token=True)
def oauth_v2_access(request: Request) -> Json:
    """A code, or a refresh token, for a bot token."""
    return request.slack.tokens.access(request.args, request.authorization)
