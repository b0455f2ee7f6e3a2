"""Tokens, and how an app gets them: the consent page (which consents at once) and oauth.v2.access, rotation included.

https://docs.slack.dev/authentication/installing-with-oauth/ and https://docs.slack.dev/authentication/using-token-rotation/
"""

import base64
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.slack.objects import Json, SlackError

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack


@dataclass
class Token:
    """A token and what it is good for; `error` is what it answers once it is dead."""

    value: str
    team_id: str
    scopes: list[str]
    refresh: str | None = None
    expires: float | None = None
    error: str | None = None


@dataclass
class Code:
    """A code between consent and exchange."""

    team_id: str
    user: str
    scopes: list[str]
    redirect_uri: str | None
    made: float
    used: bool = False


class Tokens:
    """All tokens of the app, in all workspaces."""

    def __init__(self, slack: "FakeSlack") -> None:
        self.slack = slack
        self.known: dict[str, Token] = {}
        self.codes: dict[str, Code] = {}
        self.rotation = False
        self.rotation_seconds = 43_200

    def issue(self, team_id: str, scopes: list[str], value: str | None = None) -> Token:
        """A new bot token; with rotation one that expires and has a refresh token."""
        if self.rotation and value is None:
            token = Token(f"xoxe.xoxb-1-{secrets.token_hex(12)}", team_id, scopes)
            token.refresh = f"xoxe-1-{secrets.token_hex(12)}"
            token.expires = time.time() + self.rotation_seconds
        else:
            token = Token(value or f"xoxb-{team_id}-{secrets.token_hex(12)}", team_id, scopes)
        self.known[token.value] = token
        return token

    def check(self, value: str | None) -> Token:
        """The live token behind a value, or the error that its state calls for."""
        if not value:
            raise SlackError("not_authed")
        token = self.known.get(value)
        if token is None:
            raise SlackError("invalid_auth")
        if token.error:
            raise SlackError(token.error)
        if token.expires is not None and time.time() > token.expires:
            raise SlackError("token_expired")
        return token

    def kill(self, team_id: str, error: str = "account_inactive") -> None:
        """The workspace's tokens are dead: account_inactive after uninstalling, token_revoked after a revocation."""
        for token in self.known.values():
            if token.team_id == team_id:
                token.error = error

    async def authorize(self, request: web.Request) -> web.Response:
        """The consent page: everybody consents at once, and is sent back with code and state."""
        query = request.query
        redirect_uri = query.get("redirect_uri") or self.slack.redirect_uri
        if query.get("client_id") != self.slack.client_id:
            return web.Response(status=400, text="invalid_client_id")
        if not redirect_uri:
            return web.Response(status=400, text="bad_redirect_uri")
        if query.get("deny"):
            raise web.HTTPFound(
                f"{redirect_uri}?{urlencode({'error': 'access_denied', 'state': query.get('state', '')})}"
            )
        workspace = self.slack.workspaces[query.get("team") or self.slack.installing.id]
        scopes = [scope for scope in query.get("scope", "").split(",") if scope]
        code = f"{workspace.number}.{secrets.token_hex(10)}"
        self.codes[code] = Code(workspace.id, workspace.owner.id, scopes, query.get("redirect_uri"), time.time())
        separator = "&" if "?" in redirect_uri else "?"
        raise web.HTTPFound(redirect_uri + separator + urlencode({"code": code, "state": query.get("state", "")}))

    def access(self, args: Json, authorization: str) -> Json:
        """oauth.v2.access: a code or a refresh token for a bot token."""
        client_id, client_secret = args.get("client_id"), args.get("client_secret")
        if authorization.startswith("Basic "):
            client_id, _, client_secret = base64.b64decode(authorization[6:]).decode().partition(":")
        if client_id != self.slack.client_id:
            raise SlackError("invalid_client_id")
        if client_secret != self.slack.client_secret:
            raise SlackError("bad_client_secret")
        if args.get("grant_type") == "refresh_token":
            return self._refresh(str(args.get("refresh_token")))
        code = self.codes.get(str(args.get("code")))
        if code is None or time.time() - code.made > 600:
            raise SlackError("invalid_code")
        if code.used:
            raise SlackError("code_already_used")
        if code.redirect_uri is not None and args.get("redirect_uri") != code.redirect_uri:
            raise SlackError("bad_redirect_uri")
        code.used = True
        workspace = self.slack.workspaces[code.team_id]
        workspace.installed, workspace.scopes = True, code.scopes or workspace.scopes
        live = [one for one in self.known.values() if one.team_id == code.team_id and not one.error]
        if live and not self.rotation:
            live[0].scopes = workspace.scopes
            token = live[0]
        else:
            token = self.issue(code.team_id, workspace.scopes)
        self.slack.changed()
        return self._answer(token) | {"authed_user": {"id": code.user}}

    def _refresh(self, refresh: str) -> Json:
        old = next((one for one in self.known.values() if one.refresh == refresh), None)
        if old is None or old.error:
            raise SlackError("invalid_refresh_token")
        old.refresh = None
        return self._answer(self.issue(old.team_id, old.scopes))

    def _answer(self, token: Token) -> Json:
        workspace = self.slack.workspaces[token.team_id]
        answer: Json = {
            "access_token": token.value,
            "token_type": "bot",
            "scope": ",".join(token.scopes),
            "bot_user_id": workspace.bot.id,
            "app_id": self.slack.app_id,
            "team": {"id": workspace.id, "name": workspace.name},
            "enterprise": {"id": workspace.enterprise_id, "name": workspace.name} if workspace.enterprise_id else None,
            "is_enterprise_install": False,
        }
        if token.refresh:
            answer |= {"refresh_token": token.refresh, "expires_in": self.rotation_seconds}
        return answer
