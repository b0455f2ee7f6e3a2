"""Installing the app in workspaces: OAuth end to end with Bolt and a Slack over HTTP, sealed tokens, keys that change."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from cryptography.fernet import Fernet
from pydantic import SecretStr
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_sdk.oauth.installation_store import Installation
from yarl import URL

from bot.inbox import Later
from bot.settings import BadSettings, Settings
from bot.slack.calls import Revoked
from bot.slack.installations import AHEAD_SECONDS, Installed, Workspaces
from bot.slack.oauth import INSTALL_PATH, REDIRECT_PATH, States, Store, oauth_flow, oauth_settings
from bot.slack.scopes import SCOPES
from bot.slack.settings import SlackSettings
from bot.vault import KeyLost, Vault
from storage import installations, teams, workspaces
from storage.database import Database
from storage.teams import Team
from tests.fakes.slack import FakeSlack, Workspace

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
Made = Callable[..., Workspaces]


@pytest.fixture
async def slack(database: Database) -> AsyncIterator[FakeSlack]:
    """A Slack whose workspaces no team has. The fake's ids are the same in every test, the database is not."""
    async with FakeSlack() as slack:
        await unlink_all(database)
        yield slack
        await unlink_all(database)


async def unlink_all(database: Database) -> None:
    async with database.system() as connection:
        for key in await workspaces.all(connection, "slack"):
            await workspaces.unlink(connection, "slack", key)


@pytest.fixture
def many(settings: Callable[..., Settings], slack: FakeSlack) -> Callable[..., Settings]:
    """Settings of an app that is installed by OAuth."""

    def make(keys: str = OLD, **others: Any) -> Settings:
        given = {
            "client_id": slack.client_id,
            "client_secret": SecretStr(slack.client_secret),
            "api_url": slack.base_url,
            "authorize_url": f"{slack.url}/oauth/v2/authorize",
        }
        return settings(secret_keys=SecretStr(keys), slack=SlackSettings(**(given | others)))

    return make


@pytest.fixture
def opened(database: Database, many: Callable[..., Settings]) -> Made:
    """Makes the workspaces of a process with the given keys."""

    def make(keys: str = OLD, **others: Any) -> Workspaces:
        chosen = many(keys, **others)
        return Workspaces(chosen, database, Vault.load(chosen))

    return make


@asynccontextmanager
async def served(flow: AsyncOAuthFlow, slack: FakeSlack) -> AsyncIterator[str]:
    """The flow on its two addresses, and the redirect URL in the app's page. Yields the base URL."""

    async def install(request: web.Request) -> web.Response:
        return await to_aiohttp_response(await flow.handle_installation(await to_bolt_request(request)))

    async def callback(request: web.Request) -> web.Response:
        return await to_aiohttp_response(await flow.handle_callback(await to_bolt_request(request)))

    app = web.Application()
    app.router.add_get(INSTALL_PATH, install)
    app.router.add_get(REDIRECT_PATH, callback)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    slack.redirect_uri = url + REDIRECT_PATH
    try:
        yield url
    finally:
        await runner.cleanup()


def browser(url: str) -> aiohttp.ClientSession:
    """A browser that keeps the state's cookie, which is for https alone, for this address too."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=[URL(url)]))


async def visit(flow: AsyncOAuthFlow, slack: FakeSlack, workspace: Workspace | None = None) -> tuple[int, str]:
    """Somebody installs the app: through our page, Slack's, and back. The last page's status and text."""
    slack.installing = workspace or slack.workspace
    async with served(flow, slack) as url, browser(url) as session, session.get(url + INSTALL_PATH) as page:
        return page.status, await page.text()


def flow_of(opened: Workspaces, chosen: Settings) -> AsyncOAuthFlow:
    return oauth_flow(chosen, opened, Vault.load(chosen))


async def granted(slack: FakeSlack, workspace: Workspace | None = None, **others: Any) -> Installation:
    """What Bolt would hand over for a workspace whose people consented."""
    workspace = workspace or slack.workspace
    token = slack.tokens.issue(workspace.id, list(SCOPES))
    given = {
        "app_id": slack.app_id,
        "team_id": workspace.id,
        "team_name": workspace.name,
        "bot_token": token.value,
        "bot_id": workspace.bot.bot_id,
        "bot_user_id": workspace.bot.id,
        "bot_scopes": list(SCOPES),
        "bot_refresh_token": token.refresh,
        "bot_token_expires_in": int(token.expires - time.time()) if token.expires else None,
        "user_id": workspace.owner.id,
    }
    return Installation(**(given | others))


async def rows(database: Database, team_id: int) -> tuple[list[bytes | None], str]:
    """The team's sealed tokens, and all its installations as text, bytes decoded."""
    async with database.team(team_id) as connection:
        kept = await installations.all(connection)
    return [one.tokens for one in kept], repr(kept)


async def linked(database: Database) -> dict[str, int]:
    async with database.system() as connection:
        return await workspaces.all(connection, "slack")


async def team_of(database: Database, key: str) -> Team | None:
    async with database.system() as connection:
        return await teams.get(connection, key)


# Installing


async def test_the_app_is_installed_by_oauth_and_its_token_is_stored_sealed(
    slack: FakeSlack, opened: Made, many: Callable[..., Settings], database: Database, team: Team
) -> None:
    here = opened()
    status, text = await visit(flow_of(here, many()), slack)
    assert status == 200 and "Thank you" in text, text
    found = await here.get(slack.workspace.id)
    assert found == Installed(
        workspace=slack.workspace.id,
        team_id=team.id,
        bot_token=slack.bot_token,
        bot_user=slack.workspace.bot.id,
        bot=slack.workspace.bot.bot_id or "",
        app=slack.app_id,
        url="https://harbour.slack.com/",
        scopes=frozenset(SCOPES),
    )
    [sealed], text = await rows(database, team.id)
    assert sealed is not None and slack.bot_token not in text and slack.bot_token not in repr(found)
    assert Vault([OLD]).open(sealed)["bot_token"] == slack.bot_token
    assert slack.workspace.owner.id in text  # who installed it
    assert await linked(database) == {slack.workspace.id: team.id}
    assert await opened().get(slack.workspace.id) == found  # another process


async def test_the_flow_begins_at_the_settings_address_with_the_scopes_and_a_cookie(
    slack: FakeSlack, opened: Made, many: Callable[..., Settings]
) -> None:
    async with (
        served(flow_of(opened(), many()), slack) as url,
        browser(url) as session,
        session.get(url + INSTALL_PATH, allow_redirects=False) as answer,
    ):
        assert answer.status == 302
        location, cookie = answer.headers["Location"], answer.headers["Set-Cookie"]
    assert location.startswith(f"{slack.url}/oauth/v2/authorize?")
    asked = parse_qs(urlsplit(location).query)
    assert asked["scope"] == [",".join(SCOPES)] and asked["client_id"] == [slack.client_id]
    assert "user_scope" not in asked and slack.client_secret not in location
    assert asked["state"][0] in cookie and "HttpOnly" in cookie and "Secure" in cookie


async def test_a_wrong_old_or_used_state_is_refused(
    slack: FakeSlack, opened: Made, many: Callable[..., Settings], database: Database
) -> None:
    here = opened()
    old = Fernet(OLD).encrypt_at_time(b'{"state": "n"}', int(time.time()) - 601).decode()
    foreign = Vault([NEW]).seal({"state": "n"}).decode()
    no_state = Vault([OLD]).seal({"bot_token": "n"}).decode()
    async with served(flow_of(here, many()), slack) as url, aiohttp.ClientSession() as session:

        async def back(state: str, cookie: str | None) -> int:
            headers = {"Cookie": f"slack-app-oauth-state={cookie}"} if cookie else {}
            asked = {"code": "c", "state": state}
            async with session.get(url + REDIRECT_PATH, params=asked, headers=headers) as page:
                return page.status

        async with session.get(url + INSTALL_PATH, allow_redirects=False) as begun:
            state = parse_qs(urlsplit(begun.headers["Location"]).query)["state"][0]
        assert await back(state, None) == 400  # another browser
        assert await back(state, foreign) == 400
        for wrong in (old, foreign, no_state, "nonsense"):
            assert await back(wrong, wrong) == 401
        assert slack.calls_of("oauth.v2.access") == []
        assert await back(state, state) == 401  # the state is right, the code is not
        assert len(slack.calls_of("oauth.v2.access")) == 1
        assert await back(state, state) == 401  # and now the state is used
        assert len(slack.calls_of("oauth.v2.access")) == 1
    assert await linked(database) == {}


async def test_states_are_good_once_and_for_ten_minutes() -> None:
    states = States(Vault([OLD]))
    one, another = await states.async_issue(), await states.async_issue()
    assert one != another
    assert [await states.async_consume(state) for state in (one, one, another)] == [True, False, True]
    young = Fernet(OLD).encrypt_at_time(b'{"state": "a"}', int(time.time()) - 590).decode()
    assert await states.async_consume(young)


async def test_who_does_not_consent_installs_nothing(
    slack: FakeSlack, opened: Made, many: Callable[..., Settings], database: Database
) -> None:
    chosen = many(authorize_url=f"{slack.url}/oauth/v2/authorize?deny=1&")
    status, text = await visit(flow_of(opened(), chosen), slack)
    assert status == 200 and "access_denied" in text
    assert await linked(database) == {}


async def test_where_it_cannot_be_kept_the_page_says_so(
    slack: FakeSlack, opened: Made, many: Callable[..., Settings], database: Database
) -> None:
    cut_off = opened(api_url="http://127.0.0.1:9/api/")
    status, text = await visit(flow_of(cut_off, many()), slack)
    assert status == 500 and "storage_error" in text
    assert await linked(database) == {}


async def test_without_client_id_and_secret_there_is_no_oauth(opened: Made, many: Callable[..., Settings]) -> None:
    with pytest.raises(BadSettings, match="CLIENT_SECRET"):
        oauth_settings(many(client_secret=None), opened(), Vault([OLD]))


# Whose it is


async def test_two_workspaces_are_two_teams(
    slack: FakeSlack, opened: Made, many: Callable[..., Settings], database: Database, team: Team
) -> None:
    here, second = opened(), slack.add_workspace("Dock", installed=False)
    flow = flow_of(here, many())
    await visit(flow, slack)
    await visit(flow, slack, second)
    one, two = await here.get(slack.workspace.id), await here.get(second.id)
    assert one is not None and two is not None
    dock = await team_of(database, f"slack-{second.id.lower()}")
    assert dock is not None and dock.name == "Dock"
    assert (one.team_id, two.team_id) == (team.id, dock.id)
    assert one.bot_token != two.bot_token
    assert await here.all() == [one, two]
    assert await here.of_team(dock.id) == [two] and await here.of_team(team.id) == [one]
    await visit(flow, slack)  # once more changes nobody's team
    assert await linked(database) == {slack.workspace.id: team.id, second.id: dock.id}
    assert await here.get("T99") is None


async def test_two_installed_at_once_do_not_both_get_the_settings_team(
    slack: FakeSlack, opened: Made, database: Database, team: Team
) -> None:
    others = [slack.add_workspace(f"Dock {n}", installed=False) for n in range(4)]
    given = [await granted(slack, workspace) for workspace in (slack.workspace, *others)]
    await asyncio.gather(*(opened().install(one) for one in given))
    owners = await linked(database)
    assert len(owners) == len(set(owners.values())) == 5 and team.id in owners.values()


async def test_an_organisation_is_one_workspace(slack: FakeSlack, opened: Made, database: Database) -> None:
    here, store = opened(), Store(opened())
    await here.install(
        await granted(slack, team_id=None, enterprise_id="E1", enterprise_name="Docks", is_enterprise_install=True)
    )
    found = await here.get("T77", "E1")
    assert found is not None and found.workspace == "E1" and await here.get("T77") is None
    bot = await store.async_find_bot(enterprise_id="E1", team_id="T77", is_enterprise_install=True)
    assert bot is not None and bot.bot_token == found.bot_token and bot.is_enterprise_install
    await here.install(await granted(slack, enterprise_id="E1"))
    own = await here.get(slack.workspace.id, "E1")
    assert own is not None and own.workspace == slack.workspace.id
    assert set(await linked(database)) == {"E1", slack.workspace.id}


# Tokens and keys


async def test_a_key_is_changed_and_a_lost_one_is_named(
    slack: FakeSlack, opened: Made, database: Database, team: Team
) -> None:
    await opened().install(await granted(slack))
    ([before], _), found = await rows(database, team.id), await opened().get(slack.workspace.id)
    with pytest.raises(KeyLost, match="the key was lost or changed"):
        await opened(NEW).get(slack.workspace.id)
    assert await opened(NEW).all() == []
    assert await opened(f"{NEW},{OLD}").get(slack.workspace.id) == found
    [after], _ = await rows(database, team.id)
    assert before is not None and after is not None and before != after
    assert await opened(NEW).get(slack.workspace.id) == found  # sealed anew: the old key may go
    assert Vault([NEW]).open(after) == Vault([OLD]).open(before)


async def test_a_token_is_refreshed_once_before_it_ends(
    slack: FakeSlack, opened: Made, database: Database, team: Team
) -> None:
    slack.tokens.rotation = True
    fresh = await granted(slack)
    await opened().install(fresh)
    found = await opened().get(slack.workspace.id)
    assert found is not None and found.bot_token == fresh.bot_token
    await opened().install(await granted(slack, bot_token_expires_in=AHEAD_SECONDS - 60))
    several = await asyncio.gather(*(opened().get(slack.workspace.id) for _ in range(4)))
    tokens = {one.bot_token for one in several if one}
    assert len(tokens) == 1 and tokens != {fresh.bot_token}
    assert len(slack.calls_of("oauth.v2.access")) == 1
    [sealed], text = await rows(database, team.id)
    assert sealed is not None and not any(token in text for token in tokens)
    assert Vault([OLD]).open(sealed)["expires_at"] > time.time() + AHEAD_SECONDS


async def test_a_refresh_that_fails_matters_only_when_the_token_has_ended(slack: FakeSlack, opened: Made) -> None:
    slack.tokens.rotation = True
    given = await granted(slack, bot_token_expires_in=60, bot_refresh_token="xoxe-1-unknown")
    await opened().install(given)
    found = await opened().get(slack.workspace.id)
    assert found is not None and found.bot_token == given.bot_token
    await opened().install(await granted(slack, bot_token_expires_in=-1, bot_refresh_token="xoxe-1-unknown"))
    with pytest.raises(Revoked, match="install the app anew"):
        await opened().get(slack.workspace.id)


async def test_bolt_is_given_no_refresh_token(slack: FakeSlack, opened: Made) -> None:
    slack.tokens.rotation = True
    given, store = await granted(slack), Store(opened())
    await store.async_save(given)
    bot = await store.async_find_bot(enterprise_id=None, team_id=slack.workspace.id)
    found = await store.async_find_installation(enterprise_id=None, team_id=slack.workspace.id, user_id="U1")
    assert bot is not None and found is not None
    assert bot.bot_token == found.bot_token == given.bot_token
    assert bot.bot_refresh_token is None and found.bot_refresh_token is None and found.user_token is None
    assert await store.async_find_bot(enterprise_id=None, team_id="T99") is None


async def test_what_is_known_is_asked_anew_when_forgotten(slack: FakeSlack, opened: Made) -> None:
    here, there = opened(), opened()
    await here.install(await granted(slack))
    before = await here.get(slack.workspace.id)
    await there.install(await granted(slack))
    assert await here.get(slack.workspace.id) == before
    here.forget(slack.workspace.id)
    after = await here.get(slack.workspace.id)
    assert before and after and after.bot_token != before.bot_token


# Leaving


async def test_uninstalling_erases_the_tokens_and_keeps_the_team(
    slack: FakeSlack, opened: Made, database: Database, team: Team
) -> None:
    here, second = opened(), slack.add_workspace("Dock", installed=False)
    await here.install(await granted(slack))
    assert await here.get(slack.workspace.id)
    await slack.workspace.uninstall()
    await Store(here).async_delete_all(enterprise_id=None, team_id=slack.workspace.id)
    assert await here.get(slack.workspace.id) is None and await here.all() == []
    tokens, text = await rows(database, team.id)
    assert tokens == [None] and "xoxb" not in text
    assert await linked(database) == {}
    await here.uninstalled(slack.workspace.id)  # tokens_revoked comes beside app_uninstalled
    await here.install(await granted(slack, second))
    await here.install(await granted(slack))
    owners = await linked(database)
    # The team's knowledge is not for the next who comes, but for the workspace that comes back.
    assert owners[slack.workspace.id] == team.id != owners[second.id]


async def test_news_of_uninstalling_that_comes_late_does_no_harm(slack: FakeSlack, opened: Made) -> None:
    here = opened()
    await here.install(await granted(slack))
    await slack.workspace.uninstall()
    await here.install(await granted(slack))
    await here.uninstalled(slack.workspace.id)
    assert await here.get(slack.workspace.id) is not None


async def test_while_slack_cannot_be_asked_nothing_is_erased(slack: FakeSlack, opened: Made) -> None:
    await opened().install(await granted(slack))
    with pytest.raises(Later):
        await opened(api_url="http://127.0.0.1:9/api/").uninstalled(slack.workspace.id)
    assert await opened().get(slack.workspace.id) is not None


async def test_a_workspace_whose_key_was_lost_can_leave(
    slack: FakeSlack, opened: Made, database: Database, team: Team
) -> None:
    await opened().install(await granted(slack))
    await opened(NEW).uninstalled(slack.workspace.id)
    assert (await rows(database, team.id))[0] == [None]


# One workspace, by a token


async def test_a_token_in_the_settings_is_one_workspace_of_the_settings_team(
    slack: FakeSlack, opened: Made, database: Database, team: Team
) -> None:
    token = slack.bot_token
    here = opened(bot_token=SecretStr(token), client_id=None, client_secret=None)
    found = await here.get(slack.workspace.id)
    assert found is not None and found.bot_token == token and token not in repr(found)
    assert (found.team_id, found.workspace, found.bot_user) == (team.id, slack.workspace.id, slack.workspace.bot.id)
    assert (found.app, found.url) == (slack.app_id, "https://harbour.slack.com/")
    assert found.scopes == set(slack.workspace.scopes)
    assert await here.get("T99") is None
    assert await here.all() == [found] == await here.of_team(team.id)
    assert await here.of_team(team.id + 1) == []
    assert len(slack.calls_of("auth.test")) == 1
    assert await linked(database) == {slack.workspace.id: team.id}
    assert await rows(database, team.id) == ([], "[]")


async def test_a_token_in_the_settings_that_was_revoked_is_named(
    slack: FakeSlack, opened: Made, database: Database, team: Team
) -> None:
    here = opened(bot_token=SecretStr(slack.bot_token), client_id=None)
    assert await here.get(slack.workspace.id) is not None
    await slack.workspace.uninstall()
    await here.uninstalled(slack.workspace.id)
    with pytest.raises(Revoked, match="install the app anew"):
        await here.get(slack.workspace.id)
    assert await here.all() == []
    assert await linked(database) == {slack.workspace.id: team.id}  # so that no other workspace gets the team


async def test_a_slack_that_is_away_is_asked_again(slack: FakeSlack, opened: Made) -> None:
    here = opened(bot_token=SecretStr(slack.bot_token), client_id=None)
    slack.fail_next("auth.test", status=500)
    with pytest.raises(Later):
        await here.get(slack.workspace.id)
    assert await here.get(slack.workspace.id) is not None


async def test_without_any_token_there_is_no_workspace(opened: Made) -> None:
    nowhere = opened(client_id=None)
    assert await nowhere.get("T1") is None and await nowhere.all() == []


# Secrets


async def test_no_secret_is_ever_logged(
    slack: FakeSlack,
    opened: Made,
    many: Callable[..., Settings],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    slack.tokens.rotation, slack.tokens.rotation_seconds = True, 60  # refreshed at every look
    here = opened()
    flow = flow_of(here, many())
    await visit(flow, slack)
    first = await here.get(slack.workspace.id)
    async with served(flow, slack) as url, browser(url) as session:
        async with session.get(url + INSTALL_PATH, allow_redirects=False) as begun:
            state = parse_qs(urlsplit(begun.headers["Location"]).query)["state"][0]
        slack.client_secret = "another"
        async with session.get(url + REDIRECT_PATH, params={"code": "a-good-code", "state": state}) as page:
            assert page.status == 401
    await opened(NEW).all()
    await slack.workspace.uninstall()
    await here.uninstalled(slack.workspace.id)
    single = opened(bot_token=SecretStr("xoxb-dead"), client_id=None)
    assert await single.all() == []
    captured = capsys.readouterr()
    said = caplog.text + captured.out + captured.err
    assert "left out" in said and "with code: ***" in said and "uninstalled" in said
    secrets = {many().slack.client_secret.get_secret_value(), "a-good-code", state, "xoxb-dead", OLD, NEW}  # type: ignore[union-attr]
    for token in slack.tokens.known.values():
        secrets |= {token.value, *([token.refresh] if token.refresh else [])}
    assert first is not None and first.bot_token in secrets
    assert [secret for secret in secrets if secret in said] == []


def test_every_scope_has_its_reason() -> None:
    assert all(reason.endswith(".") for reason in SCOPES.values())
    assert not {"channels:join", "admin", "files:read"} & set(SCOPES)
