"""The fake Slack, proved with Slack's own SDK: what bolt verifies, what the Web API client meets, Socket Mode, OAuth."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp, AsyncAssistant
from slack_sdk.errors import SlackApiError
from slack_sdk.oauth import AuthorizeUrlGenerator
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient
from starlette.applications import Starlette
from starlette.routing import Route

from tests.fakes.slack import FakeSlack, signature

QUESTION = "When do we close?"


@asynccontextmanager
async def http_app(slack: FakeSlack, bolt: AsyncApp | None = None, **answers: Any) -> AsyncIterator[list[web.Request]]:
    """A real app behind a request URL: bolt under uvicorn, or a bare handler answering by `answers["statuses"]`, then
    200.
    """
    seen: list[web.Request] = []
    if bolt:
        async with uvicorn_app(slack, bolt):
            yield seen
        return
    statuses = list(answers.get("statuses", []))

    async def handle(request: web.Request) -> web.Response:
        seen.append(request)
        await request.read()
        await asyncio.sleep(answers.get("delay", 0))
        return web.Response(status=statuses.pop(0) if statuses else 200)

    app = web.Application()
    app.router.add_post("/slack/events", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.request_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    try:
        yield seen
    finally:
        await runner.cleanup()


@asynccontextmanager
async def uvicorn_app(slack: FakeSlack, bolt: AsyncApp) -> AsyncIterator[None]:
    """Bolt with its Starlette handler under uvicorn."""
    handler = AsyncSlackRequestHandler(bolt)
    app = Starlette(routes=[Route("/slack/events", handler.handle, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none"))
    running = asyncio.create_task(server.serve())
    await slack.wait_for(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    slack.request_url = f"http://127.0.0.1:{port}/slack/events"
    try:
        yield
    finally:
        server.should_exit = True
        await running


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    """A workspace with the app, no request URL yet."""
    async with FakeSlack() as slack:
        yield slack


@pytest.fixture
def client(slack: FakeSlack) -> AsyncWebClient:
    """The SDK's client with the bot's token."""
    return AsyncWebClient(slack.bot_token, base_url=slack.base_url, retry_handlers=[])


def bolt_app(slack: FakeSlack, client: AsyncWebClient) -> AsyncApp:
    """A bolt app with signature verification."""
    return AsyncApp(client=client, signing_secret=slack.signing_secret, raise_error_for_unhandled_request=False)


async def refused(call: Any) -> dict[str, Any]:
    """The error answer of a call that must be refused."""
    with pytest.raises(SlackApiError) as caught:
        await call
    data: dict[str, Any] = caught.value.response.data  # type: ignore[assignment]
    return data


def section(text: str, **fields: Any) -> dict[str, Any]:
    """A section block."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **fields}


def plain(text: str) -> dict[str, Any]:
    """A plain_text object."""
    return {"type": "plain_text", "text": text}


def button(action_id: str, text: str = "Press", value: str = "v") -> dict[str, Any]:
    """A button."""
    return {"type": "button", "action_id": action_id, "text": plain(text), "value": value}


# Events over HTTP


async def test_a_mention_comes_as_two_signed_events_and_bolt_answers(slack: FakeSlack, client: AsyncWebClient) -> None:
    bolt = bolt_app(slack, client)
    kinds = []

    @bolt.event("app_mention")
    async def mentioned(event: dict[str, Any], say: Any) -> None:
        kinds.append(event["type"])
        await say("At six.", thread_ts=event["ts"])

    @bolt.event("message")
    async def message(event: dict[str, Any]) -> None:
        kinds.append(event["type"])

    workspace = slack.workspace
    ana = workspace.add_user("ana")
    port = workspace.add_channel("port", members=[ana], with_bot=True)
    async with http_app(slack, bolt):
        assert await slack.delivery.verify_request_url()
        question = await workspace.say(ana, port, f"<@{workspace.bot.id}> {QUESTION}")
        answer = (await slack.wait_for(lambda: workspace.from_bot(port, question.ts)))[0]
        await slack.wait_for(lambda: len(kinds) == 2)
        await slack.delivery.settled()
    assert answer.text == "At six." and answer.thread_ts == question.ts
    assert sorted(kinds) == ["app_mention", "message"]  # bolt itself drops the third, the bot's own message
    told = [(delivery.event["type"], delivery.event.get("bot_id")) for delivery in slack.delivery.events]
    assert told == [("message", None), ("app_mention", None), ("message", workspace.bot.bot_id)]
    assert all(delivery.acknowledged and delivery.seconds < 3 for delivery in slack.delivery.events)


async def test_bolt_refuses_a_forged_or_old_signature(slack: FakeSlack, client: AsyncWebClient) -> None:
    bolt = bolt_app(slack, client)
    body = json.dumps({"type": "event_callback", "event": {"type": "message"}})
    async with http_app(slack, bolt), aiohttp.ClientSession() as http:
        for headers in (slack.signed(body, at=1), slack.signed(body) | {"X-Slack-Signature": "v0=00"}):
            headers |= {"Content-Type": "application/json"}
            async with http.post(str(slack.request_url), data=body, headers=headers) as reply:
                assert reply.status == 401
    right = signature(slack.signing_secret, 5, body)
    assert SignatureVerifier(slack.signing_secret).generate_signature(timestamp="5", body=body) == right


async def test_retries_carry_number_and_reason_and_stop_after_three(slack: FakeSlack) -> None:
    workspace = slack.workspace
    workspace.add_channel("port", members=[workspace.owner], with_bot=True)
    async with http_app(slack, statuses=[500, 503, 200]) as seen:
        await workspace.say("olga", "port", "hello")
        await slack.delivery.settled()
        numbers = [(one.headers.get("X-Slack-Retry-Num"), one.headers.get("X-Slack-Retry-Reason")) for one in seen]
        assert numbers == [(None, None), ("1", "http_error"), ("2", "http_error")]
    async with http_app(slack, statuses=[500] * 9) as seen:
        await workspace.say("olga", "port", "hello again")
        await slack.delivery.settled()
        assert len(seen) == 4 and not slack.delivery.events[-1].acknowledged
    slack.delivery.ack_seconds = 0.1
    async with http_app(slack, delay=0.4) as seen:
        await workspace.say("olga", "port", "slow")
        await slack.delivery.settled()
        assert [attempt.failure for attempt in slack.delivery.events[-1].attempts] == ["http_timeout"] * 4
    await workspace.say("olga", "port", "nobody there")
    await slack.delivery.settled()
    assert slack.delivery.events[-1].attempts[0].failure == "connection_failed"


async def test_events_are_repeated_shuffled_held_and_acks_lost(slack: FakeSlack) -> None:
    workspace = slack.workspace
    workspace.add_channel("port", members=[workspace.owner], with_bot=True)
    async with http_app(slack) as seen:
        slack.delivery.hold()
        texts = [f"message {number}" for number in range(8)]
        for text in texts:
            await workspace.say("olga", "port", text)
        assert not seen
        slack.delivery.release(shuffle=random.Random(3), copies=4)
        await slack.delivery.settled()
        got = [(await one.json())["event"]["text"] for one in seen]
        assert sorted(got) == sorted(texts * 4) and got != sorted(got)
        slack.delivery.drop_acks = 1
        await workspace.say("olga", "port", "once more")
        await slack.delivery.settled()
        attempts = slack.delivery.events[-1].attempts
        assert [one.failure for one in attempts] == ["http_timeout", None] and attempts[1].number == 1


async def test_only_what_the_bot_may_see_is_told(slack: FakeSlack) -> None:
    workspace = slack.workspace
    ana = workspace.add_user("ana", real_name=None, display_name=None, email=None)
    secret = workspace.add_channel("secret", members=[ana], kind="group")
    async with http_app(slack):
        await workspace.say(ana, secret, "not for the bot")
        await workspace.say("olga", "general", "the bot is not here either")
        await workspace.join(workspace.bot, secret)
        root = await workspace.say(ana, secret, "root")
        reply = await workspace.say(ana, secret, "reply", thread_ts=root.ts)
        await workspace.edit(secret, reply.ts, "edited")
        await workspace.unfurl(secret, reply.ts)
        await workspace.react(ana, secret, reply.ts, "thumbsup")
        await workspace.unreact(ana, secret, reply.ts, "thumbsup")
        await workspace.delete(secret, root.ts)
        await workspace.delete(secret, reply.ts)
        await workspace.leave(workspace.bot, secret)
        await workspace.say(ana, secret, "gone again")
        await slack.delivery.settled()
    events = [delivery.event for delivery in slack.delivery.events]
    assert [(event["type"], event.get("subtype")) for event in events] == [
        ("member_joined_channel", None),
        ("message", "group_join"),
        ("message", None),
        ("message", None),
        ("message", "message_changed"),
        ("message", "message_changed"),
        ("reaction_added", None),
        ("reaction_removed", None),
        ("message", "message_changed"),
        ("message", "message_deleted"),
        ("member_left_channel", None),
        ("group_left", None),
    ]
    assert events[5]["message"]["text"] == events[5]["previous_message"]["text"] == "edited"
    assert events[8]["message"]["subtype"] == "tombstone"


async def test_workspaces_are_apart_and_direct_messages_need_no_mention(slack: FakeSlack) -> None:
    other = slack.add_workspace("Other")
    first = slack.workspace
    there = AsyncWebClient(slack.token_of(other), base_url=slack.base_url)
    port = first.add_channel("port", with_bot=True, is_ext_shared=True)
    guest = first.add_user("guest", team_id=other.id)
    assert (await refused(there.conversations_info(channel=port.id)))["error"] == "channel_not_found"
    async with http_app(slack):
        await first.say(guest, port, "hello from elsewhere")
        await first.say("olga", first.dm("olga"), f"<@{first.bot.id}> {QUESTION}")
        await other.say("olga", other.dm("olga"), QUESTION)
        await slack.delivery.settled()
    payloads = [delivery.payload for delivery in slack.delivery.events]
    assert [(one["team_id"], one["event"]["type"], one["event"]["channel_type"]) for one in payloads] == [
        (first.id, "message", "channel"),
        (first.id, "message", "im"),
        (other.id, "message", "im"),
    ]
    assert payloads[0]["is_ext_shared_channel"] and payloads[0]["event"]["user_team"] == other.id
    assert len({one["event_id"] for one in payloads}) == 3


async def test_uninstalling_kills_the_token(slack: FakeSlack, client: AsyncWebClient) -> None:
    async with http_app(slack):
        await slack.workspace.uninstall()
        await slack.delivery.settled()
    assert {one.event["type"] for one in slack.delivery.events} == {"tokens_revoked", "app_uninstalled"}
    assert (await refused(client.auth_test()))["error"] == "account_inactive"


# The Web API


async def test_posting_and_its_refusals(slack: FakeSlack, client: AsyncWebClient) -> None:
    workspace = slack.workspace
    port = workspace.add_channel("port", with_bot=True)
    old = workspace.add_channel("old", with_bot=True, is_archived=True)
    private = workspace.add_channel("private", kind="group")
    theirs = await workspace.say("olga", port, "theirs", silent=True)
    own = await client.chat_postMessage(channel=port.id, text="mine", thread_ts=theirs.ts)
    assert own["message"]["bot_id"] == workspace.bot.bot_id
    refusals = {
        "channel_not_found": client.chat_postMessage(channel=private.id, text="x"),
        "not_in_channel": client.chat_postMessage(channel=workspace.general.id, text="x"),
        "is_archived": client.chat_postMessage(channel=old.id, text="x"),
        "no_text": client.api_call("chat.postMessage", json={"channel": port.id}),
        "msg_too_long": client.chat_postMessage(channel=port.id, text="x" * 40_001),
        "invalid_thread_ts": client.chat_postMessage(channel=port.id, text="x", thread_ts="soon"),
        "thread_not_found": client.chat_postMessage(channel=port.id, text="x", thread_ts="1764100000.000100"),
        "cant_update_message": client.chat_update(channel=port.id, ts=theirs.ts, text="x"),
        "message_not_found": client.chat_update(channel=port.id, ts="1764100000.000100", text="x"),
        "no_reaction": client.reactions_remove(channel=port.id, timestamp=theirs.ts, name="eyes"),
        "unknown_method": client.api_call("chat.sing"),
        "not_authed": AsyncWebClient(base_url=slack.base_url).auth_test(),
        "invalid_auth": AsyncWebClient("xoxb-none", base_url=slack.base_url).auth_test(),
    }
    for error, call in refusals.items():
        assert (await refused(call))["error"] == error
    await client.reactions_add(channel=port.id, timestamp=theirs.ts, name="eyes")
    again = await refused(client.reactions_add(channel=port.id, timestamp=theirs.ts, name="eyes"))
    assert again["error"] == "already_reacted"
    slack.tokens.check(slack.bot_token).scopes.remove("users:read")
    missing = await refused(client.users_list())
    assert (missing["error"], missing["needed"]) == ("missing_scope", "users:read")
    assert "chat:write" in missing["provided"]


async def test_updating_text_takes_blocks_away_and_keeps_metadata(slack: FakeSlack, client: AsyncWebClient) -> None:
    port = slack.workspace.add_channel("port", with_bot=True)
    metadata = {"event_type": "answer", "event_payload": {"id": 7}}
    posted = await client.chat_postMessage(channel=port.id, text="a", blocks=[section("a")], metadata=metadata)
    updated = await client.chat_update(channel=port.id, ts=posted["ts"], text="b")
    assert slack.workspace.message(port, posted["ts"]).blocks == [] and updated["message"]["edited"]
    page = await client.conversations_history(channel=port.id, include_all_metadata=True)
    assert page["messages"][0]["metadata"] == metadata


async def test_pages_of_history_replies_and_members(slack: FakeSlack, client: AsyncWebClient) -> None:
    workspace = slack.workspace
    people = [workspace.add_user(f"user{number}") for number in range(5)]
    port = workspace.add_channel("port", members=people, with_bot=True)
    stamps = [f"17641000{number:02d}.000100" for number in range(10)]
    for ts in stamps:
        await workspace.say(people[0], port, ts, ts=ts, silent=True)
    for number in range(5):
        await workspace.say(people[1], port, f"reply {number}", thread_ts=stamps[0], silent=True)
    found = [
        message["ts"]
        async for page in await client.conversations_history(channel=port.id, limit=3)
        for message in page["messages"]
    ]
    assert found == stamps[::-1]
    part = await client.conversations_history(channel=port.id, oldest=stamps[2], latest=stamps[5])
    assert [one["ts"] for one in part["messages"]] == [stamps[4], stamps[3]]
    part = await client.conversations_history(channel=port.id, oldest=stamps[2], latest=stamps[5], inclusive=True)
    assert len(part["messages"]) == 4
    thread = await client.conversations_replies(channel=port.id, ts=stamps[0], limit=4)
    assert [one["text"] for one in thread["messages"]] == [stamps[0], "reply 0", "reply 1", "reply 2"]
    assert thread["has_more"] and thread["messages"][0]["reply_count"] == 5
    members = [
        one async for page in await client.conversations_members(channel=port.id, limit=2) for one in page["members"]
    ]
    assert members == port.members
    users = [one["id"] async for page in await client.users_list(limit=2) for one in page["members"]]
    assert users == list(workspace.users)


async def test_blocks_are_refused_as_slack_words_it(slack: FakeSlack, client: AsyncWebClient) -> None:
    port = slack.workspace.add_channel("port", with_bot=True)
    feedback = {"type": "feedback_buttons", "action_id": "f", "positive_button": {"text": plain("+"), "value": "up"}}
    cases: list[tuple[list[Any], str]] = [
        ([section("x" * 3001)], "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
        ([section("")], "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
        ([{"type": "section"}], "must define either `text` or `fields` [json-pointer:/blocks/0]"),
        ([section("x")] * 51, "no more than 50 items allowed [json-pointer:/blocks]"),
        ([{"type": "poster"}], "unsupported type: poster [json-pointer:/blocks/0/type]"),
        (
            [{"type": "header", "text": plain("x" * 151)}],
            "must be less than 151 characters [json-pointer:/blocks/0/text/text]",
        ),
        (
            [{"type": "actions", "elements": [button("a")] * 26}],
            "no more than 25 items allowed [json-pointer:/blocks/0/elements]",
        ),
        (
            [{"type": "actions", "elements": [button("a"), button("a")]}],
            "`action_id` a already exists for this block [json-pointer:/blocks/0]",
        ),
        (
            [{"type": "actions", "elements": [button("a", "x" * 76)]}],
            "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]",
        ),
        (
            [{"type": "actions", "elements": [button("a", value="x" * 2001)]}],
            "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]",
        ),
        (
            [{"type": "context_actions", "elements": [button("a")]}],
            "unsupported type: button [json-pointer:/blocks/0/elements/0/type]",
        ),
        (
            [{"type": "context_actions", "elements": [feedback]}],
            "missing required field: negative_button [json-pointer:/blocks/0/elements/0]",
        ),
        (
            [section("a", block_id="b"), section("a", block_id="b")],
            "`block_id` b already exists [json-pointer:/blocks/1/block_id]",
        ),
        (
            [{"type": "markdown", "text": "x" * 12_001}],
            "must be less than 12001 characters [json-pointer:/blocks/0/text]",
        ),
    ]
    for blocks, reason in cases:
        error = await refused(client.chat_postMessage(channel=port.id, text="x", blocks=blocks))
        assert error["error"] == "invalid_blocks"
        assert f"[ERROR] {reason}" in error["response_metadata"]["messages"]
    long = [section("x" * 2900)] * 5
    assert (await refused(client.chat_postMessage(channel=port.id, text="x", blocks=long)))[
        "error"
    ] == "msg_blocks_too_long"
    feedback["negative_button"] = {"text": plain("-"), "value": "down"}
    good = [
        {"type": "markdown", "text": "**hi**"},
        {"type": "divider"},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "from the handbook"}]},
        {
            "type": "context_actions",
            "elements": [feedback, {"type": "icon_button", "icon": "trash", "text": plain("x")}],
        },
        {"type": "actions", "elements": [button("go")]},
    ]
    await client.chat_postMessage(channel=port.id, text="x", blocks=good)


# Interactions and views


async def test_clicks_modals_and_answers(slack: FakeSlack, client: AsyncWebClient) -> None:
    workspace = slack.workspace
    bolt = bolt_app(slack, client)
    bodies: list[dict[str, Any]] = []
    modal = {
        "type": "modal",
        "callback_id": "correct",
        "title": plain("Correct"),
        "submit": plain("Save"),
        "blocks": [
            {
                "type": "input",
                "block_id": "right",
                "label": plain("What is right?"),
                "element": {"type": "plain_text_input", "action_id": "text"},
            }
        ],
    }

    @bolt.action("feedback")
    async def feedback(ack: Any, body: dict[str, Any], respond: Any) -> None:
        await ack()
        bodies.append(body)
        await respond("Thank you", replace_original=False)

    @bolt.action("fix")
    async def fix(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=modal)

    @bolt.view("correct")
    async def correct(ack: Any, view: dict[str, Any]) -> None:
        said = view["state"]["values"]["right"]["text"]["value"]
        if len(said) < 5:
            await ack(response_action="errors", errors={"right": "Too short"})
        else:
            await ack()

    @bolt.command("/nightschool")
    async def command(ack: Any, body: dict[str, Any]) -> None:
        await ack(f"you said {body['text']}")

    ana = workspace.add_user("ana")
    port = workspace.add_channel("port", members=[ana], with_bot=True)
    thumbs = {
        "type": "feedback_buttons",
        "action_id": "feedback",
        "positive_button": {"text": plain("Good"), "value": "12:up"},
        "negative_button": {"text": plain("Bad"), "value": "12:down"},
    }
    blocks = [{"type": "context_actions", "elements": [thumbs]}, {"type": "actions", "elements": [button("fix")]}]
    async with http_app(slack, bolt):
        posted = await client.chat_postMessage(channel=port.id, text="At six.", blocks=blocks)
        assert (await workspace.click(ana, port, posted["ts"], "feedback", "negative")).acknowledged
        thanks = (await slack.wait_for(lambda: workspace.ephemeral(ana)))[0]
        assert thanks.text == "Thank you"
        assert bodies[0]["actions"][0]["value"] == "12:down"
        assert bodies[0]["message"]["ts"] == bodies[0]["container"]["message_ts"] == posted["ts"]
        with pytest.raises(LookupError):
            await workspace.click(ana, port, posted["ts"], "nothing")
        await workspace.click(ana, port, posted["ts"], "fix")
        view = (await slack.wait_for(lambda: workspace.views_of(ana)))[0]
        with pytest.raises(ValueError, match="What is right"):
            await workspace.submit(ana, view.id, {})
        assert (await workspace.submit(ana, view.id, {"text": "7"})).response["errors"] == {"right": "Too short"}
        assert workspace.views_of(ana) == [view]
        await workspace.submit(ana, view.id, {"text": "We close at seven."})
        assert workspace.views_of(ana) == []
        await workspace.command(ana, port, "/nightschool", "help")
        assert workspace.ephemeral(ana)[-1].text == "you said help"


async def test_home_buttons_menus_and_pushed_modals(slack: FakeSlack, client: AsyncWebClient) -> None:
    bolt = bolt_app(slack, client)
    states: list[dict[str, Any]] = []
    options = [{"text": plain(name), "value": name.lower()} for name in ("On", "Off")]
    menu = {"type": "static_select", "action_id": "training", "options": options, "initial_option": options[1]}
    modal = {
        "type": "modal",
        "callback_id": "settings",
        "title": plain("Settings"),
        "submit": plain("Save"),
        "blocks": [{"type": "input", "block_id": "t", "label": plain("Training"), "element": menu}],
    }

    @bolt.event("app_home_opened")
    async def home(event: dict[str, Any]) -> None:
        view = {"type": "home", "blocks": [{"type": "actions", "block_id": "a", "elements": [button("settings")]}]}
        await client.views_publish(user_id=event["user"], view=view)

    @bolt.action("settings")
    async def settings(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=modal)

    @bolt.view("settings")
    async def saved(ack: Any, view: dict[str, Any]) -> None:
        states.append(view["state"]["values"])
        done = {"type": "modal", "title": plain("Done"), "blocks": [section("Saved")]}
        await ack(response_action="push" if len(states) == 1 else "clear", view=done)

    workspace = slack.workspace
    async with http_app(slack, bolt):
        await workspace.open_home("olga")
        page = await slack.wait_for(lambda: workspace.home_of("olga"))
        await workspace.click_in_view("olga", page.id, "settings")
        view = (await slack.wait_for(lambda: workspace.views_of("olga")))[0]
        with pytest.raises(LookupError):
            await workspace.submit("olga", view.id, {"training": "perhaps"})
        await workspace.submit("olga", view.id, {"training": "on"})
        assert [one.json["title"]["text"] for one in workspace.views_of("olga")] == ["Settings", "Done"]
        await workspace.submit("olga", view.id)
        assert workspace.views_of("olga") == []
    chosen = [state["t"]["training"]["selected_option"]["value"] for state in states]
    assert chosen == ["on", "off"]


async def test_triggers_are_good_once_and_for_three_seconds(slack: FakeSlack, client: AsyncWebClient) -> None:
    workspace = slack.workspace
    modal = {"type": "modal", "title": plain("A"), "blocks": [section("a")]}
    trigger = workspace.trigger(workspace.owner)
    root = await client.views_open(trigger_id=trigger, view=modal)
    again = await refused(client.views_open(trigger_id=trigger, view=modal))
    assert again["error"] == "exchanged_trigger_id"
    late = workspace.trigger(workspace.owner)
    slack.trigger_seconds = 0
    assert (await refused(client.views_open(trigger_id=late, view=modal)))["error"] == "expired_trigger_id"
    slack.trigger_seconds = 3
    changed = await client.views_update(view_id=root["view"]["id"], view=modal | {"title": plain("B")})
    stale = await refused(client.views_update(view_id=root["view"]["id"], view=modal, hash=root["view"]["hash"]))
    assert changed["view"]["title"]["text"] == "B" and stale["error"] == "hash_conflict"
    bad = await refused(client.views_publish(user_id=workspace.owner.id, view={"type": "home"}))
    assert "[ERROR] missing required field: blocks [json-pointer:/view]" in bad["response_metadata"]["messages"]
    long = modal | {"title": plain("x" * 25)}
    assert (await refused(client.views_open(trigger_id=workspace.trigger(workspace.owner), view=long)))["error"] == (
        "invalid_arguments"
    )
    await client.views_publish(user_id=workspace.owner.id, view={"type": "home", "blocks": [section("hello")]})
    home = workspace.home_of("olga")
    assert home is not None and home.blocks[0]["text"]["text"] == "hello"


async def test_a_response_url_is_good_five_times(slack: FakeSlack, client: AsyncWebClient) -> None:
    workspace = slack.workspace
    port = workspace.add_channel("port", with_bot=True)
    posted = await client.chat_postMessage(channel=port.id, text="first")
    hook = AsyncWebhookClient(
        slack.responses.make(workspace, port, workspace.owner, posted["ts"], None, None), retry_handlers=[]
    )
    await hook.send(text="second", replace_original=True)
    assert workspace.message(port, posted["ts"]).text == "second"
    await hook.send(text="for all", response_type="in_channel")
    await hook.send(text="for one")
    assert (await hook.send(text="x", blocks=[section("")])).body == "invalid_blocks"
    await hook.send(delete_original=True)
    assert [message.text for message in workspace.from_bot(port)] == ["for all"]
    assert [one.text for one in workspace.ephemeral("olga")] == ["for one"]
    assert (await hook.send(text="sixth")).status_code == 404


# Streams and the assistant


async def test_streams_follow_their_rules(slack: FakeSlack, client: AsyncWebClient) -> None:
    workspace = slack.workspace
    port = workspace.add_channel("port", members=[workspace.owner], with_bot=True)
    question = await workspace.say("olga", port, QUESTION, silent=True)
    where = {"channel": port.id, "thread_ts": question.ts}
    reader = {"recipient_team_id": workspace.id, "recipient_user_id": workspace.owner.id}
    no_team = await refused(client.chat_startStream(**where))
    no_user = await refused(client.chat_startStream(**where, recipient_team_id=workspace.id))
    assert (no_team["error"], no_user["error"]) == ("missing_recipient_team_id", "missing_recipient_user_id")
    stream = await client.chat_stream(**where, **reader, buffer_size=1)
    await stream.append(markdown_text="We close ")
    await stream.append(markdown_text="at **six**")
    own = {"channel": port.id, "ts": str(stream.ts)}
    assert (await refused(client.chat_update(**own, text="x")))["error"] == "streaming_state_conflict"
    assert (await refused(client.chat_delete(**own)))["error"] == "cant_delete_message"
    await stream.stop(markdown_text=".", blocks=[section("Handbook")])
    message = workspace.message(port, own["ts"])
    assert message.text == "We close at **six**." and message.blocks[-1]["text"]["text"] == "Handbook"
    after = await refused(client.chat_appendStream(**own, markdown_text="more"))
    assert after["error"] == "message_not_in_streaming_state"
    await client.chat_update(**own, text="We close at seven.")
    second = await client.chat_startStream(**where, **reader, markdown_text="a")
    workspace.expire_stream(port, second["ts"])
    late = await refused(client.chat_stopStream(channel=port.id, ts=second["ts"]))
    assert late["error"] == "message_not_in_streaming_state"
    theirs = await refused(client.chat_appendStream(channel=port.id, ts=question.ts, markdown_text="x"))
    assert theirs["error"] == "message_not_owned_by_app"


async def test_bolts_assistant_runs_in_the_pane(slack: FakeSlack, client: AsyncWebClient) -> None:
    bolt = bolt_app(slack, client)
    assistant = AsyncAssistant()

    @assistant.thread_started
    async def started(say: Any, set_suggested_prompts: Any) -> None:
        await say("Ask me.")
        await set_suggested_prompts(prompts=[{"title": "Closing", "message": QUESTION}])

    @assistant.user_message
    async def asked(set_status: Any, set_title: Any, say: Any, payload: dict[str, Any]) -> None:
        await set_status("is thinking…")
        await set_title(payload["text"])
        await say("At six.")

    bolt.use(assistant)
    workspace = slack.workspace
    ana = workspace.add_user("ana")
    async with http_app(slack, bolt):
        thread = await workspace.open_assistant(ana, workspace.general)
        await slack.wait_for(lambda: thread.prompts)
        await workspace.say(ana, thread.channel, QUESTION, thread_ts=thread.thread_ts)
        await slack.wait_for(lambda: len(workspace.from_bot(thread.channel, thread.thread_ts)) == 3)
        await slack.delivery.settled()
    assert thread.title == QUESTION and thread.statuses == ["is thinking…", ""]
    first = workspace.from_bot(thread.channel, thread.thread_ts)[1]
    assert first.metadata == {
        "event_type": "assistant_thread_context",
        "event_payload": {"channel_id": workspace.general.id, "team_id": workspace.id, "enterprise_id": None},
    }


# Faults, limits, older servers


async def test_faults_happen_when_ordered(slack: FakeSlack, client: AsyncWebClient) -> None:
    workspace = slack.workspace
    port = workspace.add_channel("port", with_bot=True)
    slack.fail_next("chat.postMessage", status=429, retry_after=2)
    with pytest.raises(SlackApiError) as limited:
        await client.chat_postMessage(channel=port.id, text="x")
    assert limited.value.response.headers["Retry-After"] == "2" and limited.value.response.status_code == 429
    slack.fail_next("chat.postMessage", error="internal_error", after=True)
    assert (await refused(client.chat_postMessage(channel=port.id, text="got through")))["error"] == "internal_error"
    assert [message.text for message in workspace.messages(port)] == ["got through"]
    slack.fail_next("chat.postMessage", status=500)
    with pytest.raises(SlackApiError):
        await client.chat_postMessage(channel=port.id, text="x")
    slack.fail_next(None, drop=True)
    with pytest.raises(aiohttp.ClientError):
        await client.auth_test()
    slack.without("chat.startStream")
    assert (await refused(client.api_call("chat.startStream")))["error"] == "unknown_method"
    assert [call.status for call in slack.calls_of("chat.postMessage")] == [429, 200, 500]


async def test_rate_limits_by_channel(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.limits.on = True
    one, two = (slack.workspace.add_channel(name, with_bot=True) for name in ("one", "two"))
    with pytest.raises(SlackApiError, match="ratelimited"):
        for _ in range(20):
            await client.chat_postMessage(channel=one.id, text="x")
    assert 3 <= len(slack.workspace.from_bot(one)) < 10
    await client.chat_postMessage(channel=two.id, text="x")
    slack.limits.commercial = True
    for number in range(20):
        await slack.workspace.say("olga", two, str(number), silent=True)
    assert len((await client.conversations_history(channel=two.id, limit=200))["messages"]) == 15
    assert (await refused(client.conversations_history(channel=two.id)))["error"] == "ratelimited"


async def test_an_old_server_knows_less() -> None:
    async with FakeSlack(mode="old") as slack:
        client = AsyncWebClient(slack.bot_token, base_url=slack.base_url)
        port = slack.workspace.add_channel("port", with_bot=True)
        streaming = client.chat_startStream(channel=port.id, thread_ts="1764100000.000100")
        assert (await refused(streaming))["error"] == "unknown_method"
        new = client.chat_postMessage(channel=port.id, text="x", blocks=[{"type": "markdown", "text": "x"}])
        assert (await refused(new))["error"] == "invalid_blocks"
        await client.chat_postMessage(channel=port.id, text="x", blocks=[section("x")])


# Socket Mode


@asynccontextmanager
async def socket_app(slack: FakeSlack, bolt: AsyncApp) -> AsyncIterator[AsyncSocketModeHandler]:
    """A bolt app connected by Socket Mode."""
    handler = AsyncSocketModeHandler(bolt, slack.app_token, ping_interval=1)
    await handler.connect_async()
    await slack.wait_for(lambda: slack.sockets.connections)
    try:
        yield handler
    finally:
        await handler.close_async()
        with suppress(asyncio.CancelledError):
            await handler.client.message_processor


async def test_socket_mode_acknowledges_redelivers_and_reconnects(slack: FakeSlack, client: AsyncWebClient) -> None:
    workspace = slack.workspace
    workspace.add_channel("port", members=[workspace.owner], with_bot=True)
    slack.sockets.ping_seconds = 0.05
    bolt = bolt_app(slack, client)
    got: list[str] = []

    @bolt.event("message")
    async def message(event: dict[str, Any]) -> None:
        got.append(event["text"])

    @bolt.command("/nightschool")
    async def command(ack: Any) -> None:
        await ack("here")

    async with socket_app(slack, bolt):
        await slack.delivery.settled()
        got.clear()
        await workspace.say("olga", "port", "one")
        await slack.delivery.settled()
        assert got == ["one"] and slack.delivery.events[-1].acknowledged
        slack.delivery.drop_acks = 1
        await workspace.say("olga", "port", "two")
        await slack.delivery.settled()
        assert got == ["one", "two", "two"]
        assert (await workspace.command("olga", "port", "/nightschool")).response == {"text": "here"}
        async with socket_app(slack, bolt_app(slack, client)):
            assert len(slack.sockets.connections) == 2
        await slack.sockets.disconnect("refresh_requested")
        await slack.wait_for(lambda: slack.sockets.opened == 3)
        await workspace.say("olga", "port", "three")
        await slack.delivery.settled()
        assert got[-1] == "three"


async def test_an_unanswered_envelope_comes_again_on_another_connection(slack: FakeSlack) -> None:
    slack.delivery.ack_seconds = 0.2
    port = slack.workspace.add_channel("port", with_bot=True)
    app = AsyncWebClient(base_url=slack.base_url)
    async with aiohttp.ClientSession() as http:
        links = [await app.apps_connections_open(app_token=slack.app_token) for _ in range(2)]
        sockets = [await http.ws_connect(str(link["url"])) for link in links]
        hellos = [(await socket.receive_json())["num_connections"] for socket in sockets]
        assert hellos == [1, 2]
        await slack.workspace.say("olga", port, "hello")
        first, second = await asyncio.gather(*(socket.receive_json(timeout=5) for socket in sockets))
        assert first["payload"] == second["payload"] and first["envelope_id"] != second["envelope_id"]
        assert sorted((one["retry_attempt"], one["retry_reason"]) for one in (first, second)) == [
            (0, ""),
            (1, "timeout"),
        ]
        again = sockets[0] if first["retry_attempt"] == 1 else sockets[1]
        await again.send_json({"envelope_id": (first if again is sockets[0] else second)["envelope_id"]})
        await slack.wait_for(lambda: slack.delivery.events[-1].acknowledged)
        for socket in sockets:
            await socket.close()


# OAuth


async def test_installing_with_and_without_rotation(slack: FakeSlack) -> None:
    second = slack.add_workspace("Second", installed=False)
    slack.installing = second
    client = AsyncWebClient(base_url=slack.base_url)
    home = "http://127.0.0.1:1/slack/oauth_redirect"
    generator = AuthorizeUrlGenerator(
        client_id=slack.client_id,
        redirect_uri=home,
        scopes=["chat:write", "commands"],
        authorization_url=f"{slack.url}/oauth/v2/authorize",
    )

    async def consent() -> str:
        address = generator.generate(state="s1")
        async with aiohttp.ClientSession() as http, http.get(address, allow_redirects=False) as reply:
            assert reply.status == 302
            back = parse_qs(urlsplit(reply.headers["Location"]).query)
        assert back["state"] == ["s1"]
        return back["code"][0]

    secrets = {"client_id": slack.client_id, "client_secret": slack.client_secret}
    code = await consent()
    wrong = secrets | {"client_secret": "no"}
    assert (await refused(client.oauth_v2_access(**wrong, code=code)))["error"] == "bad_client_secret"
    installed = await client.oauth_v2_access(**secrets, code=code, redirect_uri=home)
    assert (installed["team"]["id"], installed["scope"]) == (second.id, "chat:write,commands")
    who = await AsyncWebClient(installed["access_token"], base_url=slack.base_url).auth_test()
    assert (who["team_id"], who["bot_id"]) == (second.id, second.bot.bot_id)
    assert who.headers["x-oauth-scopes"] == "chat:write,commands"
    used = await refused(client.oauth_v2_access(**secrets, code=code, redirect_uri=home))
    assert used["error"] == "code_already_used"
    slack.tokens.rotation = True
    rotating = await client.oauth_v2_access(**secrets, code=await consent(), redirect_uri=home)
    refresh = {"grant_type": "refresh_token", "refresh_token": rotating["refresh_token"]}
    renewed = await client.oauth_v2_access(**secrets, **refresh)
    assert renewed["access_token"] != rotating["access_token"] and renewed["expires_in"] == 43_200
    assert (await refused(client.oauth_v2_access(**secrets, **refresh)))["error"] == "invalid_refresh_token"
    slack.tokens.check(renewed["access_token"]).expires = 0
    expired = AsyncWebClient(renewed["access_token"], base_url=slack.base_url).auth_test()
    assert (await refused(expired))["error"] == "token_expired"


# A process of its own


async def test_it_runs_as_a_process_and_people_act_by_control() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.slack", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        facts = json.loads(await process.stdout.readline())
        client = AsyncWebClient(facts["bot_token"], base_url=facts["base_url"])
        assert (await client.auth_test())["user_id"] == facts["bot_user_id"]
        async with aiohttp.ClientSession() as http:

            async def act(act_name: str, /, **args: Any) -> Any:
                async with http.post(facts["control_url"], json={"act": act_name, "args": args}) as reply:
                    return await reply.json()

            assert (await act("add_channel", name="port", members=[], with_bot=True))["ok"]
            said = await act("say", user="olga", channel="port", text="hello")
            assert said["result"]["text"] == "hello"
            assert "no act sing" in (await act("sing"))["error"]
    finally:
        process.terminate()
        assert await process.wait() == 0
