"""Places that are gone, tokens that are dead, strangers, and two workspaces in one process: an outcome each."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from slack_sdk.oauth.installation_store import Installation

from bot import inbox
from bot.assembly import Models
from bot.front import Front
from bot.settings import Settings
from bot.slack import calls, outlet
from bot.slack.installations import Workspaces
from bot.slack.settings import SlackSettings
from bot.vault import Vault
from storage import persons, workspaces
from storage.database import Database
from storage.teams import Team
from tests.bot.slack.conftest import OPENS, Office, serving, shown
from tests.fakes.slack import FakeSlack

QUESTION = "When does the Lisbon office open?"


async def failed(database: Database, team: Team) -> list[str]:
    """Why events were given up."""
    async with database.team(team.id) as connection:
        rows = await (await connection.execute("SELECT kind, error FROM events WHERE error IS NOT NULL")).fetchall()
    return [f"{row['kind']}: {row['error']}" for row in rows]


# Places that are gone


GONE: dict[str, Callable[[Office, Any], Any]] = {
    "archived": lambda office, asked: office.ws.archive(office.channel),
    "left": lambda office, asked: office.ws.leave(office.ws.bot, office.channel),
    "root deleted": lambda office, asked: office.ws.delete(office.channel, asked.ts),
}


@pytest.mark.parametrize("case", GONE)
@pytest.mark.parametrize("moment", ["before", "during"])
async def test_a_place_that_is_gone_ends_quietly(
    office: Office, case: str, moment: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calls, "AGAIN_SECONDS", 0.05)
    await office.page()
    office.slack.delivery.hold()
    asked = await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}")
    if moment == "before":
        await GONE[case](office, asked)
        office.slack.delivery.release(copies=2)
    else:
        office.slack.fail_next("chat.startStream", delay=0.3)
        office.slack.delivery.release()
        await office.slack.wait_for(lambda: office.slack.calls_of("chat.startStream"))
        await GONE[case](office, asked)
    await office.quiet()
    assert len(office.ws.from_bot(office.channel, asked.ts)) <= 1
    assert all("Nothing can be said there" in why for why in await failed(office.database, office.team))
    assert len(office.slack.calls) < 40 and "Traceback" not in "".join(capfd.readouterr())
    # And elsewhere it goes on.
    other = office.ws.add_channel("elsewhere", members=[office.ana], with_bot=True)
    asked = await office.ws.say(office.ana, other, f"{office.at} {QUESTION}")
    await office.quiet()
    assert OPENS in shown(office.ws.from_bot(other, asked.ts)[0])


async def test_a_channel_that_was_deleted_ends_quietly(office: Office) -> None:
    await office.page()
    office.slack.delivery.hold()
    await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}")
    del office.ws.channels[office.channel.id]
    office.slack.delivery.release()
    await office.quiet()
    assert all("channel_not_found" in why for why in await failed(office.database, office.team))


@pytest.mark.parametrize("error", ["token_revoked", "account_inactive", "invalid_auth"])
async def test_a_revoked_token_is_told_once_an_event_and_ends(
    office: Office, error: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await office.page()
    await office.ask(office.ana, QUESTION)
    for token in office.slack.tokens.known.values():
        token.error = error
    before = len(office.slack.calls)
    await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}")
    await office.slack.delivery.settled()
    await office.quiet()
    said = "".join(capfd.readouterr())
    assert "Slack refuses the bot's token" in said and "Traceback" not in said
    for _ in range(3):
        await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}")
    await office.slack.delivery.settled()
    await office.quiet()
    assert len(office.slack.calls) - before < 60
    assert all(error in why for why in await failed(office.database, office.team))
    assert "Traceback" not in "".join(capfd.readouterr())
    for token in office.slack.tokens.known.values():  # installed anew, with the same token
        token.error = None
    _, answer = await office.ask(office.ana, QUESTION)
    assert OPENS in shown(answer)


@pytest.mark.parametrize(
    "method", ["users.info", "conversations.info", "chat.startStream", "reactions.add", "views.open"]
)
async def test_a_missing_scope_has_an_outcome(office: Office, method: str) -> None:
    await office.page()
    office.slack.fail_next(method, error="missing_scope", times=50)
    asked = await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}")
    await office.quiet()
    found = office.ws.from_bot(office.channel, asked.ts)
    if method == "conversations.info":
        assert found == [] and [
            "scope" in why or "may not" in why for why in await failed(office.database, office.team)
        ] == [True]
        return
    assert len(found) == 1 and OPENS in shown(found[0])
    await office.ws.say(office.ben, office.channel, "no, it is nine o'clock.", thread_ts=asked.ts)
    await office.quiet()
    assert await office.whispers(office.ben, "nine o'clock")
    assert (await office.ws.click(office.ben, office.channel, found[0].ts, "why")).acknowledged
    assert await failed(office.database, office.team) == []


# Strangers


@pytest.mark.parametrize("office", [{"enterprise": "E0OURS"}], indirect=True)
async def test_a_colleague_of_another_workspace_of_the_organisation_is_no_stranger(office: Office) -> None:
    await office.page()
    carla = office.ws.add_user("carla", team_id="T0SISTER", enterprise_id="E0OURS")
    eve = office.ws.add_user("eve", team_id="T0ELSEWHERE", enterprise_id="E0THEIRS", is_admin=True)
    for user, count in ((carla, 1), (eve, 0)):
        asked = await office.ws.say(user, office.channel, f"{office.at} {QUESTION}")
        await office.ws.edit(office.channel, asked.ts, f"{office.at} {QUESTION} Please tell me.")
        await office.quiet()
        assert len(office.ws.from_bot(office.channel, asked.ts)) == count
    await office.ws.command(eve, office.channel, "/nightschool", "status")
    await office.quiet()
    async with office.database.team(office.team.id) as connection:
        assert (await persons.identify(connection, "slack", eve.id, "")).role != "admin"  # she is one at home


@pytest.mark.parametrize("office", [{}, {"settings": {"strangers": True}}], indirect=True)
async def test_strangers_in_a_shared_channel_are_heard_only_where_allowed(office: Office) -> None:
    await office.page()
    allowed = office.front.settings.slack.strangers
    shared = office.ws.add_channel("shared", members=[office.ana], with_bot=True, is_ext_shared=True)
    eve = office.ws.add_user("eve", team_id="T0ELSEWHERE")
    shared.members.append(eve.id)
    asked = await office.ws.say(eve, shared, f"{office.at} {QUESTION}")
    hidden = office.ws.add_user("hidden", team_id="T0ELSEWHERE")
    office.slack.fail_next("users.info", error="user_not_found", times=9)
    unseen = await office.ws.say(hidden, shared, f"{office.at} {QUESTION}")
    await office.quiet()
    office.slack.limits.faults.clear()
    for one in (asked, unseen):
        assert len(office.ws.from_bot(shared, one.ts)) == (1 if allowed else 0)
    ours = await office.ws.say(office.ana, shared, f"{office.at} {QUESTION}")
    await office.quiet()
    if allowed:
        assert OPENS in shown(office.ws.from_bot(shared, ours.ts)[0])
    else:  # she alone sees it, as others read along
        assert office.ws.from_bot(shared, ours.ts) == []
        assert any(OPENS in one.text for one in office.ws.ephemeral(office.ana))
        assert not office.ws.ephemeral(eve)
    assert await failed(office.database, office.team) == []


# Two workspaces


@dataclass
class Both:
    """One process, installed in two workspaces by OAuth."""

    slack: FakeSlack
    database: Database
    front: Front
    found: Workspaces

    async def quiet(self) -> None:
        """Waits until every event is delivered and worked off."""
        await self.slack.delivery.settled()
        async with asyncio.timeout(30):
            while await self._pending():  # noqa: ASYNC110 - the process works it off
                await asyncio.sleep(0.02)

    async def _pending(self) -> int:
        async with self.database.system() as connection:
            row = await (await connection.execute("SELECT count(*) AS n FROM errands")).fetchone()
        return int((row or {})["n"])


@pytest.fixture
async def both(
    database: Database,
    settings: Callable[..., Settings],
    models: Models,
    unused_ports: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Both]:
    """A process in two workspaces."""
    monkeypatch.setattr(outlet, "PACE_SECONDS", 0.0)
    monkeypatch.setattr(inbox, "LOOK_SECONDS", 0.2)
    async with FakeSlack(f"http://127.0.0.1:{unused_ports[0]}/slack/events") as slack:
        slack.add_workspace("Quarry")
        chosen = SlackSettings(
            mode="http", client_id=slack.client_id, client_secret=SecretStr(slack.client_secret),
            signing_secret=SecretStr(slack.signing_secret), api_url=slack.base_url,
        )  # fmt: skip
        made = settings(secret_keys=SecretStr(Fernet.generate_key().decode()), slack=chosen)
        async with database.system() as connection:
            for key in slack.workspaces:
                await workspaces.unlink(connection, "slack", key)
        found = Workspaces(made, database, Vault.load(made))
        for one in slack.workspaces.values():
            await found.install(
                Installation(
                    app_id=slack.app_id,
                    team_id=one.id,
                    team_name=one.name,
                    bot_token=slack.token_of(one),
                    bot_id=one.bot.bot_id,
                    bot_user_id=one.bot.id,
                    bot_scopes=one.scopes,
                    user_id=one.owner.id,
                )
            )
        async with serving(made, models, unused_ports[0]) as (front, _):
            yield Both(slack, database, front, found)
        async with database.system() as connection:
            for key in slack.workspaces:
                await workspaces.unlink(connection, "slack", key)


async def test_two_workspaces_never_meet_and_one_outlives_the_other(both: Both) -> None:
    slack = both.slack
    places: list[tuple[Any, Any, Any]] = []
    for ws in slack.workspaces.values():
        ana = ws.add_user("ana")
        places.append((ws, ana, ws.add_channel("port", members=[ana], with_bot=True)))
    for number in range(3):
        for ws, ana, channel in places:
            fact = f"the code of door {number} is {ws.name}{number}"
            await ws.say(ana, channel, f"<@{ws.bot.id}> remember that {fact}")
            await ws.say(ana, channel, f"In {ws.name} the lift {number} was mended by Otto{ws.name}.")
    await both.quiet()
    for ws, _, _ in places:
        found = await both.found.get(ws.id)
        assert found
        await (await both.front.desk(found.team_id)).indexing.settled()
    asked = [
        (ws, channel, await ws.say(ana, channel, f"<@{ws.bot.id}> What is the code of door {number}?"))
        for number in range(3)
        for ws, ana, channel in places
    ]
    await both.quiet()
    names = {ws.name for ws, _, _ in places}
    right = 0
    for ws, channel, question in asked:
        [answer] = ws.from_bot(channel, question.ts)
        [other] = names - {ws.name}
        assert other not in shown(answer)
        right += ws.name in shown(answer)
    assert right >= 5
    (gone, _, _), (stays, ana, channel) = places
    await gone.uninstall()
    await both.quiet()
    both.found.forget(gone.id)
    assert await both.found.get(gone.id) is None
    question = await stays.say(ana, channel, f"<@{stays.bot.id}> What is the code of door 1?")
    await both.quiet()
    assert stays.name in shown(stays.from_bot(channel, question.ts)[0])
    async with both.database.system() as connection:
        assert gone.id not in await workspaces.all(connection, "slack")
