"""Presses, dialogs and emoji where they are awkward: never silent, for those alone who may, and for all where all read."""

from typing import Any

import pytest

from bot.emoji import choose
from bot.slack import app, blocks
from storage import audiences, channels, feedback, memories, persons, posts, sources
from storage.answers import NewAnswer
from storage.answers import save as save_answer
from storage.memories import NewMemory
from storage.posts import Post
from tests.bot.slack.conftest import OPENS, Office, shown, words

QUESTION = "When does the Lisbon office open?"


async def failed(office: Office) -> list[Any]:
    """The events that were given up."""
    async with office.database.team(office.team.id) as connection:
        return await (await connection.execute("SELECT kind, error FROM events WHERE error IS NOT NULL")).fetchall()


async def given(office: Office) -> list[tuple[str, str]]:
    """The feedback that stands."""
    async with office.database.team(office.team.id) as connection:
        return [(one.kind, one.value) for one in await feedback.standing(connection)]


async def home(office: Office, user: Any) -> Any:
    """What somebody sees who opens the Home."""
    await office.ws.open_home(user)
    await office.quiet()
    return office.ws.home_of(user)


async def privately(office: Office, user: Any, answer: Any) -> Any:
    """What somebody is shown who asks the same in private."""
    office.ws.ephemerals.clear()
    await office.ws.click(user, office.channel, answer.ts, blocks.PRIVATELY)
    await office.quiet()
    [said] = office.ws.ephemeral(user)
    return said


# Dialogs


async def test_remember_this_where_the_bot_is_not_says_so(office: Office) -> None:
    elsewhere = office.ws.add_channel("elsewhere", members=[office.ana])
    secret = office.ws.add_channel("secret", kind="group", members=[office.ana])
    for place in (elsewhere, secret):
        office.ws.ephemerals.clear()
        said = await office.ws.say(office.ana, place, "The door code is 4711.")
        await office.ws.shortcut(office.ana, "remember_this", place, said.ts)
        assert office.ws.views_of(office.ana) == []
        assert await office.whispers(office.ana, "I am not in this channel")
    said = await office.ws.say(office.ana, office.channel, "The door code is 4711.")
    await office.ws.shortcut(office.ana, "remember_this", office.channel, said.ts)
    [view] = office.ws.views_of(office.ana)
    await office.ws.leave(office.ws.bot, office.channel)
    office.ws.ephemerals.clear()
    await office.ws.submit(office.ana, view.id, {blocks.TEXT: "The door code is 4711."})
    assert await office.whispers(office.ana, "I am not in this channel")
    assert await failed(office) == []


async def test_a_dialog_that_is_too_late_is_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    said = await office.ws.say(office.ana, office.channel, "The door code is 4711.")
    await office.quiet()
    monkeypatch.setattr(app, "DIALOG_SECONDS", 0.1)
    office.slack.fail_next("views.open", delay=0.5)
    await office.ws.click(office.ben, office.channel, answer.ts, blocks.WHY)
    assert await office.whispers(office.ben, "once more")
    office.ws.ephemerals.clear()
    office.slack.fail_next("conversations.info", delay=0.5)
    await office.ws.shortcut(office.ben, "remember_this", office.channel, said.ts)
    assert await office.whispers(office.ben, "once more")


async def test_an_answer_that_may_not_be_read_is_not_corrected_in_silence(office: Office) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    async with office.database.team(office.team.id) as connection:
        post = await posts.get(connection, "slack", office.channel.id, answer.ts)
        ana = await persons.identify(connection, "slack", office.ana.id, "")
        alone = await audiences.person(connection, ana.id)
        await connection.execute("UPDATE answers SET audience_id = %s WHERE id = %s", [alone.id, post.answer_id])
    for act in ("why", "negative", "privately"):
        office.ws.ephemerals.clear()
        if act == "negative":
            await office.ws.click(office.ben, office.channel, answer.ts, blocks.THUMBS, "negative")
        else:
            await office.ws.click(office.ben, office.channel, answer.ts, act)
        assert await office.whispers(office.ben, "what you may not see"), act
    assert office.ws.views_of(office.ben) == []


# Private answers


async def test_ask_privately_forgets_what_was_forgotten(office: Office) -> None:
    _, answer = await office.ask(office.ana, "What is the number of the locker?")
    im = office.ws.dm(office.ana)
    await office.ws.say(office.ana, im, "remember that the number of the locker is 12")
    await office.quiet()
    assert "12" in shown(await privately(office, office.ana, answer))
    await office.ws.say(office.ana, im, "forget the number of the locker is 12")
    await office.quiet()
    assert "12" not in shown(await privately(office, office.ana, answer))


async def test_a_published_answer_is_corrected_for_all_who_read_it(office: Office) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, "Who waters the plants?")
    im = office.ws.dm(office.ana)
    await office.ws.say(office.ana, im, "remember that Carla waters the plants every Monday")
    await office.quiet()
    own = await privately(office, office.ana, answer)
    await office.ws.click(office.ana, office.channel, own.ts, blocks.PUBLISH)
    await office.quiet()
    public = next(one for one in office.ws.from_bot(office.channel) if "asked:" in shown(one))
    assert "Carla" in shown(public) and not office.ws.ephemeral(office.ana)
    root = public.thread_ts or public.ts
    await office.ws.say(office.ben, office.channel, "no, Dmitri waters the plants every Monday.", thread_ts=root)
    await office.quiet()
    assert await office.whispers(office.ben, "tonight at 02:00")
    _, again = await office.ask(office.ben, "Who waters the plants?")
    assert "Dmitri" in shown(again)


@pytest.mark.parametrize("office", [{"slack": {"mode": "old"}}], indirect=True)
@pytest.mark.parametrize("act", ["ask", "privately", "publish"])
async def test_private_answers_on_an_older_server_after_a_restart(office: Office, act: str) -> None:
    await office.page()
    if act == "ask":
        await office.ws.command(office.ana, office.channel, "/nightschool", f"ask {QUESTION}")
    else:  # said by an earlier process: this one does not know yet how old the server is
        async with office.database.team(office.team.id) as connection:
            ana = await persons.identify(connection, "slack", office.ana.id, "ana")
            everyone = (await audiences.whole_team(connection)).id
            new = NewAnswer("slack", QUESTION, OPENS, "notes", ana.id, everyone, event_id="earlier")
            earlier = await save_answer(connection, new)
        root = office.ws.post(
            office.channel, office.ws.bot, "earlier", silent=True,
            blocks=[blocks.actions([blocks.button("x", act, earlier.id)]) | {"block_id": "b"}],
        )  # fmt: skip
        await office.ws.click(office.ana, office.channel, root.ts, act)
    await office.quiet()
    seen = office.ws.from_bot(office.channel) if act == "publish" else office.ws.ephemeral(office.ana)
    assert [OPENS in shown(one) for one in seen] == [True]
    assert "markdown" not in str([block["type"] for block in seen[0].blocks]) and await failed(office) == []


# Emoji


async def test_an_emoji_on_an_answer_that_is_being_written_waits_for_it(office: Office) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    async with office.database.team(office.team.id) as connection:
        post = await posts.get(connection, "slack", office.channel.id, answer.ts)
        await posts.drop(connection, "slack", office.channel.id, answer.ts)
        await posts.save(connection, Post("slack", office.channel.id, answer.ts, post.thread, post.event_id))
    await office.ws.react(office.ben, office.channel, answer.ts, "heart")
    await office.slack.delivery.settled()
    # As if it had been looked at many times already.
    async with office.database.system() as connection:
        await connection.execute("UPDATE errands SET attempts = 9 WHERE team = %s", [office.team.id])
    async with office.database.team(office.team.id) as connection:
        await posts.save(connection, post)
    await office.quiet()
    assert await given(office) == [("emoji", "up")]


async def test_an_emoji_without_a_meaning_by_now_is_still_taken_off(office: Office) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    await office.ws.react(office.ben, office.channel, answer.ts, "heart")
    await office.quiet()
    assert await given(office) == [("emoji", "up")]
    await choose(office.database, office.team, "heart", "nothing")
    await office.front.renew(office.team.id)
    await office.ws.unreact(office.ben, office.channel, answer.ts, "heart")
    await office.quiet()
    assert await given(office) == []


# The Home and the pane


async def test_own_and_training_are_switched_in_the_home(office: Office) -> None:
    await office.ws.say(office.ana, office.channel, "Good morning, the printer is broken.")
    await office.quiet()

    async def training() -> bool:
        async with office.database.team(office.team.id) as connection:
            return next(one.training for one in await sources.all(connection) if one.kind == "slack")

    view = await home(office, office.ana)
    assert "Study what I write: *on*" in words(view.blocks)
    await office.ws.click_in_view(office.ana, view.id, blocks.OWN, "study off")
    await office.quiet()
    assert "Study what I write: *off*" in words(office.ws.home_of(office.ana).blocks)
    async with office.database.team(office.team.id) as connection:
        person = await persons.identify(connection, "slack", office.ana.id, "")
        assert person.settings["study"] is False
    owner = await home(office, office.ws.owner)
    press = next(
        block["accessory"] for block in owner.blocks
        if (block.get("accessory") or {}).get("action_id") == blocks.TRAINING and "Slack" in str(block["text"])
    )  # fmt: skip
    assert not await training()
    done = await office.ws.click_in_view(office.ws.owner, owner.id, blocks.TRAINING, press["value"])
    await office.quiet()
    assert await training()
    off = {"action_id": blocks.TRAINING, "value": press["value"].replace(" on", " off"), "type": "button"}
    for user, then in ((office.ana, True), (office.ws.owner, False)):
        forged = {"actions": [off | {"action_ts": office.ws.now()}], "trigger_id": office.ws.trigger(user)}
        await office.slack.delivery.send("interactive", done.payload | {"user": {"id": user.id}} | forged)
        await office.quiet()
        assert await training() is then


async def test_a_refusal_to_settle_is_told_in_the_home(office: Office) -> None:
    async with office.database.team(office.team.id) as connection:
        ben = await persons.identify(connection, "slack", office.ben.id, "ben")
        ana = await persons.identify(connection, "slack", office.ana.id, "ana")
        everyone = (await audiences.whole_team(connection)).id
        kept, held = [
            await memories.tell(
                connection,
                NewMemory(statement=said, context="Who waters?", kind="pinned", person_id=who.id, author=who.name,
                          audience_id=everyone),
            )
            for said, who in (("Carla waters the plants.", ana), ("Dmitri waters the plants.", ben))
        ]  # fmt: skip
        await memories.set_conflict(connection, held.id, "ana against ben", kept.id)
    view = await home(office, office.ben)
    await office.ws.click_in_view(office.ben, view.id, blocks.SETTLE, f"{held.id} {kept.id}")
    await office.quiet()
    assert "one does not decide for one's own word" in words(office.ws.home_of(office.ben).blocks[:1])
    await office.ws.click_in_view(office.ben, view.id, blocks.SETTLE, f"{kept.id} {held.id}")
    await office.quiet()
    assert "one does not decide" not in words(office.ws.home_of(office.ben).blocks)
    assert await failed(office) == []


async def test_an_admin_reads_no_names_of_private_channels(office: Office) -> None:
    board = office.ws.add_channel("redundancies", kind="group", members=[office.ana], with_bot=True)
    await office.ws.say(office.ana, board, "The company is sold to Acme in the spring.")
    await office.ws.say(office.ana, office.channel, "Good morning.")
    await office.quiet()
    async with office.database.team(office.team.id) as connection:
        assert {one.name for one in await channels.all(connection)} == {"redundancies", "port"}
    seen = words((await home(office, office.ws.owner)).blocks)
    assert "a private channel" in seen and "#port" in seen and "redundancies" not in seen


async def test_one_thread_that_is_gone_leaves_the_status_of_the_others(office: Office) -> None:
    await office.page()
    office.slack.fail_next("assistant.threads.setStatus", error="thread_not_found")
    for _ in range(2):
        thread = await office.ws.open_assistant(office.ana)
        await office.quiet()
        await office.ws.say(office.ana, office.ws.dm(office.ana), QUESTION, thread_ts=thread.thread_ts)
        await office.quiet()
    assert thread.statuses
