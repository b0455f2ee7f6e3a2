"""Answers on their way: they stream where Slack lets them, and end whole, once, with their controls, whatever is cut off."""

import asyncio
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from bot.answer import Asked
from bot.slack import blocks, calls, outlet
from bot.slack.calls import client
from bot.slack.outlet import Outlet, Place, Reply
from storage import answers, feedback, posts
from storage.answers import Answer, Citation, NewAnswer
from tests.bot.slack.conftest import Office, shown

TEXT = "The office in Lisbon opens at 8:30 every morning, and the one in Porto at nine. Bring your badge."
SOURCES = [Citation("Handbook", "https://wiki.example/Handbook", "The office in Lisbon opens at 8:30 every morning.")]


async def stored(office: Office, text: str, event_id: str, asked: Asked | None = None) -> Answer:
    """An answer as the colleague keeps it, once an event."""
    place = (
        {"person_id": asked.person_id, "audience_id": asked.place_audience_id, "thread": asked.thread} if asked else {}
    )
    async with office.database.team(office.team.id) as connection:
        return await answers.save(
            connection,
            NewAnswer("slack", "When?", text, "notes", event_id=event_id, sources=SOURCES, **place),  # type: ignore[arg-type]
        )


async def speaks(
    office: Office,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    *,
    said: str | None = None,
    seconds: float = 0.0,
    size: int = 12,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """The colleague answers any question with `text`, or streams what it `said` first, so many characters at a time."""

    async def answer(asked: Asked, on_text: Callable[[str], None] | None = None) -> Answer:
        async with office.database.team(office.team.id) as connection:
            before = await answers.by_event(connection, "slack", asked.event_id)
        if before:
            if on_text:
                on_text(before.text)
            return before
        begun()
        for start in range(0, len(said or text), size):
            if on_text:
                on_text((said or text)[start : start + size])
            await asyncio.sleep(seconds)
        return await stored(office, text, asked.event_id, asked)

    monkeypatch.setattr((await office.front.desk(office.team.id)).colleague, "answer", answer)


def mouth(office: Office) -> Outlet:
    """The bot's mouth in the office's workspace."""
    return Outlet(
        office.database, office.team.id, office.ws.id, office.ws.bot.id, client(office.slack.bot_token, office.slack.base_url)
    )  # fmt: skip


async def asks(office: Office, text: str = "When does it open?") -> Any:
    """Somebody asks; nothing is waited for."""
    return await office.ws.say(office.ana, office.channel, f"{office.at} {text}")


def whole(message: Any, text: str = TEXT) -> bool:
    """Whether a message says all of the answer, once, with its controls, and no stream goes on."""
    said = message.text if message.stream and not in_blocks(message) else str(message.blocks)
    open_stream = message.stream is not None and message.stream.state == "in_progress"
    return (
        said.count(text) == 1
        and "'up " in str(message.blocks)
        and "Handbook" in str(message.blocks)
        and not open_stream
    )


def in_blocks(message: Any) -> bool:
    """Whether the text stands in a block: it was updated."""
    return any(block["type"] in ("markdown", "section") for block in message.blocks)


async def test_the_first_words_are_there_at_once_and_the_rest_as_it_comes(office: Office) -> None:
    asked = await office.ws.say(office.ana, office.channel, "When?", silent=True)
    place = Place(office.channel.id, asked.ts, office.ana.id, False)
    event_id = f"{office.channel.id}:{asked.ts}"
    reply = Reply(mouth(office), place, event_id, asked.ts)
    clock = asyncio.get_running_loop()
    began = clock.time()
    for start in range(0, len(TEXT), 8):
        reply.piece(TEXT[start : start + 8])
        await asyncio.sleep(0.2)
    await reply.finish(await stored(office, TEXT, event_id))
    [first] = office.slack.calls_of("chat.startStream")
    assert first.at - began < 0.1 + 0.2  # the first piece is not yet a whole word more than "The"
    appended = office.slack.calls_of("chat.appendStream")
    assert len(appended) >= 2
    gaps = [b.at - a.at for a, b in itertools.pairwise(appended)]
    assert all(gap >= outlet.FLUSH_SECONDS - 0.05 for gap in gaps)
    [message] = office.ws.from_bot(office.channel, asked.ts)
    assert message.text == TEXT and whole(message)
    assert not office.slack.calls_of("chat.postMessage", "chat.update", "conversations.replies")


async def test_an_answer_streams_through_the_app(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[float] = []
    await speaks(office, monkeypatch, TEXT, seconds=0.15, begun=lambda: began.append(asyncio.get_running_loop().time()))
    asked = await asks(office)
    await office.slack.wait_for(lambda: office.slack.calls_of("chat.startStream"))
    assert office.slack.calls_of("chat.startStream")[0].at - began[0] < 0.1 + 0.15
    [message] = await office.answers(asked)
    assert message.text == TEXT and whole(message)


async def test_what_turns_out_otherwise_takes_the_streamed_words_place(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await speaks(office, monkeypatch, TEXT, said="The office in Lisbon opens at some hour or other ", seconds=0.1)
    [message] = await office.answers(await asks(office))
    assert whole(message) and "some hour" not in shown(message)


@pytest.mark.parametrize("why", ["unknown_method", "not_allowed", "feature_not_enabled"])
async def test_where_streams_are_refused_a_message_grows(
    office: Office, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    office.slack.fail_next("chat.startStream", error=why, times=99)
    monkeypatch.setattr(outlet, "UPDATE_SECONDS", 0.2)
    await speaks(office, monkeypatch, TEXT, seconds=0.1)
    for _ in range(2):
        [message] = await office.answers(await asks(office))
        assert whole(message)
    assert len(office.slack.calls_of("chat.startStream")) == 1  # it does not ask again
    assert len(office.slack.calls_of("chat.postMessage")) == 2
    updates = [call for call in office.slack.calls_of("chat.update") if not call.args.get("blocks")]
    assert len(updates) >= 4
    gaps = [b.at - a.at for a, b in itertools.pairwise(updates) if a.args["ts"] == b.args["ts"]]
    assert all(gap >= 0.18 for gap in gaps)


def test_a_growing_message_is_updated_about_fifty_times_a_minute() -> None:
    assert outlet.UPDATE_SECONDS == 1.2


async def test_a_stream_that_slack_ends_is_updated(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await speaks(office, monkeypatch, TEXT, seconds=0.2)
    asked = await asks(office)
    [begun] = await office.slack.wait_for(lambda: office.ws.from_bot(office.channel, asked.ts))
    office.ws.expire_stream(office.channel, begun.ts)
    [message] = await office.answers(asked)
    assert message.ts == begun.ts and whole(message)


FAULTS: list[tuple[str, dict[str, Any]]] = [
    (method, fault | {"after": after})
    for method in ("chat.startStream", "chat.appendStream", "chat.stopStream")
    for fault in ({"status": 500}, {"drop": True}, {"error": "internal_error"})
    for after in (False, True)
] + [
    ("chat.startStream", {"status": 429, "retry_after": 1}),
    ("chat.appendStream", {"status": 429, "retry_after": 1}),
    ("chat.stopStream", {"status": 429, "retry_after": 1}),
    ("chat.stopStream", {"error": "message_not_found"}),
    ("chat.appendStream", {"error": "something_new"}),
    ("chat.startStream", {"delay": 1.0}),
    ("chat.stopStream", {"error": "invalid_blocks"}),  # the last, as it takes only older ways from then on
]


@pytest.mark.parametrize("step", [2, pytest.param(1, marks=pytest.mark.slow)])
async def test_whatever_goes_wrong_with_a_stream_one_whole_answer_stands(
    office: Office, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(outlet, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(calls, "AGAIN_SECONDS", 0.1)
    await speaks(office, monkeypatch, TEXT, seconds=0.03)
    channels = [office.ws.add_channel(f"c{n}", members=[office.ana], with_bot=True) for n in range(len(FAULTS))]
    faults = FAULTS[1::step] if step > 1 else FAULTS
    for channel, (method, fault) in zip(channels, faults, strict=False):
        office.slack.fail_next(method, **fault)
        asked = await office.ws.say(office.ana, channel, f"{office.at} When does it open?")
        await office.quiet()
        found = office.ws.from_bot(channel, asked.ts)
        assert len(found) == 1 and whole(found[0]), (method, fault, [shown(one) for one in found])
        assert not office.slack.limits.faults, (method, fault)
        await asyncio.sleep(fault.get("retry_after", 0))  # until then the next would not stream


LONG = "\n\n".join(
    f"Paragraph {n}: " + " ".join(f"word{n}x{m}" for m in range(40)) + f" & <tag{n}> *star{n}*." for n in range(70)
)


@pytest.mark.parametrize("office", [{}, {"slack": {"mode": "old"}}], indirect=True)
async def test_a_long_answer_comes_in_several_messages_and_counts_as_one(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(LONG) > 25_000
    await speaks(office, monkeypatch, LONG, size=4000)
    asked = await asks(office)
    await office.quiet()
    found = office.ws.from_bot(office.channel, asked.ts)
    assert len(found) >= 3
    assert re.findall(r"word\d+x\d+", LONG) == re.findall(
        r"word\d+x\d+", " ".join(str(one.blocks or one.text) for one in found)
    )
    assert [blocks.WHY in str(one.blocks) for one in found] == [False] * (len(found) - 1) + [True]
    for one, name in zip(found, ("heart", "+1", "tada", "x", "100", "pray"), strict=False):
        await office.ws.react(office.ben, office.channel, one.ts, name)
    await office.quiet()
    async with office.database.team(office.team.id) as connection:
        given = await feedback.standing(connection)
    assert len(given) == min(len(found), 6) and len({one.answer_id for one in given}) == 1
    # An edit to a question with a short answer leaves nothing of the long one.
    await speaks(office, monkeypatch, TEXT)
    await office.ws.edit(office.channel, asked.ts, f"{office.at} When does it open, in short?")
    await office.quiet()
    [now] = office.ws.from_bot(office.channel, asked.ts)
    assert now.ts == found[0].ts and TEXT in shown(now)
    async with office.database.team(office.team.id) as connection:
        assert len(await posts.of_event(connection, "slack", f"{office.channel.id}:{asked.ts}")) == 1


@pytest.mark.parametrize("office", [{}, {"slack": {"mode": "old"}}], indirect=True)
async def test_what_grows_when_it_is_made_safe_loses_no_words(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"<w{n}>&&<<" for n in range(1200))
    await speaks(office, monkeypatch, text, size=5000)
    asked = await asks(office)
    await office.quiet()
    said = " ".join(str(one.blocks or one.text) for one in office.ws.from_bot(office.channel, asked.ts))
    assert re.findall(r"w\d+", text) == re.findall(r"(?<=&lt;)w\d+", said)


HOSTILE = [
    "Ask <!channel> or <@U123> or <!subteam^S1> now, @here and @everyone.",
    "See [https://bank.example](https://evil.example) and <https://evil.example|https://bank.example>.",
    "| a | b |\n|---|---|\n| <!here> | `x` |\n\nafter the table",
    "```\n<!channel> in code\n```\nand `<@U1>` here",
    "[a](javascript:alert(1)) ![b](https://evil.example/x.png) \u202eevil\u202c",
    "- one\n  - two <!everyone>\n\n> quoted <!channel>\n\n# head <!here>",
    "unclosed ``` fence <!channel>",
    "unclosed [link](https://evil.example",
    "\u0000 \ud83d lone surrogate",
]


@pytest.mark.parametrize("office", [{}, {"slack": {"mode": "old"}}], indirect=True)
async def test_hostile_answers_ping_nobody_while_they_stream_or_after(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "FLUSH_SECONDS", 0.01)
    for text in HOSTILE:
        text = text.encode("utf-8", "replace").decode().replace("\x00", "")
        await speaks(office, monkeypatch, text, size=3, seconds=0.005)
        asked = await asks(office)
        await office.quiet()
        [message] = office.ws.from_bot(office.channel, asked.ts)
        assert message.blocks and not (message.stream and message.stream.state == "in_progress")
    sent = office.slack.calls_of(
        "chat.startStream", "chat.appendStream", "chat.stopStream", "chat.postMessage", "chat.update"
    )
    for call in sent:
        said = " ".join(str(call.args.get(name) or "") for name in ("markdown_text", "text", "blocks"))
        assert not re.search(r"<[!@#][A-Za-z]", said), said
        assert not re.search(r"(?<![\w\u2060])@(here|channel|everyone)\b", said), said
        assert not re.search(r"<https?://[^>]*\|https?://bank", said), said
        assert "[https://bank.example](" not in said and "](javascript" not in said, said
