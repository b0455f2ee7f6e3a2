"""Installing the app in further workspaces: Bolt's OAuth flow over our tables and our vault.

https://docs.slack.dev/authentication/installing-with-oauth and https://docs.slack.dev/tools/bolt-python/concepts/authenticating-oauth
"""

import secrets
import time
from typing import Any

import structlog
from slack_bolt.error import BoltError
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_sdk.oauth.installation_store import Bot, Installation
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore

from bot.settings import BadSettings, Settings
from bot.slack.installations import QUIET, Installed, Workspaces, exchange_client, key_of
from bot.slack.scopes import SCOPES
from bot.vault import KeyLost, Vault
from storage.errors import NightschoolError

log = structlog.get_logger(__name__)

INSTALL_PATH = "/slack/install"
REDIRECT_PATH = "/slack/oauth_redirect"
STATE_SECONDS = 600


class Store(AsyncInstallationStore):
    """What Bolt asks for installations. It is told nothing of refresh tokens: we refresh them, with our own base URL."""

    def __init__(self, workspaces: Workspaces) -> None:
        self._workspaces = workspaces

    async def async_save(self, installation: Installation) -> None:
        """Keeps an installation. Raises BoltError, for which Bolt shows its page of failure."""
        if not installation.bot_token:
            raise BoltError("Slack gave no token for the bot.")
        try:
            await self._workspaces.install(installation)
        except NightschoolError as error:
            log.error("not installed", workspace=installation.team_id or "", error=str(error))
            raise BoltError(str(error)) from error

    async def async_find_bot(
        self, *, enterprise_id: str | None, team_id: str | None, is_enterprise_install: bool | None = False
    ) -> Bot | None:
        """The bot in a workspace or organisation."""
        found = await self._found(enterprise_id, team_id, is_enterprise_install)
        return _installation(found, enterprise_id).to_bot() if found else None

    async def async_find_installation(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None = None,
        is_enterprise_install: bool | None = False,
    ) -> Installation | None:
        """The same, whoever the user is: there are no tokens of users."""
        found = await self._found(enterprise_id, team_id, is_enterprise_install)
        return _installation(found, enterprise_id) if found else None

    async def async_delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """The bot's token was revoked; see Workspaces.uninstalled."""
        await self._workspaces.uninstalled(key_of(team_id, enterprise_id))

    async def async_delete_installation(
        self, *, enterprise_id: str | None, team_id: str | None, user_id: str | None = None
    ) -> None:
        """A user's token was revoked: there is none."""

    async def _found(self, enterprise_id: str | None, team_id: str | None, whole: bool | None) -> Installed | None:
        return await self._workspaces.get(key_of(team_id, enterprise_id, bool(whole)), enterprise_id)


class States(AsyncOAuthStateStore):
    """The states of installations under way, kept nowhere: each is sealed, and says itself when it was made.

    It is good for ten minutes and once in each process. A second use elsewhere would still need the browser's cookie
    and a code of Slack's, which is good once.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._used: dict[str, float] = {}

    async def async_issue(self, *args: Any, **kwargs: Any) -> str:
        """A new state."""
        return self._vault.seal({"state": secrets.token_urlsafe(16)}).decode()

    async def async_consume(self, state: str) -> bool:
        """Whether the state is ours, young and unused; from now on it is used."""
        try:
            nonce = self._vault.open(state.encode(), seconds=STATE_SECONDS).get("state")
        except KeyLost:
            return False
        now = time.monotonic()
        self._used = {used: until for used, until in self._used.items() if until > now}
        if not isinstance(nonce, str) or nonce in self._used:
            return False
        self._used[nonce] = now + STATE_SECONDS + 60  # Fernet counts whole seconds
        return True


def oauth_settings(
    settings: Settings, workspaces: Workspaces, vault: Vault, redirect_uri: str | None = None
) -> AsyncOAuthSettings:
    """Bolt's settings. `redirect_uri` is needed where the app's page names several. Raises BadSettings."""
    slack = settings.slack
    if slack.client_id is None or slack.client_secret is None:
        raise BadSettings(
            "Slack: to install the app by OAuth set NIGHTSCHOOL_SLACK__CLIENT_ID and NIGHTSCHOOL_SLACK__CLIENT_SECRET."
        )
    return AsyncOAuthSettings(
        client_id=slack.client_id,
        client_secret=slack.client_secret.get_secret_value(),
        scopes=list(SCOPES),
        user_scopes=[],
        redirect_uri=redirect_uri,
        install_path=INSTALL_PATH,
        # Straight to Slack's own page: so its "direct install" works, and no picture is loaded from elsewhere.
        install_page_rendering_enabled=False,
        redirect_uri_path=REDIRECT_PATH,
        authorization_url=slack.authorize_url,
        installation_store=Store(workspaces),
        installation_store_bot_only=True,
        state_store=States(vault),
        state_expiration_seconds=STATE_SECONDS,
        logger=QUIET,
    )


def oauth_flow(
    settings: Settings, workspaces: Workspaces, vault: Vault, redirect_uri: str | None = None
) -> AsyncOAuthFlow:
    """What answers INSTALL_PATH and REDIRECT_PATH; hand it to AsyncApp as `oauth_flow`. Raises BadSettings."""
    return AsyncOAuthFlow(
        client=exchange_client(settings.slack.api_url),
        settings=oauth_settings(settings, workspaces, vault, redirect_uri),
        logger=QUIET,
    )


def _installation(found: Installed, enterprise_id: str | None) -> Installation:
    whole = found.workspace == enterprise_id
    return Installation(
        app_id=found.app,
        enterprise_id=enterprise_id,
        team_id=None if whole else found.workspace,
        is_enterprise_install=whole,
        bot_token=found.bot_token,
        bot_id=found.bot,
        bot_user_id=found.bot_user,
        bot_scopes=sorted(found.scopes),
        user_id=found.bot_user,
    )
