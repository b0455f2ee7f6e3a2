"""The bot in its workspaces: one by the token of the settings, or many, each with its own tokens, installed by OAuth.

A workspace's key is its Slack team id (T…). An app that was installed for a whole organisation of Enterprise Grid has one
token for all its workspaces: its key is the organisation's id (E…), and the organisation is one team.
"""

import asyncio
import logging
import re
import time
from dataclasses import dataclass, field
from typing import Any

import structlog
from slack_sdk.errors import SlackTokenRotationError
from slack_sdk.oauth.installation_store import Bot, Installation
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator
from slack_sdk.web.async_client import AsyncWebClient

from bot.inbox import Hopeless, Later
from bot.settings import Settings
from bot.slack.calls import SURFACE, Revoked, Unsupported, calling, client
from bot.vault import KeyLost, Vault
from storage import installations, locks, teams, workspaces
from storage.database import Connection, Database
from storage.errors import NightschoolError
from storage.installations import Installation as Kept
from storage.installations import NewInstallation
from storage.teams import Team

log = structlog.get_logger(__name__)

KNOWN_SECONDS = 60.0
"""How long this process goes on with tokens that another process renewed or erased."""

AHEAD_SECONDS = 2 * 3600
"""How long before it expires a token is refreshed; it then has lived for ten of its twelve hours."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The bot in one workspace (or organisation): ids as Slack has them, `url` as https://acme.slack.com/.

    `enterprise` is the organisation that the workspace belongs to; '' where it belongs to none.
    """

    workspace: str
    team_id: int
    bot_token: str = field(repr=False)
    bot_user: str
    bot: str
    app: str
    url: str
    scopes: frozenset[str]
    enterprise: str = ""


class Workspaces:
    """Where the bot is installed. For as long as its database is open."""

    def __init__(self, settings: Settings, database: Database, vault: Vault) -> None:
        self._settings = settings
        self._slack = settings.slack
        self._database = database
        self._vault = vault
        self._alone: Installed | None = None
        self._known: dict[str, tuple[float, Installed]] = {}
        self._reading: dict[str, asyncio.Lock] = {}
        # One of each at a time, as they hold connections of the pool while they wait for others.
        self._renewing = asyncio.Lock()
        self._changing = asyncio.Lock()

    async def get(self, slack_team_id: str, enterprise_id: str | None = None) -> Installed | None:
        """The bot in a workspace, else that of its organisation; None where it is not installed.

        Raises Revoked, KeyLost, or Later where Slack cannot be asked.
        """
        for key in (slack_team_id, enterprise_id):
            if key and (found := await self._by_key(key)):
                return found
        return None

    async def all(self) -> list[Installed]:
        """The bot in all its workspaces. Those that cannot be used now are logged and left out."""
        found, _ = await self._usable(None)
        return found

    async def of_team(self, team_id: int) -> list[Installed]:
        """The bot in a team's workspaces. Raises Later where one cannot be asked just now; what is hopeless is left out."""
        found, passing = await self._usable(team_id)
        if passing:
            raise passing
        return found

    def forget(self, slack_team_id: str) -> None:
        """Asks anew at the next use: do so where Slack refuses a token, which may have been replaced by another process."""
        self._known.pop(slack_team_id, None)
        if self._alone and self._alone.workspace == slack_team_id:
            self._alone = None

    async def install(self, new: Installation) -> None:
        """Keeps an installation. A workspace that is new makes a team; the very first one gets the settings' team.

        That it is the first is known for good: a workspace that left does not give its team's knowledge to the next.
        Raises Revoked, Later, and what the database raises.
        """
        key = key_of(new.team_id, new.enterprise_id, new.is_enterprise_install)
        token = new.bot_token or ""
        async with calling():
            said = await client(token, self._slack.api_url).auth_test()
        name = (new.enterprise_name if new.is_enterprise_install else new.team_name) or said.get("team")
        tokens = {
            "bot_token": token,
            "refresh_token": new.bot_refresh_token,
            "expires_at": new.bot_token_expires_at,
            "url": said.get("url") or "",
            "enterprise": said.get("enterprise_id") or "",
            "name": name,
        }
        kept = NewInstallation(
            surface=SURFACE,
            workspace=key,
            bot_user=new.bot_user_id or said.get("user_id") or "",
            bot=new.bot_id or said.get("bot_id") or "",
            app=new.app_id or "",
            scopes=list(new.bot_scopes or ()),
            tokens=self._vault.seal(tokens),
            installed_by=new.user_id or "",
        )
        async with self._changing, self._database.system() as connection:
            await locks.hold(connection, SURFACE, "installations")
            team = await self._team_for(connection, key, name)
            async with self._database.team(team.id) as within:
                await locks.hold(within, SURFACE, "tokens", key)
                await installations.save(within, kept)
            await workspaces.link(connection, SURFACE, key, team.id)
        self.forget(key)
        log.info("installed", workspace=key, team=team.key)

    async def uninstalled(self, slack_team_id: str) -> bool:
        """Slack says that the app was removed, or the bot's token revoked: erases the tokens and unlinks the workspace.
        Returns whether it did.

        Nothing else is erased: what the team learnt stays the team's, and whether it should go too is for its admin to
        say. Where the token still works (installed anew before this came, or only an earlier token was meant) nothing
        happens, nor where the token is the settings'. Safe to repeat. Raises Later where Slack cannot be asked.
        """
        self.forget(slack_team_id)
        found = await self._kept(slack_team_id) if self._slack.many else None
        if found is None:
            log.info("uninstalled", workspace=slack_team_id, erased=False)
            return False
        team, kept = found
        if kept.tokens is not None and await self._works(kept.tokens):
            log.info("not uninstalled: its token works", workspace=slack_team_id)
            return False
        async with self._changing, self._database.system() as connection:
            await locks.hold(connection, SURFACE, "installations")
            async with self._database.team(team.id) as within:
                now = await installations.get(within, SURFACE, slack_team_id)
                if now is None or now.tokens != kept.tokens:
                    return False  # installed anew in this very moment
                await installations.revoke(within, SURFACE, slack_team_id)
            await workspaces.unlink(connection, SURFACE, slack_team_id)
        self.forget(slack_team_id)
        log.info("uninstalled", workspace=slack_team_id, team=team.key, erased=True)
        return True

    async def _usable(self, team_id: int | None) -> tuple[list[Installed], Later | None]:
        """The bot in a team's workspaces, or in all; and why one of them cannot be asked just now."""
        keys: list[str | None] = [None]
        if self._slack.many:
            async with self._database.system() as connection:
                linked = await workspaces.all(connection, SURFACE)
            keys = [key for key, team in linked.items() if team_id in (None, team)]
        found: list[Installed] = []
        passing: Later | None = None
        for key in keys:
            try:
                one = await (self._single() if key is None else self._by_key(key))
            except (Later, Hopeless, KeyLost) as error:
                log.warning("left out", workspace=key or "", error=str(error))
                passing = error if isinstance(error, Later) else passing
                continue
            if one and team_id in (None, one.team_id):
                found.append(one)
        return found, passing

    async def _by_key(self, key: str) -> Installed | None:
        if not self._slack.many:
            alone = await self._single()
            return alone if alone and alone.workspace == key else None
        # That there is none is not remembered: another process may be installing it, and people ask at once.
        async with self._reading.setdefault(key, asyncio.Lock()):
            until, found = self._known.get(key, (0.0, None))
            if found is None or until < time.monotonic():
                found = await self._read(key)
                if found:
                    self._known[key] = (time.monotonic() + KNOWN_SECONDS, found)
            return found

    # One workspace, by the token of the settings

    async def _single(self) -> Installed | None:
        token = self._slack.bot_token
        if token is None:
            return None
        async with self._renewing:
            if self._alone is None:
                self._alone = await self._introduced(token.get_secret_value())
            return self._alone

    async def _introduced(self, token: str) -> Installed:
        """Whose token it is. Its workspace is the settings' team's from now on."""
        slack = client(token, self._slack.api_url)
        async with calling():
            said = await slack.auth_test()
        key = key_of(said.get("team_id"), said.get("enterprise_id"), bool(said.get("is_enterprise_install")))
        bot = said.get("bot_id") or ""
        app = said.get("app_id") or await _app(slack, bot)
        async with self._database.system() as connection:
            home = await teams.ensure(connection, self._settings.team)
            await workspaces.link(connection, SURFACE, key, home.id)
        headers = {name.lower(): value for name, value in said.headers.items()}
        scopes = frozenset(one.strip() for one in headers.get("x-oauth-scopes", "").split(",") if one.strip())
        return Installed(
            key, home.id, token, said.get("user_id") or "", bot, app, said.get("url") or "", scopes,
            said.get("enterprise_id") or "",
        )  # fmt: skip

    # Many workspaces, by OAuth

    async def _kept(self, key: str) -> tuple[Team, Kept] | None:
        async with self._database.system() as connection:
            team = await workspaces.team(connection, SURFACE, key)
        if team is None:
            return None
        async with self._database.team(team.id) as connection:
            kept = await installations.get(connection, SURFACE, key)
        return (team, kept) if kept else None

    async def _read(self, key: str) -> Installed | None:
        found = await self._kept(key)
        if found is None:
            return None
        team, kept = found
        if kept.tokens is None:
            return None
        tokens = self._vault.open(kept.tokens)
        if _ends_soon(tokens) or self._vault.sealed_with_older(kept.tokens):
            return await self._renewed(team.id, key)
        return _installed(team.id, kept, tokens)

    async def _renewed(self, team_id: int, key: str) -> Installed | None:
        """The bot with its tokens refreshed where they end soon, and sealed with the first key.

        Under a lock from reading to writing: a refresh token is good once, whichever process uses it first.
        """
        async with self._renewing, self._database.team(team_id) as connection:
            await locks.hold(connection, SURFACE, "tokens", key)
            kept = await installations.get(connection, SURFACE, key)
            if kept is None or kept.tokens is None:
                return None
            before = self._vault.open(kept.tokens)
            tokens = await self._refreshed(kept, before) if _ends_soon(before) else before
            if tokens != before or self._vault.sealed_with_older(kept.tokens):
                await installations.renew(connection, SURFACE, key, self._vault.seal(tokens))
            return _installed(team_id, kept, tokens)

    async def _refreshed(self, kept: Kept, tokens: dict[str, Any]) -> dict[str, Any]:
        """The tokens that Slack gives for the refresh token. While the old ones are good a failure is only logged."""
        secret = self._slack.client_secret
        rotator = AsyncTokenRotator(
            client=exchange_client(self._slack.api_url),
            client_id=self._slack.client_id or "",
            client_secret=secret.get_secret_value() if secret else "",
        )
        bot = Bot(
            bot_token=tokens["bot_token"],
            bot_id=kept.bot,
            bot_user_id=kept.bot_user,
            bot_refresh_token=tokens["refresh_token"],
            bot_token_expires_at=tokens["expires_at"],
            installed_at=kept.installed_at,
        )
        try:
            async with calling():
                new = await _rotated(rotator, bot)
        except NightschoolError as error:
            if tokens["expires_at"] <= time.time():
                raise
            log.warning("the token was not refreshed", workspace=kept.workspace, error=str(error))
            return tokens
        if new is None:
            return tokens
        log.info("the token was refreshed", workspace=kept.workspace)
        return tokens | {
            "bot_token": new.bot_token,
            "refresh_token": new.bot_refresh_token,
            "expires_at": new.bot_token_expires_at,
        }

    async def _team_for(self, connection: Connection, key: str, name: str | None) -> Team:
        """Whose a workspace is or was, else a team's of its own. Teams are made in a transaction of their own, to be seen."""
        known = await workspaces.team(connection, SURFACE, key)
        if known:
            return known
        async with self._database.system() as another:
            home = await teams.ensure(another, self._settings.team)
        async with self._database.team(home.id) as within:
            # Those that left are among them.
            were = {one.workspace for one in await installations.all(within) if one.surface == SURFACE}
        linked = await workspaces.all(connection, SURFACE)
        if key in were or (not were and home.id not in linked.values()):
            return home
        async with self._database.system() as another:
            return await teams.ensure(another, f"slack-{key.lower()}", name)

    async def _works(self, sealed: bytes) -> bool:
        try:
            token = self._vault.open(sealed)["bot_token"]
            async with calling():
                await client(token, self._slack.api_url).auth_test()
        except (KeyLost, Revoked):
            return False
        return True


def key_of(team: str | None, enterprise: str | None, whole: bool = False) -> str:
    """A workspace's key: the organisation's id where the app was installed for the `whole` organisation."""
    return (enterprise if whole else team or enterprise) or ""


def exchange_client(api_url: str) -> AsyncWebClient:
    """A client for oauth.v2.access, like that of bot.slack.calls, but it never logs what it hears, which is tokens."""
    return AsyncWebClient(base_url=api_url, timeout=15, trust_env_in_session=True, logger=QUIET, retry_handlers=[])


def _without_code(record: logging.LogRecord) -> bool:
    # Bolt tells which code was refused. Where our client secret was wrong the code may be good still.
    record.msg, record.args = re.sub(r"(with code: )\S+", r"\1***", record.getMessage()), ()
    return True


QUIET = logging.getLogger("nightschool.slack.oauth")
"""For the SDK and Bolt where they handle tokens: at debug they would log them."""
QUIET.setLevel(logging.INFO)
QUIET.addFilter(_without_code)


def _ends_soon(tokens: dict[str, Any]) -> bool:
    ends, refresh = tokens.get("expires_at"), tokens.get("refresh_token")
    return bool(refresh and ends and ends < time.time() + AHEAD_SECONDS)


def _installed(team_id: int, kept: Kept, tokens: dict[str, Any]) -> Installed:
    return Installed(
        workspace=kept.workspace,
        team_id=team_id,
        bot_token=tokens["bot_token"],
        bot_user=kept.bot_user,
        bot=kept.bot,
        app=kept.app,
        url=tokens.get("url") or "",
        scopes=frozenset(kept.scopes),
        enterprise=tokens.get("enterprise") or "",
    )


async def _rotated(rotator: AsyncTokenRotator, bot: Bot) -> Bot | None:
    try:
        return await rotator.perform_bot_token_rotation(bot=bot, minutes_before_expiration=AHEAD_SECONDS // 60)
    except SlackTokenRotationError as error:
        if error.api_error.response.get("error") == "invalid_refresh_token":
            raise Revoked("Slack no longer accepts the refresh token: install the app anew.") from error
        raise error.api_error from error


async def _app(slack: AsyncWebClient, bot: str) -> str:
    """The app's id, which auth.test does not always tell; '' where Slack does not say."""
    try:
        async with calling():
            found = (await slack.bots_info(bot=bot)).get("bot") or {}
    except (Hopeless, Unsupported):
        return ""
    return str(found.get("app_id") or "")
