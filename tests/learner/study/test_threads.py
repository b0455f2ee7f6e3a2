"""A reply is kept with what it replies to and who said it, and follows when that changes or goes."""

import itertools
from datetime import UTC, datetime

import pytest

from learner import ledger, notes
from storage import messages, passages, persons
from tests.school import School

ASKED = "Should the retro move to Thursday at 16:00?"
DECIDED = f"{ASKED} Ola: Yes, from Monday on."


async def asks(school: School, index: bool = True) -> str:
    return await school.say(f"Hi! {ASKED}", "Nora", key="1", minutes_ago=9, index=index)


async def decides(school: School, index: bool = True) -> str:
    return await school.say("Yes, from Monday on.", "Ola", key="2", thread="1", minutes_ago=8, index=index)


async def standing(school: School) -> tuple[list[str], list[str]]:
    """What the ledger holds, and what the notes show."""
    memories = [m.statement for m in await school.memories("noted", "studied", "learnt") if m.superseded_by is None]
    async with school.database.team(school.team.id) as connection:
        shown = await passages.all(connection, [await school.everyone()])
    return memories, [passage.text for passage in shown]


async def test_a_yes_is_a_decision_with_what_was_asked_and_who_took_it(school: School) -> None:
    await asks(school)
    await school.say("Good question.", "Pia", key="3", thread="1", minutes_ago=8.5)
    await decides(school)
    await school.say("Yes, the printer is on floor 3 again.", "Pia", key="4")
    alone = "Yes, the printer is on floor 3 again."
    assert await standing(school) == ([DECIDED, alone], [DECIDED, alone]), "in its thread only"
    [decision, _] = await school.memories("noted")
    assert decision.author == "Ola" and decision.kind == "message"


async def test_a_question_of_a_narrower_audience_is_not_told_to_a_wider_one(school: School) -> None:
    """A channel that was private when the question was asked: the ids of thread and channel alone would join them."""
    board = await school.private("board", [])
    await school.say(ASKED, "Nora", key="1", audience=board, minutes_ago=9)
    await decides(school)
    assert [m.statement for m in await school.memories() if m.audience_id != board] == []


@pytest.mark.parametrize(
    "said",
    [
        [("Can we bring dogs?", "Nora"), ("No.", "Pia"), ("May partners come along at all.", "Nora")],
        [("Can we move the launch to May?", "Nora"), ("No, sorry.", "Pia"), ("I can book the venue then.", "Ralf")],
        [("Is the printer on floor 3 broken again?", "Ola")],
    ],
)
async def test_a_reply_takes_no_question_that_is_answered_already_nor_its_own_authors(
    school: School, said: list[tuple[str, str]]
) -> None:
    for number, (text, author) in enumerate(said):
        await school.say(
            text, author, key=str(number), thread="0" if number else None, minutes_ago=9 - number, index=False
        )
    await school.say("Yes, and I booked it for Monday.", "Ola", key="9", thread="0", minutes_ago=1)
    memories, shown = await standing(school)
    assert memories == shown and "Ola: Yes, and I booked it for Monday." in memories


async def test_what_was_forgotten_of_a_reply_stays_so_and_its_other_sentences_stay(school: School) -> None:
    """However the question is edited, or deleted, afterwards: the words that were forgotten are the reply's."""
    await asks(school)
    other = "The second floor is closed in May."
    await school.say(f"Yes, from Monday on. {other}", "Ola", key="2", thread="1", minutes_ago=8)
    [decision, _] = await school.memories("noted")
    await school.feedbacks().forget(decision.id, None)
    async with school.database.team(school.team.id) as connection:
        await messages.edit(connection, "test", "general:1", ASKED.replace("16:00", "17:00"), datetime.now(UTC))
    await notes.index(school.database, school.team, school.embedder)
    assert await standing(school) == ([other], [other])
    async with school.database.team(school.team.id) as connection:
        await messages.delete(connection, "test", "general:1")
    await school.collect()
    await notes.index(school.database, school.team, school.embedder)
    assert await standing(school) == ([other], [other])


async def test_who_does_not_want_to_be_studied_is_not_by_way_of_a_reply_either(school: School) -> None:
    nora = await school.person("Nora")
    await school.say(f"Hi! {ASKED}", "Nora", key="1", minutes_ago=9, person=nora)
    await decides(school)
    for studied in (True, False):
        async with school.database.team(school.team.id) as connection:
            await persons.choose(connection, nora, "study", studied)
        [decision] = await school.memories("noted")
        assert decision.source_trains is studied


async def test_who_does_not_want_to_be_named_is_not(school: School) -> None:
    ola = await school.person("Ola")
    async with school.database.team(school.team.id) as connection:
        await persons.choose(connection, ola, "name", False)
    await asks(school)
    await school.say("Yes, from Monday on. Send the rest to me by Friday.", "Ola", key="2", thread="1", person=ola)
    assert [m.statement for m in await school.memories()] == [
        f"{ASKED} Yes, from Monday on.",
        "Send the rest to me by Friday.",
    ]


async def test_threads_are_found_whatever_their_names_are_made_of(school: School) -> None:
    await school.say(ASKED, "Nora", key="2026-11-23T09:10:00", minutes_ago=9)
    await school.say(
        "Yes, from Monday on.", "Ola", key="2026-11-23T09:12:00", thread="2026-11-23T09:10:00", minutes_ago=8
    )
    assert await standing(school) == ([DECIDED], [DECIDED])
    async with school.database.team(school.team.id) as connection:
        await messages.delete(connection, "test", "general:2026-11-23T09:10:00")
    assert await standing(school) == ([], [])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_every_order_of_question_reply_and_the_questions_edit_ends_alike(
    school: School, order: tuple[int, ...]
) -> None:
    async def edited() -> None:
        async with school.database.team(school.team.id) as connection:
            await messages.edit(connection, "test", "general:1", ASKED.replace("16:00", "17:00"), datetime.now(UTC))
        await notes.index(school.database, school.team, school.embedder)

    steps = [lambda: asks(school), lambda: decides(school), edited]
    for n in order:
        await steps[n]()
    decided = DECIDED.replace("16:00", "17:00")
    assert await standing(school) == ([decided], [decided])


async def test_with_a_deleted_question_its_words_go_from_the_reply_too(school: School) -> None:
    await asks(school)
    await decides(school)
    async with school.database.team(school.team.id) as connection:
        assert await messages.delete(connection, "test", "general:1")
    assert await standing(school) == ([], []), "at once"
    [said] = await school.memories()
    assert (said.statement, said.reason) == (DECIDED, "retracted"), (
        "and any version that holds them goes with the night"
    )
    await notes.index(school.database, school.team, school.embedder)
    assert await standing(school) == ([], []), "and alone it says nothing"
    async with school.database.team(school.team.id) as connection:
        await messages.edit(connection, "test", "general:2", "Yes, from May on.", datetime.now(UTC))
    await notes.index(school.database, school.team, school.embedder)
    assert {memory.reason for memory in await school.memories() if memory.statement == DECIDED} == {"retracted"}


async def test_what_is_edited_while_it_is_read_is_read_again(school: School) -> None:
    """The index reads, embeds for a while, and only then writes: an edit in between must not be undone by it."""
    await asks(school, index=False)
    reply = await decides(school, index=False)
    async with school.database.team(school.team.id) as connection:
        read = await messages.unindexed(connection, school.embedder.name)
        for event, text in (("general:1", "Should the retro move to Friday at 9:00?"), (reply, "Yes, from May on.")):
            await messages.edit(connection, "test", event, text, datetime.now(UTC))
    assert await ledger.take_in(school.database, school.team, [], read) == []
    async with school.database.team(school.team.id) as connection:
        for one in read:
            kept = await passages.replace(
                connection, message_id=one.id, revision=one.revision, embedder=school.embedder.name, rows=[]
            )
            assert kept == 0
        assert [one.event_id for one in await messages.unindexed(connection, school.embedder.name)] == [
            "general:1",
            reply,
        ]
    await notes.index(school.database, school.team, school.embedder)
    decided = "Should the retro move to Friday at 9:00? Ola: Yes, from May on."
    assert await standing(school) == ([decided], [decided])
