"""`/nightschool …`: what is promised is what will be done, to whom it answers, and that it is never silent."""

import asyncio
from typing import Any

import pytest

from bot.inbox import Later
from bot.slack import app, blocks
from bot.slack.calls import Unsupported
from bot.slack.responses import respond
from storage import channels, events, memories, persons, sources, teams
from storage.events import NewEvent
from tests.bot.slack.conftest import OPENS, Office, shown

QUESTION = "When does the Lisbon office open?"
REMEMBER = "remember the plants are watered by Carla"


async def command(office: Office, text: str, user: Any = None, channel: Any = None) -> str:
    """All that a command shows to whom it answers."""
    user = user or office.ana
    office.ws.ephemerals.clear()
    assert (await office.ws.command(user, channel or office.channel, "/nightschool", text)).acknowledged
    await office.quiet()
    return "\n".join(shown(one) for one in office.ws.ephemeral(user))


async def failed(office: Office) -> list[Any]:
    """The events that were given up."""
    async with office.database.team(office.team.id) as connection:
        return await (await connection.execute("SELECT kind, error FROM events WHERE error IS NOT NULL")).fetchall()


async def test_study_is_promised_only_where_it_will_be(office: Office) -> None:
    assert "tonight at 02:00" in await command(office, REMEMBER)
    async with office.database.team(office.team.id) as connection:
        person = await persons.identify(connection, "slack", office.ben.id, "")
        await persons.choose(connection, person.id, "study", False)
    assert "not studied" in await command(office, "remember the lift is mended by Dmitri", office.ben)
    async with office.database.team(office.team.id) as connection:
        await sources.switch(connection, (await sources.told(connection)).id, training=False)
    assert "not studied" in await command(office, "remember the door is painted by Nora")


async def test_what_is_told_in_private_by_a_command_can_be_shared(office: Office) -> None:
    board = office.ws.add_channel("board", kind="group", members=[office.ana], with_bot=True)
    said = await command(office, REMEMBER, channel=board)
    assert "not studied" in said and "Share with the team" in said
    [reply] = office.ws.ephemeral(office.ana)
    await office.ws.click(office.ana, board, reply.ts, blocks.SHARE)
    await office.quiet()
    assert await office.whispers(office.ana, "tonight at 02:00")


async def test_who_is_not_heard_has_no_commands_either(office: Office) -> None:
    await office.page()
    robot = office.ws.add_user("robot", is_bot=True)
    eve = office.ws.add_user("eve", team_id="T0ELSEWHERE", is_admin=True)
    hers = office.ws.add_channel("hers", members=[eve, office.ana], with_bot=True, is_ext_shared=True)
    assert hers.creator == eve.id
    for user in (robot, eve):
        for text in ("", "status", "report", f"ask {QUESTION}", REMEMBER, "forget the office", "settings"):
            assert await command(office, text, user, hers) == "", text
        assert office.ws.views_of(user) == []
    async with office.database.team(office.team.id) as connection:
        assert [m for m in await memories.of_states(connection, ["noted"]) if "plants" in m.statement] == []


@pytest.mark.parametrize("office", [{"settings": {"strangers": True}}], indirect=True)
async def test_strangers_who_are_allowed_have_commands(office: Office) -> None:
    await office.page()
    eve = office.ws.add_user("eve", team_id="T0ELSEWHERE")
    assert "8:30" in await command(office, f"ask {QUESTION}", eve)


async def test_the_settings_say_why_they_do_not_open(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await office.page()
    elsewhere = office.ws.add_channel("elsewhere", members=[office.ana])
    secret = office.ws.add_channel("secret", kind="group", members=[office.ana])
    for place in (elsewhere, secret):
        assert "I am not in this channel" in await command(office, "settings", channel=place)
    monkeypatch.setattr(app, "DIALOG_SECONDS", 0.1)
    office.slack.fail_next("conversations.info", delay=0.5)
    assert "once more" in await command(office, "settings")
    assert office.ws.views_of(office.ana) == [] and await failed(office) == []


async def test_the_status_counts_the_teams_own_queue(office: Office) -> None:
    async with office.database.system() as connection:
        other = await teams.ensure(connection, f"{office.team.key}-other")
    async with office.database.team(other.id) as connection:
        new = [NewEvent("elsewhere", f"Ev{number}", "lane", "message", {}) for number in range(5)]
        await events.store(connection, new)  # nobody works these off
    assert "nothing waits" in await command(office, "status")
    async with office.database.system() as connection:
        assert (await events.waiting(connection, other.id))[0] == 5
    async with office.database.team(other.id) as connection:
        await connection.execute("DELETE FROM events")


async def test_a_thread_is_followed_where_the_channel_is_set_so(office: Office) -> None:
    await office.page()
    async with office.database.team(office.team.id) as connection:
        await channels.set_follow(connection, "slack", (await followed(office)).id, "thread")
    asked, _ = await office.ask(office.ana, QUESTION)
    again = await office.ws.say(
        office.ben, office.channel, "Who approves expenses above 250 euros?", thread_ts=asked.ts
    )
    await office.quiet()
    assert "Marta" in shown(office.ws.from_bot(office.channel, asked.ts)[-1])
    assert len(office.ws.from_bot(office.channel, asked.ts)) == 2 and again.thread_ts == asked.ts
    for thread in ({}, {"thread_ts": (await office.ws.say(office.ben, office.channel, "Good morning.")).ts}):
        elsewhere = await office.ws.say(office.ben, office.channel, QUESTION, **thread)
        await office.quiet()
        assert office.ws.from_bot(office.channel, elsewhere.thread_ts or elsewhere.ts) == []


async def followed(office: Office) -> Any:
    """The channel, once it is known to the bot."""
    await office.ws.say(office.ana, office.channel, "Good morning.")
    await office.quiet()
    return office.channel


@pytest.mark.parametrize("office", [{"slack": {"mode": "old"}}], indirect=True)
async def test_a_command_is_answered_by_the_first_try_on_an_older_server(office: Office) -> None:
    await office.page()
    said = await command(office, f"ask {QUESTION}")
    assert OPENS in said and "Post it here" in said
    assert await failed(office) == []


async def test_what_a_reply_by_address_meets() -> None:
    async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async def refused(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 14\r\nConnection: close\r\n\r\ninvalid_blocks")
        await writer.drain()
        writer.close()

    for serve, expected in ((gone, Later), (refused, Unsupported)):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(expected):
            await respond(f"http://127.0.0.1:{port}/", {"text": "x"})
        server.close()
        await server.wait_closed()
