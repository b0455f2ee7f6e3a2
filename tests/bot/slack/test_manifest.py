"""The app's manifest: what it asks for is enough for all that people do, and nothing in it is asked for in vain."""

import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
import yaml
from typer.testing import CliRunner

from bot.cli import app
from bot.slack.manifest import EVENTS, manifest
from bot.slack.scopes import SCOPES
from storage import channels, feedback, messages
from tests.bot.slack import test_stories as stories
from tests.bot.slack.conftest import OPENS, Office, shown
from tests.fakes.slack.records import EVENT_SCOPES

SETTLED = Path(__file__).parents[3] / "manifests" / "slack.yaml"
READ: dict[str, Any] = yaml.safe_load(manifest())
BOT_SCOPES: list[str] = READ["oauth_config"]["scopes"]["bot"]
BOT_EVENTS: list[str] = READ["settings"]["event_subscriptions"]["bot_events"]
COUNT = itertools.count()
installed = pytest.mark.parametrize("office", [{"slack": {"scopes": BOT_SCOPES}}], indirect=True)
Effect = Callable[[Office, str], Awaitable[bool]]


def printed(*words: str) -> str:
    result = CliRunner().invoke(app, ["slack", "manifest", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_settled_manifest_is_what_the_command_prints() -> None:
    assert printed() == SETTLED.read_text(encoding="utf-8"), "run: nightschool slack manifest > manifests/slack.yaml"


def test_it_holds_what_slack_asks_of_a_manifest() -> None:
    assert list(SCOPES) == BOT_SCOPES and list(EVENTS) == BOT_EVENTS
    about, features = READ["display_information"], READ["features"]
    assert (
        len(about["name"]) <= 35 and len(about["description"]) <= 140 and 174 <= len(about["long_description"]) <= 4000
    )
    assert len(features["agent_view"]["agent_description"]) <= 300 and "assistant:write" in BOT_SCOPES
    assert all(len(one["name"]) <= 24 and len(one["description"]) <= 150 for one in features["shortcuts"])
    assert {one["callback_id"] for one in features["shortcuts"]} == {"correct_this", "remember_this"}
    assert [one["command"] for one in features["slash_commands"]] == ["/nightschool"]
    assert features["app_home"] == {
        "home_tab_enabled": True, "messages_tab_enabled": True, "messages_tab_read_only_enabled": False
    }  # fmt: skip
    assert READ["settings"]["socket_mode_enabled"] is True and READ["settings"]["org_deploy_enabled"] is False
    assert "request_url" not in READ["settings"]["event_subscriptions"] and "redirect_urls" not in READ["oauth_config"]
    assert {EVENT_SCOPES[event] for event in EVENTS if event in EVENT_SCOPES} <= set(SCOPES)


def test_over_http_it_names_the_addresses() -> None:
    made = yaml.safe_load(printed("--http", "--url", "https://bot.example/", "--name", "Ada: “the bot”"))
    events = "https://bot.example/slack/events"
    assert made["settings"]["socket_mode_enabled"] is False
    assert made["settings"]["event_subscriptions"]["request_url"] == events
    assert made["settings"]["interactivity"]["request_url"] == events
    assert made["features"]["slash_commands"][0]["url"] == events
    assert made["oauth_config"]["redirect_urls"] == ["https://bot.example/slack/oauth_redirect"]
    assert made["features"]["bot_user"]["display_name"] == "Ada: “the bot”"
    socket = yaml.safe_load(printed("--url", "https://bot.example"))
    assert socket["oauth_config"]["redirect_urls"] and "url" not in socket["features"]["slash_commands"][0]


@pytest.mark.parametrize("words", [["--http"], ["--url", "http://bot.example"], ["--name", "N" * 36], ["--name", " "]])
def test_what_slack_would_not_take_is_refused(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["slack", "manifest", *words]).exit_code == 2


@installed
@pytest.mark.parametrize(
    "story",
    [
        stories.test_a_mention_is_answered_in_its_thread_with_its_source,
        stories.test_a_correction_in_plain_words_holds_at_once,
        stories.test_a_direct_message_is_answered_and_stays_private,
        stories.test_thumbs_and_emoji_are_counted_and_taken_back,
        stories.test_a_thumb_down_opens_the_dialog_and_what_is_written_there_is_learnt,
        stories.test_an_edit_and_a_deletion_change_what_is_known,
        stories.test_a_private_channel_is_known_to_its_members_only,
        stories.test_shortcuts_remember_and_correct,
        stories.test_the_home_shows_what_became_of_corrections,
    ],
    ids=lambda story: story.__name__.removeprefix("test_"),
)
async def test_installed_by_it_the_bot_does(office: Office, story: Callable[[Office], Awaitable[None]]) -> None:
    office.slack.events = set(BOT_EVENTS)
    await story(office)


@installed
async def test_installed_by_it_commands_answer_and_questions_are_suggested(office: Office) -> None:
    office.slack.events = set(BOT_EVENTS)
    await stories.test_commands_answer_to_one_alone(office, f"ask {stories.QUESTION}", "8:30")
    await office.ask(office.ben, stories.QUESTION)
    assert await suggested(office, "app_home_opened")


async def test_slack_finds_the_address_of_the_manifest_to_be_ours(office: Office) -> None:
    body = json.dumps({"type": "url_verification", "token": "t", "challenge": "3eZbrw1aB"})
    async with aiohttp.ClientSession(headers={"content-type": "application/json"}) as session:
        assert office.slack.request_url is not None
        async with session.post(office.slack.request_url, data=body, headers=office.slack.signed(body)) as reply:
            assert (reply.status, "3eZbrw1aB" in await reply.text()) == (200, True)
        async with session.post(office.slack.request_url) as reply:
            assert reply.status == 401  # what the page has people try


@installed
async def test_each_event_brings_something_about(office: Office) -> None:
    await office.page()
    assert set(EFFECTS) == set(EVENTS)
    for event, effect in EFFECTS.items():
        assert await effect(office, event), f"{event} alone brings nothing about: it is asked for in vain"
        assert not await effect(office, ""), f"{event} is not what brings it about"


@installed
async def test_without_any_of_its_scopes_something_fails(office: Office) -> None:
    await office.page()
    await office.ask(office.ben, stories.QUESTION)
    # Slack gives no slash command and no shortcut to an app without `commands`, which the fake does not know.
    assert set(NEEDING) == set(SCOPES) - {"commands"}
    [token] = [one for one in office.slack.tokens.known.values() if one.value == office.slack.bot_token]
    for scope, (effect, event) in NEEDING.items():
        assert await effect(office, event), f"{scope} is there"
        office.ws.scopes = token.scopes = [one for one in BOT_SCOPES if one != scope]
        assert not await effect(office, event), f"nothing needs {scope}: it is asked for in vain"
        office.ws.scopes = token.scopes = list(BOT_SCOPES)


# What each event brings about: set up with all events, then with that one alone (or none).


async def only(office: Office, event: str) -> None:
    await office.quiet()
    office.slack.events = {event}


async def done(office: Office) -> None:
    await office.quiet()
    office.slack.events = set(BOT_EVENTS)


async def room(office: Office, kind: str, *, known: bool = True) -> Any:
    """A new channel that the bot is in, and knows of."""
    office.slack.events = set(BOT_EVENTS)
    members = [office.ana, office.ben, office.ws.add_user(f"carl{next(COUNT)}")]
    channel = office.ws.add_channel(f"room-{next(COUNT)}", kind=kind, members=members, with_bot=True)
    if known:
        await office.ws.say(office.ana, channel, "Good morning everybody in this room.")
    return channel


async def kept(office: Office, channel: Any) -> Any:
    async with office.database.team(office.team.id) as connection:
        return await channels.get(connection, "slack", channel.id)


def said_in(kind: str, *, mention: bool = False) -> Effect:
    async def effect(office: Office, event: str) -> bool:
        channel = await room(office, kind, known=False)
        await only(office, event)
        text = f"{office.at} {stories.QUESTION}" if mention else f"The lamp number {next(COUNT)} is broken."
        message = await office.ws.say(office.ana, channel, text)
        await done(office)
        if mention:
            return any(OPENS in shown(one) for one in office.ws.from_bot(channel, message.ts))
        async with office.database.team(office.team.id) as connection:
            return text in [one.text for one in await messages.current(connection)]

    return effect


async def direct(office: Office, event: str) -> bool:
    im = office.ws.dm(office.ws.add_user(f"dora{next(COUNT)}"))
    await only(office, event)
    await office.ws.say(im.members[0], im, stories.QUESTION)
    await done(office)
    return any(OPENS in shown(one) for one in office.ws.from_bot(im))


async def home(office: Office, event: str) -> bool:
    who = office.ws.add_user(f"emil{next(COUNT)}")
    await only(office, event)
    await office.ws.open_home(who)
    await done(office)
    return office.ws.home_of(who) is not None


async def suggested(office: Office, event: str) -> bool:
    who = office.ws.add_user(f"fred{next(COUNT)}")
    await only(office, event)
    await office.ws.open_home(who, "messages")
    await done(office)
    return stories.QUESTION in str(office.ws.suggested.get(office.ws.dm(who).id))


def told(type: str, **fields: Any) -> Effect:
    """The bot logs that it is uninstalled; what is erased then test_installations proves."""

    async def effect(office: Office, event: str) -> bool:
        await only(office, event)
        with structlog.testing.capture_logs() as logs:
            office.ws.emit({"type": type, "event_ts": office.ws.now(), **fields})
            await done(office)
        return any(line["event"].startswith("uninstalled:") for line in logs)

    return effect


def gone(kind: str, how: str) -> Effect:
    async def effect(office: Office, event: str) -> bool:
        channel = await room(office, kind)
        await only(office, event)
        if how == "leave":
            await office.ws.leave(office.ws.bot, channel)
        else:
            office.ws.emit({"type": f"{kind}_deleted", "channel": channel.id, "event_ts": office.ws.now()}, channel)
        await done(office)
        return (await kept(office, channel)).left_at is not None

    return effect


def renamed(kind: str) -> Effect:
    async def effect(office: Office, event: str) -> bool:
        channel = await room(office, kind)
        await only(office, event)
        await office.ws.rename(channel, f"hall-{next(COUNT)}")
        await done(office)
        await office.ws.say(office.ana, channel, "Good evening everybody in this hall.")
        await office.quiet()
        return bool((await kept(office, channel)).name == channel.name)

    return effect


def shared(now: bool) -> Effect:
    async def effect(office: Office, event: str) -> bool:
        channel = await room(office, "channel", known=False)
        channel.is_ext_shared = not now
        await office.ws.say(office.ana, channel, "Good morning everybody in this room.")
        await only(office, event)
        channel.is_ext_shared = now
        what = "channel_shared" if now else "channel_unshared"
        office.ws.emit({"type": what, "channel": channel.id, "event_ts": office.ws.now()}, channel)
        await done(office)
        await office.ws.say(office.ana, channel, "Good evening everybody in this room.")
        await office.quiet()
        return bool((await kept(office, channel)).shared is now)

    return effect


def moved(act: str, change: int) -> Effect:
    async def effect(office: Office, event: str) -> bool:
        channel = await room(office, "group")
        await office.quiet()
        before = await members(office, channel)
        await only(office, event)
        await getattr(office.ws, act)(
            office.ben if act == "leave" else office.ws.add_user(f"gil{next(COUNT)}"), channel
        )
        await done(office)
        return await members(office, channel) == before + change

    return effect


async def members(office: Office, channel: Any) -> int:
    async with office.database.team(office.team.id) as connection:
        return (await channels.members(connection))["slack", channel.id]


def reacted(act: str, standing: int) -> Effect:
    async def effect(office: Office, event: str) -> bool:
        _, answer = await office.ask(office.ana, stories.QUESTION)
        if act == "unreact":
            await office.ws.react(office.ben, office.channel, answer.ts, "heart")
        await only(office, event)
        before = await opinions(office)
        await getattr(office.ws, act)(office.ben, office.channel, answer.ts, "heart")
        await done(office)
        return await opinions(office) == before + standing

    return effect


async def opinions(office: Office) -> int:
    async with office.database.team(office.team.id) as connection:
        return len(await feedback.standing(connection))


async def promoted(office: Office, event: str) -> bool:
    who = office.ws.add_user(f"hugo{next(COUNT)}")
    await office.ws.open_home(who)
    await only(office, event)
    await office.ws.change_user(who, is_admin=True)
    await done(office)
    await office.ws.open_home(who)
    await office.quiet()
    return "For admins" in str(office.ws.home_of(who).json)


async def marked(office: Office, event: str) -> bool:
    message = await office.ws.say(office.ana, office.channel, f"{office.at} remember that lamp {next(COUNT)} is new.")
    await office.quiet()
    return bool(office.ws.message(office.channel, message.ts).reactions)


async def named(office: Office, event: str) -> bool:
    who = office.ws.add_user(f"ida{next(COUNT)}")
    await office.ws.say(who, office.channel, f"The lamp number {next(COUNT)} is broken.")
    await office.quiet()
    async with office.database.team(office.team.id) as connection:
        return who.name in [one.author for one in await messages.current(connection)]


EFFECTS: dict[str, Effect] = {
    "app_home_opened": home,
    "app_mention": said_in("channel", mention=True),
    "app_uninstalled": told("app_uninstalled"),
    "channel_deleted": gone("channel", "delete"),
    "channel_left": gone("channel", "leave"),
    "channel_rename": renamed("channel"),
    "channel_shared": shared(True),
    "channel_unshared": shared(False),
    "group_deleted": gone("group", "delete"),
    "group_left": gone("group", "leave"),
    "group_rename": renamed("group"),
    "member_joined_channel": moved("join", 1),
    "member_left_channel": moved("leave", -1),
    "message.channels": said_in("channel"),
    "message.groups": said_in("group"),
    "message.im": direct,
    "message.mpim": said_in("mpim"),
    "reaction_added": reacted("react", 1),
    "reaction_removed": reacted("unreact", -1),
    "tokens_revoked": told("tokens_revoked", tokens={"oauth": [], "bot": ["U0BOT"]}),
    "user_change": promoted,
}

NEEDING: dict[str, tuple[Effect, str]] = {
    "app_mentions:read": (said_in("channel", mention=True), "app_mention"),
    "assistant:write": (suggested, "app_home_opened"),
    "channels:history": (said_in("channel"), "message.channels"),
    "channels:read": (said_in("channel", mention=True), "app_mention"),
    "chat:write": (said_in("channel", mention=True), "app_mention"),
    "groups:history": (said_in("group"), "message.groups"),
    "groups:read": (said_in("group"), "message.groups"),
    "im:history": (direct, "message.im"),
    "im:read": (direct, "message.im"),
    "mpim:history": (said_in("mpim"), "message.mpim"),
    "mpim:read": (said_in("mpim"), "message.mpim"),
    "reactions:read": (reacted("react", 1), "reaction_added"),
    "reactions:write": (marked, ""),
    "users:read": (named, ""),
}
