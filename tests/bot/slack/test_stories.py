"""What people of a workspace live through: asked, answered, corrected, remembered, forgotten, confirmed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.morning import announce, set_report_place
from bot.slack import blocks, calls
from storage import adapters, answers, feedback, memories, messages, nights, sources
from tests.bot.slack.conftest import OPENS, Office, shown

QUESTION = "When does the Lisbon office open?"


async def test_a_mention_is_answered_in_its_thread_with_its_source(office: Office) -> None:
    await office.page()
    asked, answer = await office.ask(office.ana, QUESTION)
    assert answer.thread_ts == asked.ts
    assert OPENS in shown(answer)
    assert "https://wiki.example/Handbook" in str(answer.blocks) and "from the notes" in shown(answer)
    assert len(office.ws.from_bot(office.channel, asked.ts)) == 1  # though Slack sends two events for it


async def test_what_is_not_known_is_taught_by_a_reply(office: Office) -> None:
    asked, answer = await office.ask(office.ana, "Who waters the plants?")
    assert "I don't know that yet" in shown(answer) and "Teach me" in shown(answer)
    reply = await office.ws.say(office.ben, office.channel, "Carla waters them every Monday.", thread_ts=asked.ts)
    await office.quiet()
    assert await office.whispers(office.ben, "Carla waters them every Monday.")
    assert office.ws.message(office.channel, reply.ts).reactions
    _, again = await office.ask(office.ana, "Who waters the plants?")
    assert "Carla waters them every Monday" in shown(again) and "told by ben" in shown(again).lower()


async def test_a_correction_in_plain_words_holds_at_once(office: Office) -> None:
    await office.page()
    asked, _ = await office.ask(office.ana, QUESTION)
    await office.ws.say(office.ben, office.channel, "no, the office in Lisbon opens at 9:00.", thread_ts=asked.ts)
    await office.quiet()
    [said] = await office.whispers(office.ben, "opens at 9:00")
    assert "tonight at 02:00" in said
    _, again = await office.ask(office.ana, QUESTION)
    assert "9:00" in shown(again) and "8:30" not in shown(again)


async def test_a_direct_message_is_answered_and_stays_private(office: Office) -> None:
    await office.page()
    im = office.ws.dm(office.ana)
    await office.ws.say(office.ana, im, QUESTION)
    await office.quiet()
    [answer] = office.ws.from_bot(im)
    assert OPENS in shown(answer)
    await office.ws.say(office.ana, im, "remember that my locker is number 12")
    await office.quiet()
    said = shown(office.ws.from_bot(im)[-1])
    assert "locker is number 12" in said and "not studied" in said and "Share with the team" in said
    _, elsewhere = await office.ask(office.ben, "What is the number of the locker?")
    assert "12" not in shown(elsewhere)


async def test_thumbs_and_emoji_are_counted_and_taken_back(office: Office) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    await office.ws.click(office.ben, office.channel, answer.ts, blocks.THUMBS, "positive")
    await office.ws.react(office.ana, office.channel, answer.ts, "heart")
    await office.quiet()
    assert await office.whispers(office.ben, "Noted: good.") and await office.whispers(office.ana, "heart")
    assert sorted((f.kind, f.value) for f in await given(office)) == [("emoji", "up"), ("thumbs", "up")]
    await office.ws.unreact(office.ana, office.channel, answer.ts, "heart")
    await office.quiet()
    assert [(f.kind, f.value) for f in await given(office)] == [("thumbs", "up")]


async def test_a_thumb_down_opens_the_dialog_and_what_is_written_there_is_learnt(office: Office) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    await office.ws.click(office.ben, office.channel, answer.ts, blocks.THUMBS, "negative")
    [view] = office.ws.views_of(office.ben)
    refused = await office.ws.submit(office.ben, view.id, {blocks.TEXT: "   "})
    assert refused.response["response_action"] == "errors"
    await office.ws.submit(office.ben, view.id, {blocks.TEXT: "The office in Lisbon opens at 7:15."})
    await office.quiet()
    assert await office.whispers(office.ben, "7:15")
    _, again = await office.ask(office.ana, QUESTION)
    assert "7:15" in shown(again)


async def test_talk_is_kept_for_the_notes_and_trains_nothing(office: Office) -> None:
    said = await office.ws.say(office.ben, office.channel, "The printer on the third floor is broken until Friday.")
    await office.quiet()
    answer = await until_known(office, "Is the printer on the third floor broken?")
    assert "broken until Friday" in shown(answer)
    assert said.ts.replace(".", "") in str(answer.blocks)  # a link to the message
    async with office.database.team(office.team.id) as connection:
        [memory] = [m for m in await memories.of_states(connection, ["noted"]) if "printer" in m.statement]
    assert not memory.source_trains


async def test_an_edit_and_a_deletion_change_what_is_known(office: Office) -> None:
    said = await office.ws.say(office.ben, office.channel, "The printer on the third floor is broken until Friday.")
    await until_known(office, "Is the printer on the third floor broken?")
    await office.ws.edit(office.channel, said.ts, "The printer on the third floor is broken until Sunday.")
    await office.quiet()
    await settle_index(office)
    _, answer = await office.ask(office.ana, "Is the printer on the third floor broken?")
    assert "until Sunday" in shown(answer) and "Friday" not in shown(answer)
    await office.ws.delete(office.channel, said.ts)
    await office.quiet()
    _, answer = await office.ask(office.ana, "Is the printer on the third floor broken?")
    assert "I don't know" in shown(answer)


async def test_an_edited_question_gets_its_answer_anew_in_the_same_place(office: Office) -> None:
    await office.page()
    asked, answer = await office.ask(office.ana, QUESTION)
    await office.ws.edit(office.channel, asked.ts, f"{office.at} Who approves expenses above 250 euros?")
    await office.quiet()
    [now] = office.ws.from_bot(office.channel, asked.ts)
    assert now.ts == answer.ts and "Marta" in shown(now) and OPENS not in shown(now)


async def test_of_a_question_only_its_last_words_are_kept_and_none_when_it_is_deleted(office: Office) -> None:
    """What somebody asked may be studied where its answer is liked: not what was not meant, or was taken back."""

    async def words() -> list[str]:
        async with office.database.team(office.team.id) as connection:
            return [answer.question for answer in await answers.recent(connection, datetime(2020, 1, 1, tzinfo=UTC))]

    await office.page()
    asked, _ = await office.ask(office.ana, QUESTION)
    assert await words() == [QUESTION]
    await office.ws.edit(office.channel, asked.ts, f"{office.at} Who approves expenses above 250 euros?")
    await office.quiet()
    assert await words() == ["", "Who approves expenses above 250 euros?"]
    await office.ws.delete(office.channel, asked.ts)
    await office.quiet()
    assert await words() == ["", ""]


async def test_an_edited_remember_says_only_its_last_words(office: Office) -> None:
    said = await office.ws.say(office.ana, office.channel, f"{office.at} remember that the door code is 4711.")
    await office.quiet()
    await office.ws.edit(office.channel, said.ts, f"{office.at} remember that the lift code is 4712.")
    await office.quiet()
    assert await office.whispers(office.ana, "4712")
    assert await told(office) == ["The lift code is 4712."]
    await office.ws.edit(office.channel, said.ts, f"{office.at} remember that the lift code is 4713.")
    office.slack.delivery.hold()
    late = await office.ws.say(office.ben, office.channel, f"{office.at} remember that the gym code is 1.")
    for number in (2, 3):
        await office.ws.edit(office.channel, late.ts, f"{office.at} remember that the gym code is {number}.")
    office.slack.delivery.release(backwards=True, copies=2)
    await office.quiet()
    assert await told(office) == ["The gym code is 3.", "The lift code is 4713."]
    await office.ws.edit(office.channel, said.ts, "They say that somebody cleaned the lift today.")
    await office.quiet()
    assert await told(office) == ["The gym code is 3."]
    async with office.database.team(office.team.id) as connection:
        assert [one.text for one in await messages.current(connection)] == [
            "They say that somebody cleaned the lift today."
        ]


async def test_a_deleted_remember_is_forgotten(office: Office) -> None:
    said = await office.ws.say(office.ana, office.channel, f"{office.at} remember that the door code is 4711.")
    await office.quiet()
    assert await told(office) == ["The door code is 4711."]
    _, answer = await office.ask(office.ben, "What is the door code?")
    assert "4711" in shown(answer)
    await office.ws.delete(office.channel, said.ts)
    await office.quiet()
    assert await told(office) == []
    _, answer = await office.ask(office.ben, "What is the door code?")
    assert "4711" not in shown(answer)


@pytest.mark.parametrize("fault", [{"status": 429, "retry_after": 1}, {"drop": True}], ids=["429", "drop"])
async def test_it_forgets_once_though_its_confirmation_fails(
    office: Office, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(calls, "AGAIN_SECONDS", 0.05)
    near = ["The cellar's door is painted green.", "The key to the cellar's door hangs behind Carla's desk."]
    for fact in ("The cellar's door opens with code 4711.", *near):
        await office.ws.say(office.ana, office.channel, f"{office.at} remember that {fact}")
    await office.quiet()
    assert len(await told(office)) == 3
    office.slack.fail_next("chat.postEphemeral", times=2, **fault)
    await office.ws.say(office.ana, office.channel, f"{office.at} forget the code of the cellar's door")
    assert len(await office.whispers(office.ana, "Forgotten: “The cellar's door opens with code 4711.” I do not")) == 1
    assert sorted(await told(office)) == sorted(near)


async def test_everything_delivered_four_times_shuffled_ends_the_same(office: Office) -> None:
    await office.page()
    office.slack.delivery.repeats = 4
    asked, answer = await office.ask(office.ana, QUESTION)
    office.slack.delivery.hold()
    await office.ws.react(office.ana, office.channel, answer.ts, "heart")
    await office.ws.unreact(office.ana, office.channel, answer.ts, "heart")
    await office.ws.react(office.ben, office.channel, answer.ts, "x")
    said = await office.ws.say(
        office.ben, office.channel, "no, the office in Lisbon opens at 9:00.", thread_ts=asked.ts
    )
    await office.ws.edit(office.channel, said.ts, "no, the office in Lisbon opens at 9:45.")
    office.slack.delivery.release(backwards=True, copies=4)
    await office.quiet()
    assert len(office.ws.from_bot(office.channel, asked.ts)) == 1
    kinds = sorted((f.kind, f.value, f.text) for f in await given(office))
    assert kinds == [("correction", "", "The office in Lisbon opens at 9:45."), ("emoji", "down", "x")]


async def test_a_private_channel_is_known_to_its_members_only(office: Office) -> None:
    board = office.ws.add_channel("board", kind="group", members=[office.ana], with_bot=True)
    await office.ws.say(office.ana, board, "The company is sold to Acme in the spring.")
    await office.quiet()
    await settle_index(office)
    _, public = await office.ask(office.ana, "Who is the company sold to?")
    assert "Acme" not in shown(public)
    await office.ws.click(office.ana, office.channel, public.ts, blocks.PRIVATELY)
    await office.quiet()
    [alone] = [one for one in office.ws.ephemeral(office.ana) if "Acme" in one.text]
    assert not [one for one in office.ws.ephemeral(office.ben) if "Acme" in one.text]
    await office.ws.click(office.ana, office.channel, alone.ts, blocks.PUBLISH)
    await office.quiet()
    assert any("Acme" in shown(one) for one in office.ws.from_bot(office.channel, public.thread_ts))


async def test_what_is_said_once_a_channel_is_private_is_its_members(office: Office) -> None:
    room = office.ws.add_channel("room", members=[office.ana], with_bot=True)
    await office.ws.say(office.ana, room, "The printer on the third floor is broken until Friday.")
    await office.quiet()
    await office.ws.convert_to_private(room)
    await office.quiet()
    await office.ws.say(office.ana, room, "The company is sold to Acme in the spring.")
    assert "Acme" not in shown(await until_known(office, "Who is the company sold to?"))
    _, answer = await office.ask(office.ben, "Is the printer on the third floor broken?")
    assert "until Friday" in shown(answer), "what was public stays so"


async def test_why_shows_route_and_evidence(office: Office) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    await office.ws.click(office.ana, office.channel, answer.ts, blocks.WHY)
    [view] = office.ws.views_of(office.ana)
    assert "route: notes" in str(view.json) and "opens at 8:30" in str(view.json)


async def test_shortcuts_remember_and_correct(office: Office) -> None:
    await office.page()
    said = await office.ws.say(office.ben, office.channel, "The door code is 4711.")
    await office.ws.shortcut(office.ana, "remember_this", office.channel, said.ts)
    [view] = office.ws.views_of(office.ana)
    await office.ws.submit(office.ana, view.id, {blocks.TEXT: "The door code is 4711."})
    await office.quiet()
    assert await office.whispers(office.ana, "The door code is 4711.")
    _, answer = await office.ask(office.ben, QUESTION)
    await office.ws.shortcut(office.ben, "correct_this", office.channel, answer.ts)
    [view] = office.ws.views_of(office.ben)
    await office.ws.submit(office.ben, view.id, {blocks.TEXT: "The office in Lisbon opens at 6:00."})
    await office.quiet()
    assert await office.whispers(office.ben, "6:00")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("help", "/nightschool ask"),
        ("status", "At work"),
        ("report", "no night yet"),
        ("ask When does the Lisbon office open?", "8:30"),
        ("remember the plants are watered by Carla", "plants are watered by Carla"),
        ("forget the flying carpet of Samarkand", "I know nothing near enough"),
        ("dance", "I do not understand"),
    ],
)
async def test_commands_answer_to_one_alone(office: Office, text: str, expected: str) -> None:
    await office.page()
    before = len(office.ws.messages(office.channel))
    await office.ws.command(office.ana, office.channel, "/nightschool", text)
    await office.quiet()
    assert any(expected in one.text or expected in str(one.blocks) for one in office.ws.ephemeral(office.ana))
    assert len(office.ws.messages(office.channel)) == before


async def test_a_channels_settings_are_its_admins_to_choose(office: Office) -> None:
    await office.page()
    await office.ws.command(office.ws.owner, office.channel, "/nightschool", "settings")
    [view] = office.ws.views_of(office.ws.owner)
    await office.ws.submit(office.ws.owner, view.id, {blocks.FOLLOW: "all", blocks.REPORT: []})
    await office.quiet()
    asked = await office.ws.say(office.ana, office.channel, QUESTION)
    assert OPENS in shown((await office.answers(asked))[0])
    silent = await office.ws.say(office.ana, office.channel, "Who is the king of the moon?")
    await office.quiet()
    assert office.ws.from_bot(office.channel, silent.ts) == []
    await office.ws.command(office.ben, office.channel, "/nightschool", "settings")
    [view] = office.ws.views_of(office.ben)
    assert not [block for block in view.json["blocks"] if block["type"] == "input"]


async def test_bots_and_strangers_are_not_heard(office: Office) -> None:
    await office.page()
    robot = office.ws.add_user("robot", is_bot=True)
    stranger = office.ws.add_user("eve", team_id="T0ELSEWHERE")
    for user in (robot, stranger):
        asked = await office.ws.say(user, office.channel, f"{office.at} {QUESTION}")
        await office.quiet()
        assert office.ws.from_bot(office.channel, asked.ts) == []
    async with office.database.team(office.team.id) as connection:
        assert await messages.current(connection) == []


async def test_the_home_shows_what_became_of_corrections(office: Office) -> None:
    asked, _ = await office.ask(office.ana, "Who waters the plants?")
    await office.ws.say(office.ben, office.channel, "Carla waters the plants.", thread_ts=asked.ts)
    await office.quiet()
    await office.ws.open_home(office.ben)
    await office.quiet()
    assert "Carla waters the plants" in str(office.ws.home_of(office.ben).json)
    assert "For admins" not in str(office.ws.home_of(office.ben).json)
    await office.ws.open_home(office.ws.owner)
    await office.quiet()
    assert "For admins" in str(office.ws.home_of(office.ws.owner).json)


async def test_the_assistant_greets_and_answers_in_its_thread(office: Office) -> None:
    await office.page()
    await office.ask(office.ben, QUESTION)
    thread = await office.ws.open_assistant(office.ana)
    await office.quiet()
    im = office.ws.dm(office.ana)
    assert any("Hello!" in shown(one) for one in office.ws.from_bot(im, thread.thread_ts))
    assert QUESTION in str(thread.prompts)
    await office.ws.say(office.ana, im, QUESTION, thread_ts=thread.thread_ts)
    await office.quiet()
    assert OPENS in shown(office.ws.from_bot(im, thread.thread_ts)[-1])
    assert thread.statuses


@pytest.mark.parametrize("office", [{"slack": {"mode": "old"}}], indirect=True)
async def test_it_works_with_less_comfort_on_an_older_server(office: Office) -> None:
    await office.page()
    asked, answer = await office.ask(office.ana, QUESTION)
    assert OPENS in shown(answer)
    await office.ws.click(office.ben, office.channel, answer.ts, blocks.DOWN)
    await office.quiet()
    assert await office.whispers(office.ben, "Reply in the thread")
    await office.ws.say(office.ben, office.channel, "no, the office in Lisbon opens at 9:00.", thread_ts=asked.ts)
    await office.quiet()
    _, again = await office.ask(office.ana, QUESTION)
    assert "9:00" in shown(again)


@pytest.mark.parametrize("office", [{"mode": "socket"}], indirect=True)
async def test_it_works_over_a_socket(office: Office) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    assert OPENS in shown(answer)
    await office.slack.sockets.disconnect("refresh_requested")
    _, again = await office.ask(office.ben, QUESTION)
    assert OPENS in shown(again)


async def given(office: Office) -> list[Any]:
    """The feedback that stands."""
    async with office.database.team(office.team.id) as connection:
        return await feedback.standing(connection)


async def told(office: Office) -> list[str]:
    """What people told to remember and is known."""
    async with office.database.team(office.team.id) as connection:
        known = await memories.of_states(connection, ["noted", "studied", "learnt"])
    return sorted(one.statement for one in known if one.kind == "pinned")


async def settle_index(office: Office) -> None:
    """Waits until what was said is in the notes."""
    desk = await office.front.desk(office.team.id)
    await desk.indexing.settled()


async def until_known(office: Office, question: str) -> Any:
    """Asks once what was said is in the notes."""
    await office.quiet()
    await settle_index(office)
    _, answer = await office.ask(office.ana, question)
    return answer


async def test_two_who_contradict_are_settled_by_a_button_in_the_report(office: Office) -> None:
    first, _ = await office.ask(office.ana, "Who waters the plants?")
    await office.ws.say(office.ana, office.channel, "Carla waters the plants.", thread_ts=first.ts)
    second, _ = await office.ask(office.ben, "Who takes care of watering the plants in the office?")
    await office.ws.say(office.ben, office.channel, "no, Dmitri waters the plants.", thread_ts=second.ts)
    await office.quiet()
    async with office.database.team(office.team.id) as connection:
        told = {m.statement: m for m in await memories.of_states(connection, ["noted"])}
        kept, held = told["Carla waters the plants."], told["Dmitri waters the plants."]
        await memories.set_conflict(connection, held.id, "ana against ben", kept.id)
        adapter = await adapters.ensure(connection)
        night = await nights.begin(connection, adapter.id)
        await nights.end(connection, night.id, "released", {"verdict": "Version 1 is at work.", "learnt": []})
    await set_report_place(office.database, office.team, "slack", office.channel.id)
    async with office.database.team(office.team.id) as connection:
        ended = await nights.get(connection, night.id)
    await announce(office.database, office.team, ended)
    await announce(office.database, office.team, ended)
    await office.quiet()
    [report] = [one for one in office.ws.from_bot(office.channel) if "Good morning" in shown(one)]
    value = f"{held.id} {kept.id}"
    await office.ws.click(office.ben, office.channel, report.ts, blocks.SETTLE, value)
    assert await office.whispers(office.ben, "one does not decide for one's own word")
    await office.ws.click(office.ws.owner, office.channel, report.ts, blocks.SETTLE, value)
    await office.quiet()
    _, answer = await office.ask(office.ana, "Who waters the plants?")
    assert "Dmitri" in shown(answer) and "Carla" not in shown(answer)


async def test_what_was_taught_in_private_is_shared_only_by_who_taught_it(office: Office) -> None:
    im = office.ws.dm(office.ana)
    await office.ws.say(office.ana, im, "Who waters the plants?")
    await office.quiet()
    await office.ws.say(office.ana, im, "Carla waters them every Monday.")
    await office.quiet()
    confirmation = office.ws.from_bot(im)[-1]
    _, unknown = await office.ask(office.ben, "Who waters the plants?")
    assert "Carla" not in shown(unknown)
    [button] = [e for block in confirmation.blocks if block["type"] == "actions" for e in block["elements"]]
    assert "Who waters the plants?" in str(button["confirm"]) and "Carla waters them" in str(button["confirm"])
    await office.ws.click(office.ana, im, confirmation.ts, blocks.SHARE)
    await office.quiet()
    assert "tonight at 02:00" in shown(office.ws.from_bot(im)[-1])
    _, known = await office.ask(office.ben, "Who waters the plants?")
    assert "Carla" in shown(known)


async def test_talk_that_serves_nothing_is_not_kept(office: Office) -> None:
    await office.ws.say(office.ben, office.channel, "The printer is broken.")
    await office.quiet()
    async with office.database.team(office.team.id) as connection:
        [source] = [one for one in await sources.all(connection) if one.kind == "slack"]
        assert source.retrieval and not source.training
        await sources.switch(connection, source.id, retrieval=False)
    await office.ws.say(office.ben, office.channel, "The printer is mended.")
    await office.quiet()
    async with office.database.team(office.team.id) as connection:
        assert [one.text for one in await messages.current(connection)] == ["The printer is broken."]
