"""What people and Slack may throw at it: places that are gone, people without names, wild texts, forged values; an outcome each."""

import json
from typing import Any

from bot.slack import blocks
from storage import answers, feedback, teams
from storage.answers import NewAnswer
from storage.database import Database
from storage.teams import Team
from tests.bot.slack.conftest import Office

QUESTION = "When does the Lisbon office open?"


async def failed(database: Database, team: Team) -> list[str]:
    """Why events were given up."""
    async with database.team(team.id) as connection:
        rows = await (await connection.execute("SELECT kind, error FROM events WHERE error IS NOT NULL")).fetchall()
    return [f"{row['kind']}: {row['error']}" for row in rows]


async def send(office: Office, payload: dict[str, Any], kind: str = "interactive") -> Any:
    """A payload of our own making, signed by Slack, and what came of it."""
    delivery = await office.slack.delivery.send(kind, payload)
    await office.quiet()
    return delivery


# Texts


TEXTS = {
    "40,000 characters": "When " + "very " * 8000 + "late?",
    "one word of 40,000": "x" * 40_000,
    "right to left": "\u202bمتى يفتح المكتب؟\u202c",
    "Hebrew": "מתי נפתח המשרד?",
    "emoji": ":tada: :+1: 🎉🎉",
    "zalgo": "W" + "\u0301\u0302\u0303\u0336" * 300 + "hen?",
    "NUL": "When\u0000 does it\u0000 open?",
    "lone surrogates": "When \ud83d does \udc00 it open?",
    "nothing but the mention": "",
    "spaces": " \u200b\u00a0\u3000 ",
    "200 mentions": " ".join(f"<@U09{n:07d}>" for n in range(200)) + " when?",
    "entities": "&lt;@U1&gt; &amp;amp; <https://a.example|b> <!date^1^{date}|x> <!subteam^S1|@x> <#C1|> when?",
    "unclosed": "<@ <! <https:// `when ```",
    "overrides": "\u202eevil\u202c when?",
    "many question marks": "?" * 3000,
    "many lines": "\n" * 5000 + "when?",
    "a percent sign and braces": "%s %(x)s {0} {when}?",
}


async def test_any_text_is_answered_or_told_why_not(office: Office) -> None:
    await office.page()
    for case, text in TEXTS.items():
        before = len(office.ws.ephemeral(office.ana))
        asked = await office.ws.say(office.ana, office.channel, f"{office.at} {text}")
        await office.quiet()
        found = office.ws.from_bot(office.channel, asked.ts)
        told = len(office.ws.ephemeral(office.ana)) - before
        assert (len(found), told) in ((1, 0), (0, 1)), case
        for said in ("no, it is " + text, text):
            await office.ws.say(office.ben, office.channel, said, thread_ts=asked.ts)
        await office.ws.say(office.ben, office.channel, text)
        await office.ws.say(office.ben, office.ws.dm(office.ben), text)
        await office.quiet()
        assert len(office.ws.from_bot(office.channel, asked.ts)) == len(found), case
    assert await failed(office.database, office.team) == []


async def test_who_only_writes_about_it_is_not_answered(office: Office) -> None:
    await office.page()
    for text in (
        f"`{office.at}` {QUESTION}",
        f"```{office.at} {QUESTION}```",
        f"&gt; {office.at} {QUESTION}",
        f"&gt;&gt;&gt; he wrote\n{office.at} {QUESTION}",
    ):
        asked = await office.ws.say(office.ana, office.channel, text)
        await office.quiet()
        assert office.ws.from_bot(office.channel, asked.ts) == [], text


SUBTYPES = """
    assistant_app_thread bot_add bot_message bot_remove channel_archive channel_convert_to_private channel_join
    channel_leave channel_name channel_posting_permissions channel_purpose channel_topic channel_unarchive
    document_mention ekm_access_denied file_comment file_mention file_share group_archive group_join group_leave
    group_name group_purpose group_topic group_unarchive huddle_thread me_message message_replied pinned_item
    reminder_add reply_broadcast reply_broadcasted sh_room_created thread_broadcast tombstone unpinned_item
    something_new_in_2030
""".split()  # noqa: SIM905 - readable so


async def test_every_subtype_is_heard_or_passed_over(office: Office) -> None:
    await office.page()
    for subtype in SUBTYPES:
        for text in (f"{office.at} {QUESTION}", ""):
            fields = {"bot_id": "B0OTHER"} if "bot" in subtype else {}
            asked = await office.ws.say(office.ana, office.channel, text, subtype=subtype, **fields)
            await office.quiet()
            spoken = text and subtype in ("file_share", "me_message", "thread_broadcast")
            assert len(office.ws.from_bot(office.channel, asked.ts)) == (1 if spoken else 0), subtype
    assert await failed(office.database, office.team) == []


async def test_its_own_words_and_previews_are_not_answered(office: Office) -> None:
    await office.page()
    asked, answer = await office.ask(office.ana, QUESTION)
    for ts in (asked.ts, answer.ts):
        await office.ws.unfurl(office.channel, ts)
    await office.ws.say(office.ws.bot, office.channel, f"{office.at} {QUESTION}", bot_id=office.ws.bot.bot_id)
    robot = office.ws.add_user("robot", is_bot=True)
    await office.ws.say(robot, office.channel, f"{office.at} {QUESTION}", bot_id="B0ROBOT")
    await office.ws.say(robot, office.channel, f"{office.at} {QUESTION}")
    await office.ws.react(office.ws.bot, office.channel, answer.ts, "heart")
    await office.ws.react(robot, office.channel, answer.ts, "heart")
    await office.quiet()
    said = [one for one in office.ws.from_bot(office.channel) if one.ts > answer.ts and one.blocks]
    assert said == []
    async with office.database.team(office.team.id) as connection:
        assert await feedback.standing(connection) == []


# People


async def test_people_without_names_or_profiles_are_people(office: Office) -> None:
    await office.page()
    users = [
        office.ws.add_user("", real_name=None, display_name=None, email=None),
        office.ws.add_user("blank", real_name="  ", display_name="\u200b ", email=None),
        office.ws.add_user("gone", deleted=True),
        office.ws.add_user("long", display_name="<!channel> " * 100),
    ]
    for user in users:
        asked = await office.ws.say(user, office.channel, f"{office.at} {QUESTION}")
        await office.quiet()
        assert len(office.ws.from_bot(office.channel, asked.ts)) == 1, user.name
    for error in ("user_not_found", "user_not_visible", "missing_scope", "users_not_found"):
        user = office.ws.add_user(f"hidden{error}")
        office.slack.fail_next("users.info", error=error, times=1)
        asked = await office.ws.say(user, office.channel, f"{office.at} {QUESTION}")
        await office.quiet()
        assert len(office.ws.from_bot(office.channel, asked.ts)) == 1, error
    office.slack.delivery.hold()
    await office.ws.say(office.ana, office.channel, f"{office.at} {QUESTION}")
    for delivery in office.slack.delivery.held or []:
        del delivery.payload["event"]["user"]
        delivery.payload["event"]["ts"] += "1"
    office.slack.delivery.release()
    await office.quiet()
    assert await failed(office.database, office.team) == []


# Payloads


VALUES = [
    *(
        "",
        "up",
        "up ",
        "up x",
        "up 999999999999999999999",
        "up -1",
        "up ٣",
        "down 1e3",
        "down 99999999999999999999",
        "0",
        "-7",
    ),
    *(
        "7.0",
        "９",
        "1 2",
        "1 99999999999999999999999",
        "x" * 2000,
        "study maybe",
        "5 on",
        "99999999999999999999 on",
        "null",
    ),
]
ACTIONS = [
    "thumbs",
    "up",
    "down",
    "why",
    "privately",
    "publish",
    "correct",
    "share",
    "settle",
    "own",
    "training",
    "unheard-of",
    "",
]


async def test_forged_values_and_unknown_actions_do_nothing(office: Office, team: Team, database: Database) -> None:
    await office.page()
    _, answer = await office.ask(office.ana, QUESTION)
    async with database.system() as connection:
        other = await teams.ensure(connection, f"{team.key}-other")
    async with database.team(other.id) as connection:
        theirs = await answers.save(
            connection, NewAnswer("slack", "When?", "At the zebra's hour.", "notes", event_id="x")
        )
    good = await office.ws.click(office.ben, office.channel, answer.ts, "why")
    values = [*VALUES, str(theirs.id), f"up {theirs.id}", f"down {theirs.id}"]
    for number, action in enumerate(ACTIONS):
        for nth, value in enumerate(values):
            made = {
                "action_id": action,
                "value": value,
                "action_ts": f"{1764000000 + number}.{nth:06d}",
                "type": "button",
            }
            trigger = office.ws.trigger(office.ben)
            delivery = await office.slack.delivery.send(
                "interactive", good.payload | {"actions": [made], "trigger_id": trigger}
            )
            assert delivery.acknowledged, (action, value)
    await office.quiet()
    for odd in ({"message": None}, {"container": None}, {"channel": None}, {"user": None}, {"response_url": 5}):
        delivery = await send(office, good.payload | {"trigger_id": office.ws.trigger(office.ben)} | odd)
        assert delivery.acknowledged, odd
    for odd in ({"actions": []}, {"actions": None}, {"actions": ["zebra"]}, {"user": "zebra"}):
        delivery = await send(office, good.payload | {"trigger_id": office.ws.trigger(office.ben)} | odd)
        assert delivery.attempts[-1].status == 400, odd
    assert "zebra" not in str([v.json for v in office.ws.views.values()]) + str(office.ws.ephemerals)
    async with office.database.team(office.team.id) as connection:
        assert await feedback.standing(connection) == []
    assert await failed(office.database, office.team) == []


WEIRD: list[Any] = [[], None, "text", [None], [{"type": "rich_text", "elements": [{"type": None}]}], [[]], {"type": {}}]


async def test_a_shortcut_on_any_message_opens_its_dialog(office: Office) -> None:
    said = await office.ws.say(office.ben, office.channel, "The door code is 4711.")
    good = await office.ws.shortcut(office.ana, "remember_this", office.channel, said.ts)
    for weird in WEIRD:
        for text in ("The code.", "", None, "x" * 40_000, "<!channel> \u0000"):
            message = good.payload["message"] | {"blocks": weird, "text": text, "attachments": weird, "files": weird}
            delivery = await send(
                office, good.payload | {"message": message, "trigger_id": office.ws.trigger(office.ana)}
            )
            assert delivery.acknowledged
            views = office.ws.views_of(office.ana)
            assert views
            for view in views:
                view.is_open = False
    for callback in ("correct_this", "unheard-of", "", None):
        delivery = await send(
            office, good.payload | {"callback_id": callback, "trigger_id": office.ws.trigger(office.ana)}
        )
        assert delivery.acknowledged
    assert await failed(office.database, office.team) == []


async def test_a_dialog_that_comes_back_broken_does_nothing(office: Office) -> None:
    said = await office.ws.say(office.ben, office.channel, "The door code is 4711.")
    await office.ws.shortcut(office.ana, "remember_this", office.channel, said.ts)
    [view] = office.ws.views_of(office.ana)
    good = (await office.ws.submit(office.ana, view.id, {blocks.TEXT: "The door code is 4711."})).payload
    await office.quiet()
    written = good["view"]["state"]
    metadata = ["", "{", "[]", "null", '"x"', "{}", '{"answer": "x", "channel": 5}']
    metadata += ['{"answer": 99999999999999999999}', json.dumps({"answer": 999, "channel": office.channel.id})]
    states = [written, None, {}, {"values": None}, {"values": {blocks.TEXT: {}}}]
    for number, callback in enumerate((blocks.CORRECTION, blocks.REMEMBER, blocks.SETTINGS, "unheard-of", None)):
        for nth, given in enumerate(metadata):
            for state in states:
                id = f"V{number}{nth}{states.index(state)}"
                broken = {"callback_id": callback, "private_metadata": given, "state": state, "id": id}
                delivery = await office.slack.delivery.send("interactive", good | {"view": good["view"] | broken})
                assert delivery.acknowledged, (callback, given, state)
    await office.quiet()
    assert all("channel_not_found" in why for why in await failed(office.database, office.team))
    async with office.database.team(office.team.id) as connection:
        assert await feedback.standing(connection) == []


async def test_odd_commands_have_an_outcome(office: Office) -> None:
    for text in ("", " ", "ask", "ask ?", "ask " + "x" * 5000, "remember", "remember \u0000", "forget",
        "forget #99999999999999999999", "settings now", "<@U1>"):  # fmt: skip
        delivery = await office.ws.command(office.ana, office.channel, "/nightschool", text)
        await office.quiet()
        assert delivery.acknowledged and office.ws.ephemeral(office.ana), text
        office.ws.ephemerals.clear()
    private = office.ws.add_channel("secret", kind="group", members=[office.ana])
    for text in ("remember that we close at six", "settings"):
        assert (await office.ws.command(office.ana, private, "/nightschool", text)).acknowledged
        await office.quiet()
    assert await failed(office.database, office.team) == []
