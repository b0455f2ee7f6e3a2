"""What `nightschool doctor` looks at where Slack is connected: settings, tokens, scopes, workspaces, and what waits."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.doctor import Check
from bot.inbox import Later
from bot.settings import Settings
from bot.slack.calls import SURFACE, calling, client
from bot.slack.installations import Workspaces
from bot.slack.oauth import INSTALL_PATH
from bot.slack.scopes import SCOPES
from bot.slack.service import EVENTS_PATH
from bot.vault import KEY_FILE, Vault
from storage import events, workspaces
from storage.database import Database
from storage.errors import NightschoolError
from storage.teams import Team

PATIENCE = 5.0
"""Seconds that Slack gets for an answer."""

_MOST = 20
_LATE = 60.0
_UPDATE = "paste `nightschool slack manifest` into App Manifest of the app's page, then Install App, Reinstall (docs/slack.md)"
_TOKENS = {
    "bot_token": "copy the Bot User OAuth Token of OAuth & Permissions to NIGHTSCHOOL_SLACK__BOT_TOKEN; install the app anew if "
    "it was removed",
    "app_token": "make a token with connections:write under Basic Information, App-Level Tokens, for "
    "NIGHTSCHOOL_SLACK__APP_TOKEN",
    "installed": f"have somebody there install the app anew, at {INSTALL_PATH} of the bot's public address",
}


async def alone(settings: Settings) -> AsyncIterator[Check]:
    """What can be seen without the database."""
    slack = settings.slack
    if problems := list(slack.problems()):
        for problem in problems:
            yield Check("fail", "slack", problem.removeprefix("Slack: "))
        return
    place = "many workspaces, by OAuth" if slack.many else "one workspace, by its token"
    yield Check("ok", "slack", f"{'Socket Mode' if slack.mode == 'socket' else 'HTTP'}, {place}")
    if slack.mode == "http":
        found = f"POST {EVENTS_PATH} on {settings.listen_host}:{settings.listen_port}; Slack must reach it by https"
        yield Check("ok", "slack address", f"{found}, under the Request URL of the app's page")
    if slack.mode == "socket" and slack.app_token is not None:
        yield await _socket(slack.app_token.get_secret_value(), slack.api_url)
    if slack.bot_token is not None:
        for check in await _workspace(slack.bot_token.get_secret_value(), slack.api_url, "bot_token"):
            yield check


async def below(settings: Settings, database: Database, team: Team) -> AsyncIterator[Check]:
    """What can only be seen with the database."""
    if list(settings.slack.problems()):
        return
    if settings.slack.many:
        async for check in _installed(settings, database):
            yield check
    async with database.system() as connection:
        waiting, seconds = await events.waiting(connection)
    if waiting and seconds > _LATE:
        late = f"{waiting} wait, the oldest for {seconds:.0f} s"
        yield Check("warn", "slack events", late, "does nightschool serve run? its log says what holds them up")
    async with database.team(team.id) as connection:
        failed = await events.failed(connection, datetime.now(UTC) - timedelta(days=1))
    given_up = [one for one in failed if one.surface == SURFACE]
    if given_up:
        last = given_up[-1]
        found = (
            f"{len(given_up)} given up since yesterday; the last, {last.kind} at {last.done_at:%H:%M} UTC: {last.error}"
        )
        yield Check("warn", "slack events", found, "docs/slack.md, Troubleshooting, says what the reasons mean")
    elif not waiting or seconds <= _LATE:
        yield Check("ok", "slack events", "none is late, none was given up since yesterday")


async def _socket(token: str, api_url: str) -> Check:
    try:
        async with asyncio.timeout(PATIENCE), calling():
            await client(None, api_url).apps_connections_open(app_token=token)
    except (Later, TimeoutError) as error:
        return _away("slack socket", api_url, error)
    except NightschoolError as error:
        return Check("fail", "slack socket", f"Slack does not accept the app's token: {error}", _TOKENS["app_token"])
    return Check("ok", "slack socket", "may be opened")


async def _workspace(token: str, api_url: str, kept: str, name: str = "slack workspace") -> list[Check]:
    """Whether a bot's token is good, where it is, and whether all scopes were granted."""
    try:
        async with asyncio.timeout(PATIENCE), calling():
            said = await client(token, api_url).auth_test()
    except (Later, TimeoutError) as error:
        return [_away(name, api_url, error)]
    except NightschoolError as error:
        return [Check("fail", name, f"Slack does not accept the bot's token: {error}", _TOKENS[kept])]
    here = Check("ok", name, f"{said.get('team')} ({said.get('team_id')}), as @{said.get('user')}")
    granted = _granted(said)
    missing = [scope for scope in SCOPES if scope not in granted]
    if granted and missing:
        reasons = "; ".join(f"{scope} ({SCOPES[scope].rstrip('.').lower()})" for scope in missing)
        return [here, Check("fail", "slack scopes", f"not granted: {reasons}", _UPDATE)]
    if not granted:
        return [
            here,
            Check("warn", "slack scopes", "Slack does not say which are granted", "does a proxy drop headers?"),
        ]
    return [here, Check("ok", "slack scopes", f"all {len(SCOPES)} granted")]


async def _installed(settings: Settings, database: Database) -> AsyncIterator[Check]:
    """The workspaces of an app that is installed by OAuth."""
    async with database.system() as connection:
        linked = sorted(await workspaces.all(connection, SURFACE))
    if not linked:
        todo = f"open {INSTALL_PATH} of the bot's public address; the first gets the team `{settings.team}`"
        yield Check("warn", "slack workspaces", "none yet", todo)
        return
    if settings.secret_keys is None:
        found = f"their tokens are sealed with {KEY_FILE} of the data folder"
        yield Check(
            "warn", "slack keys", found, "keep a copy; for several machines set NIGHTSCHOOL_SECRET_KEYS on each"
        )
    known = Workspaces(settings, database, await asyncio.to_thread(Vault.load, settings))
    for key in linked[:_MOST]:
        name = f"slack {key}"
        try:
            async with asyncio.timeout(PATIENCE):
                found_there = await known.get(key)
        except (Later, TimeoutError) as error:
            yield _away(name, settings.slack.api_url, error)
            continue
        except NightschoolError as error:
            yield Check("fail", name, str(error), _TOKENS["installed"])
            continue
        if found_there is None:
            yield Check("warn", name, "uninstalled", _TOKENS["installed"])
            continue
        for check in await _workspace(found_there.bot_token, settings.slack.api_url, "installed", name):
            yield check
    if linked[_MOST:]:
        yield Check("ok", "slack workspaces", f"and {len(linked) - _MOST} more, which were not looked at")


def _away(name: str, api_url: str, error: Exception) -> Check:
    why = str(error) if isinstance(error, Later) else "no answer"
    return Check("warn", name, f"{api_url}: {why}", "check the network and slack.api_url; serve tries again by itself")


def _granted(said: AsyncSlackResponse) -> set[str]:
    headers = {name.lower(): value for name, value in said.headers.items()}
    return {scope.strip() for scope in headers.get("x-oauth-scopes", "").split(",") if scope.strip()}
