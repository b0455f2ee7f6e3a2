"""Rights that end: admins that are none any more, people who left, channels that cannot be read, channels that others share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from bot import inbox
from bot.front import Desk, NotReady
from bot.inbox import Later
from bot.morning import announce, set_report_place
from bot.settings import Settings
from bot.slack import app, blocks, directory, service
from bot.slack.calls import client
from bot.slack.directory import Directory
from bot.slack.installations import Workspaces
from bot.slack.settings import SlackSettings
from bot.vault import Vault
from storage import adapters, channels, nights, persons, teams
from storage.errors import DatabaseAway
from tests.bot.slack.conftest import Office, serving, shown
from tests.bot.slack.test_places import Both, both  # noqa: F401  (a fixture)
from tests.bot.slack.test_stories import settle_index
from tests.fakes.slack import FakeSlack

SECRET = "Who is the company sold to?"


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The permission sync goes on all the time."""
    monkeypatch.setattr(app, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(directory, "MEMBERS_FRESH", timedelta(0))


@pytest.fixture
def stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members are to be read anew at each permission sync."""
    monkeypatch.setattr(directory, "MEMBERS_FRESH", timedelta(0))


async def members(database: Any, team_id: int, channel: Any) -> set[str]:
    """Who is told what a private channel knows, by Slack's ids."""
    async with database.team(team_id) as connection:
        found = await connection.execute(
            "SELECT i.surface_user_id AS user FROM channels c JOIN audience_members m ON m.audience_id = c.audience_id "
            "JOIN identities i ON i.person_id = m.person_id JOIN audiences a ON a.id = c.audience_id "
            "WHERE c.key = %s AND a.kind = 'channel'",
            [channel.id],
        )
        return {row["user"] for row in await found.fetchall()}


async def until(condition: Callable[[], Any]) -> None:
    """Waits until it holds."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - another process may do it
            await asyncio.sleep(0.02)


async def board(office: Office, name: str = "board") -> Any:
    """A private channel of Ana's and Ben's where a secret was told."""
    made = office.ws.add_channel(name, kind="group", members=[office.ana, office.ben], with_bot=True)
    await office.ws.say(office.ana, made, "The company is sold to Acme in the spring.")
    await office.quiet()
    await settle_index(office)
    assert {office.ana.id, office.ben.id} <= await members(office.database, office.team.id, made)
    return made


async def alone(office: Office, user: Any) -> str:
    """What somebody is told in private."""
    im = office.ws.dm(user)
    await office.ws.say(user, im, SECRET)
    await office.quiet()
    return shown(office.ws.from_bot(im)[-1])


def reader(office: Office, kind: type[Directory] = Directory) -> Directory:
    """The workspace's people and channels, as another process sees them."""
    web = client(office.slack.bot_token, office.slack.base_url)
    return kind(office.database, office.team.id, office.ws.id, web)


# Admins


async def test_an_admin_is_one_for_as_long_as_slack_says_so(office: Office) -> None:
    async def is_admin() -> bool:
        await office.ws.open_home(office.ben)
        await office.quiet()
        return "For admins" in str(office.ws.home_of(office.ben).json)

    for yes in (False, True, False):
        await office.ws.change_user(office.ben, is_admin=yes)
        await office.quiet()
        assert await is_admin() is yes
        await office.ws.command(office.ben, office.channel, "/nightschool", "settings")
        view = office.ws.views_of(office.ben)[-1]
        assert bool([block for block in view.json["blocks"] if block["type"] == "input"]) is yes
    async with office.database.team(office.team.id) as connection:
        person = await persons.identify(connection, "slack", office.ben.id, "")
        assert person.role == "member"
        await persons.set_role(connection, person.id, "admin")  # by `nightschool people`: stays
    await office.ws.change_user(office.ben, is_admin=False)
    await office.quiet()
    assert await is_admin()


# Who left


async def test_who_left_is_told_nothing_from_that_moment_though_slack_cannot_be_asked(office: Office) -> None:
    room = await board(office)
    assert "Acme" in await alone(office, office.ben)
    office.slack.fail_next("conversations.info", status=500, times=1000)
    office.slack.fail_next("conversations.members", status=500, times=1000)
    await office.ws.leave(office.ben, room)

    async def gone() -> bool:
        return office.ben.id not in await members(office.database, office.team.id, room)

    await until(gone)
    office.slack.limits.faults.clear()
    await office.quiet()
    assert "Acme" not in await alone(office, office.ben)
    assert "Acme" in await alone(office, office.ana)


async def test_members_that_were_read_before_somebody_left_are_not_written_after(office: Office) -> None:
    room = await board(office)
    read: list[set[str]] = []

    class Slow(Directory):
        async def _users(self, key: str) -> list[str]:
            users = await super()._users(key)
            read.append(set(users))
            if len(read) == 1:
                room.members.remove(office.ben.id)
                await reader(office).went(key, office.ben.id)
            return users

    await reader(office, Slow).channel(room.id, anew=True)
    assert [office.ben.id in users for users in read] == [True, False]
    told = await members(office.database, office.team.id, room)
    assert office.ben.id not in told and office.ana.id in told


@pytest.mark.parametrize(
    ("fault", "closes"),
    [
        ({"error": "missing_scope"}, True),
        ({"error": "channel_not_found"}, True),
        ({"status": 500}, False),
        ({"status": 429, "retry_after": 1}, False),
    ],
)
async def test_the_permission_sync_drops_who_left_whatever_another_channel_says(
    stale: None, office: Office, fault: dict[str, Any], closes: bool
) -> None:
    first, second = await board(office, "first"), await board(office, "second")
    for room in (first, second):
        room.members.remove(office.ben.id)  # of which Slack tells us nothing
    await reader(office).channel(second.id, anew=True)
    second.members.remove(office.ana.id)
    office.slack.fail_next("conversations.info", **fault)
    await reader(office).renew()
    assert not {office.ana.id, office.ben.id} & await members(office.database, office.team.id, second)
    assert bool(await members(office.database, office.team.id, first)) is not closes
    assert await alone(office, office.ben) and ("Acme" in await alone(office, office.ben)) is not closes
    office.slack.fail_next("conversations.info", **fault)
    await reader(office).renew()  # the next time, the one that could not be read is the first again
    await reader(office).renew()
    assert office.ben.id not in await members(office.database, office.team.id, first)


async def test_the_permission_sync_of_one_workspace_waits_for_no_other(often: None, both: Both) -> None:  # noqa: F811
    dead, lives = both.slack.workspaces.values()
    rooms = {}
    for ws in (dead, lives):
        ana, ben = ws.add_user("ana"), ws.add_user("ben")
        rooms[ws.id] = room = ws.add_channel("board", kind="group", members=[ana, ben], with_bot=True)
        await ws.say(ana, room, "The company is sold to Acme in the spring.")
    await both.quiet()
    for token in both.slack.tokens.known.values():
        if token.team_id == dead.id:
            token.error = "token_revoked"
    found = await both.found.get(lives.id)
    assert found
    room = rooms[lives.id]
    left = room.members.pop(1)
    before = await members(both.database, found.team_id, room)

    async def gone() -> bool:
        return left not in await members(both.database, found.team_id, room)

    await until(gone)
    assert before, "somebody is told"


async def test_a_place_that_is_gone_keeps_no_members(office: Office) -> None:
    room = await board(office)
    room.members.remove(office.ws.bot.id)
    office.ws.emit(
        {
            "type": "member_left_channel", "user": office.ana.id, "channel": room.id, "channel_type": "G",
            "team": office.ws.id, "event_ts": office.ws.now(),
        }
    )  # fmt: skip
    await office.quiet()
    assert await members(office.database, office.team.id, room) == set()


# The morning report


async def ended(office: Office) -> None:
    """A night ends and is announced."""
    async with office.database.team(office.team.id) as connection:
        night = await nights.begin(connection, (await adapters.ensure(connection)).id)
        await nights.end(connection, night.id, "released", {"verdict": "Version 1 is at work.", "learnt": []})
        done = await nights.get(connection, night.id)
    assert done
    await announce(office.database, office.team, done)


async def place(office: Office) -> str | None:
    """Where the report comes."""
    async with office.database.system() as connection:
        team = await teams.get(connection, office.team.key)
    assert team
    return team.settings.get("report", {}).get("slack")


@pytest.mark.parametrize("office", [{}, {"settings": {"strangers": True}}], indirect=True)
async def test_the_report_is_not_posted_where_another_organisation_reads(
    office: Office, capfd: pytest.CaptureFixture[str]
) -> None:
    allowed = office.front.settings.slack.strangers
    shared = office.ws.add_channel("shared", members=[office.ana], with_bot=True, is_ext_shared=True)
    await set_report_place(office.database, office.team, "slack", shared.id)
    await ended(office)
    await office.quiet()
    assert bool(office.ws.from_bot(shared)) is allowed
    assert ("shared with another organisation" in "".join(capfd.readouterr())) is not allowed


async def test_where_the_report_comes_an_admin_says_and_not_where_others_read(office: Office) -> None:
    owner = office.ws.owner
    outside = office.ws.add_channel("outside", members=[owner], with_bot=True, is_ext_shared=True)
    sister = office.ws.add_channel("sister", members=[owner], with_bot=True, is_org_shared=True)
    for channel, said in ((outside, "shared with another organisation"), (sister, "Saved.")):
        await office.ws.command(owner, channel, "/nightschool", "settings")
        view = office.ws.views_of(owner)[-1]
        await office.ws.submit(owner, view.id, {blocks.FOLLOW: "all", blocks.REPORT: ["here"]})
        assert await office.whispers(owner, said)
        assert await place(office) == (sister.id if channel is sister else None)
        async with office.database.team(office.team.id) as connection:
            kept = await channels.get(connection, "slack", channel.id)
        assert kept and (kept.follow, kept.shared) == ("all", channel is outside)
    # Its creator says what is answered in a channel, no more.
    await office.ws.command(office.ana, office.channel, "/nightschool", "settings")
    view = office.ws.views_of(office.ana)[-1]
    assert [block["block_id"] for block in view.json["blocks"] if block["type"] == "input"] == [blocks.FOLLOW]
    await office.ws.submit(office.ana, view.id, {blocks.FOLLOW: "all"})
    assert await office.whispers(office.ana, "Saved.")
    assert await place(office) == sister.id


async def test_the_report_waits_for_the_colleague_to_wake(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "ATTEMPTS", 1)
    awake, asked = office.front.desk, 0

    async def desk(team_id: int | None = None) -> Desk:
        nonlocal asked
        asked += 1
        if asked <= 2:
            raise NotReady("waking up")
        return await awake(team_id)

    monkeypatch.setattr(office.front, "desk", desk)
    await set_report_place(office.database, office.team, "slack", office.channel.id)
    await ended(office)
    await office.quiet()
    assert len([one for one in office.ws.from_bot(office.channel) if "Good morning" in shown(one)]) == 1


async def test_a_workspace_that_cannot_be_asked_just_now_is_not_left_out_of_a_teams(office: Office) -> None:
    settings = office.front.settings
    found = Workspaces(settings, office.database, Vault.load(settings))
    office.slack.fail_next("auth.test", status=500, times=2)
    assert await found.all() == []
    with pytest.raises(Later):
        await found.of_team(office.team.id)
    assert [one.workspace for one in await found.of_team(office.team.id)] == [office.ws.id]


# The service


@pytest.fixture
async def refused(
    settings: Callable[..., Settings], models: Any, unused_ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FakeSlack]:
    """A Slack that does not know the app token, and a `serve` over Socket Mode whose database is away at its greeting."""
    monkeypatch.setattr(service, "AGAIN_SECONDS", 0.1)

    async def away(_: Workspaces) -> Any:
        raise DatabaseAway("away")

    monkeypatch.setattr(Workspaces, "all", away)
    async with FakeSlack() as slack:
        given = {"app_token": slack.app_token, "bot_token": slack.bot_token, "api_url": slack.base_url}
        slack.app_token += "new"
        made = settings(slack=SlackSettings.model_validate({"mode": "socket"} | given))
        async with serving(made, models, unused_ports[0]):
            yield slack


async def test_a_refused_app_token_is_said_clearly_and_mended_when_it_is_good(
    refused: FakeSlack, capfd: pytest.CaptureFixture[str]
) -> None:
    said = ""

    async def told() -> bool:
        nonlocal said
        said += "".join(capfd.readouterr())
        return said.count("Slack refuses the socket: check NIGHTSCHOOL_SLACK__APP_TOKEN") >= 2

    await until(told)
    assert "invalid_auth" in said and "Traceback" not in said
    assert not refused.sockets.connections
    refused.app_token = refused.app_token.removesuffix("new")
    await refused.wait_for(lambda: refused.sockets.connections)
