"""What the doctor says of Slack: well, and each thing that can be wrong, with what to do."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from bot.doctor import Check
from bot.settings import Settings
from bot.slack import checks
from bot.slack.scopes import SCOPES
from bot.slack.settings import SlackSettings
from bot.vault import Vault
from storage import events, installations, workspaces
from storage.database import Database
from storage.events import NewEvent
from storage.installations import NewInstallation
from storage.teams import Team
from tests.fakes.slack import FakeSlack

Given = Callable[..., Settings]


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack(scopes=SCOPES) as slack:
        yield slack


@pytest.fixture
def given(settings: Given, slack: FakeSlack) -> Given:
    """Settings for Socket Mode in one workspace; anything may be otherwise."""

    def make(**others: Any) -> Settings:
        chosen = {
            "mode": "socket",
            "bot_token": slack.bot_token,
            "app_token": slack.app_token,
            "api_url": slack.base_url,
        }
        keys = others.pop("secret_keys", None)
        return settings(slack=SlackSettings(**(chosen | others)), secret_keys=keys)

    return make


async def said(found: AsyncIterator[Check]) -> dict[str, Check]:
    return {check.name: check async for check in found}


async def test_a_slack_that_is_well(given: Given, slack: FakeSlack) -> None:
    found = await said(checks.alone(given()))
    assert {check.state for check in found.values()} == {"ok"}
    assert found["slack"].found == "Socket Mode, one workspace, by its token"
    assert found["slack workspace"].found == f"Harbour ({slack.workspace.id}), as @nightschool"
    assert found["slack socket"].found == "may be opened"
    assert found["slack scopes"].found == f"all {len(SCOPES)} granted"
    over_http = await said(checks.alone(given(mode="http", signing_secret="s")))
    assert "/slack/events on 127.0.0.1:8010" in over_http["slack address"].found and "slack socket" not in over_http


async def test_settings_that_lack_something_are_named_and_nothing_is_asked(given: Given, slack: FakeSlack) -> None:
    found = [check async for check in checks.alone(given(bot_token=None, app_token=None))]
    assert [check.state for check in found] == ["fail", "fail"] and not slack.calls
    assert "NIGHTSCHOOL_SLACK__BOT_TOKEN" in found[0].found and "NIGHTSCHOOL_SLACK__APP_TOKEN" in found[1].found


async def test_tokens_that_slack_refuses(given: Given, slack: FakeSlack) -> None:
    found = await said(checks.alone(given(bot_token="xoxb-no", app_token="xapp-no")))
    for name, setting in (("slack workspace", "BOT_TOKEN"), ("slack socket", "APP_TOKEN")):
        assert found[name].state == "fail" and "invalid_auth" in found[name].found
        assert f"NIGHTSCHOOL_SLACK__{setting}" in found[name].to_do
        assert "xoxb-no" not in str(found) and "xapp-no" not in str(found)


async def test_scopes_that_were_not_granted_are_named(given: Given, slack: FakeSlack) -> None:
    [token] = slack.tokens.known.values()
    token.scopes = [scope for scope in SCOPES if scope not in ("users:read", "reactions:write")]
    check = (await said(checks.alone(given())))["slack scopes"]
    assert check.state == "fail" and "users:read (" in check.found and "reactions:write (" in check.found
    assert "nightschool slack manifest" in check.to_do


async def test_a_slack_that_is_away_or_slow_is_one_line_each(
    given: Given, slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await said(checks.alone(given(api_url="http://127.0.0.1:1/api/")))
    for name in ("slack socket", "slack workspace"):
        assert found[name].state == "warn" and "cannot be reached" in found[name].found and found[name].to_do
    monkeypatch.setattr(checks, "PATIENCE", 0.2)
    slack.fail_next("auth.test", delay=2)
    slow = (await said(checks.alone(given())))["slack workspace"]
    assert (slow.state, slow.found) == ("warn", f"{slack.base_url}: no answer")


async def test_events_that_are_late_or_given_up(given: Given, database: Database, team: Team) -> None:
    assert (await said(checks.below(given(), database, team)))["slack events"].state == "ok"
    async with database.team(team.id) as connection:
        await events.store(connection, [NewEvent("slack", "message:C1:1", "C1:", "message", {})])
    async with database.system() as connection:
        await connection.execute(
            "UPDATE errands SET received_at = now() - interval '5 minutes' WHERE team = %s", [team.id]
        )
    late = (await said(checks.below(given(), database, team)))["slack events"]
    assert late.state == "warn" and "the oldest for" in late.found and "nightschool serve" in late.to_do
    async with database.team(team.id) as connection:
        row = await (await connection.execute("SELECT id FROM events")).fetchone()
        await events.done(connection, row["id"], "Nothing can be said there (is_archived).")
    failed = (await said(checks.below(given(), database, team)))["slack events"]
    assert failed.state == "warn" and "1 given up" in failed.found and "is_archived" in failed.found


async def test_workspaces_installed_by_oauth(given: Given, database: Database, team: Team, slack: FakeSlack) -> None:
    key = Fernet.generate_key().decode()

    def many(**others: Any) -> Settings:
        return given(bot_token=None, client_id="1.2", client_secret="s", secret_keys=SecretStr(key), **others)

    async with database.system() as connection:
        for other in await workspaces.all(connection, "slack"):
            await workspaces.unlink(connection, "slack", other)
    assert "/slack/install" in (await said(checks.below(many(), database, team)))["slack workspaces"].to_do
    here = slack.workspace
    tokens = {"bot_token": slack.bot_token, "refresh_token": None, "expires_at": None, "url": "", "name": "Harbour"}

    async def installed(sealed: bytes) -> dict[str, Check]:
        new = NewInstallation("slack", here.id, here.bot.id, here.bot.bot_id or "", slack.app_id, [], sealed)
        async with database.team(team.id) as connection:
            await installations.save(connection, new)
        async with database.system() as connection:
            await workspaces.link(connection, "slack", here.id, team.id)
        return await said(checks.below(many(), database, team))

    found = await installed(Vault([key]).seal(tokens))
    assert found[f"slack {here.id}"].found.startswith("Harbour") and found["slack scopes"].state == "ok"
    found = await installed(Vault([Fernet.generate_key().decode()]).seal(tokens))
    assert found[f"slack {here.id}"].state == "fail" and "NIGHTSCHOOL_SECRET_KEYS" in found[f"slack {here.id}"].found
    found = await installed(Vault([key]).seal(tokens | {"bot_token": "xoxb-gone"}))
    assert found[f"slack {here.id}"].state == "fail" and "/slack/install" in found[f"slack {here.id}"].to_do
    async with database.system() as connection:
        await workspaces.unlink(connection, "slack", here.id)
