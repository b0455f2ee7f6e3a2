"""The ledger and the notes take everything in once, follow changes, and carry on where they were broken off."""

from datetime import UTC, datetime

from learner import ledger, notes
from storage import answers, documents, memories, messages, passages
from storage.answers import NewAnswer
from tests.school import FACTS, School


async def test_what_is_taken_in_twice_is_there_once(school: School) -> None:
    await school.page(FACTS, index=False)
    await school.say("The release moves to Thursday at noon this week.", "Ines", index=False)
    shares: list[float] = []
    first = await ledger.collect(school.database, school.team, school.embedder, shares.append)
    assert (first["documents"], first["messages"], first["memories"], first["embedded"]) == (1, 1, 5, 5)
    assert all(0 <= share <= 1 for share in shares)
    again = await ledger.collect(school.database, school.team, school.embedder)
    assert (again["memories"], again["embedded"]) == (0, 0)
    assert await notes.index(school.database, school.team, school.embedder) == 5
    assert await notes.index(school.database, school.team, school.embedder) == 0
    assert sorted(memory.kind for memory in await school.memories()) == ["document"] * 4 + ["message"]


async def test_an_edited_page_keeps_what_stayed_and_drops_what_went(school: School) -> None:
    await school.page(FACTS)
    before = {memory.statement: memory.id for memory in await school.collect()}
    async with school.database.team(school.team.id) as connection:
        await memories.set_state(connection, list(before.values()), "learnt")
    await school.switch(await school.put("all"))
    await school.page([*FACTS[:3], "Interns are paid 1,600 euros a month."])
    after = {memory.statement: memory for memory in await school.collect()}
    assert [after[statement].state for statement in FACTS] == ["learnt", "learnt", "learnt", "retracted"]
    assert all(after[statement].id == id for statement, id in before.items())
    assert after["Interns are paid 1,600 euros a month."].state == "noted"


async def test_an_edit_elsewhere_on_a_page_does_not_undo_a_correction(school: School) -> None:
    await school.page(FACTS)
    [before] = [m for m in await school.memories() if m.statement == FACTS[1]]
    async with school.database.team(school.team.id) as connection:
        answer = await answers.save(connection, NewAnswer("test", "Who approves expenses?", FACTS[1], "notes"))
    takes = school.feedbacks()
    correction = await takes.correct(
        answer.id, None, "No, expenses above 900 euros must be approved by Jonas.", "test", "c1"
    )
    for edited in ("The office in Lisbon opens at 9:00 every morning.", "The office in Lisbon opens at ten."):
        await school.page([edited, *FACTS[1:]], days_old=-1)  # newer than the correction
        [old] = [m for m in await school.memories() if m.statement == FACTS[1]]
        assert (old.state, old.reason, old.superseded_by) == ("retracted", "overridden", correction.id)
        assert old.said_at == before.said_at, "said since the first revision, not since the edit"
        assert FACTS[1] not in await told(school) and FACTS[2] in await told(school)
    assert await school.feedbacks().forget(correction.id, None)
    [old] = [m for m in await school.memories() if m.statement == FACTS[1]]
    assert (old.state, old.superseded_by) == ("noted", None)
    assert FACTS[1] in await told(school)


async def test_what_a_page_or_message_overrode_stands_again_when_its_sentence_is_edited_away(school: School) -> None:
    await school.page(FACTS, "Old", days_old=20)
    await school.page(["Expenses above 900 euros must be approved by Jonas."], "New")
    await school.say("Interns are paid 1,600 euros a month.")
    known = {memory.statement: memory.id for memory in await school.memories()}
    async with school.database.team(school.team.id) as connection:
        await memories.supersede(
            connection, known[FACTS[1]], known["Expenses above 900 euros must be approved by Jonas."]
        )
        await memories.supersede(connection, known[FACTS[3]], known["Interns are paid 1,600 euros a month."])
    await school.collect()
    assert not {FACTS[1], FACTS[3]} & await told(school), "what overrides stands"
    await school.page(["The parking lot has 40 places for visitors."], "New", days_old=5)
    async with school.database.team(school.team.id) as connection:
        [message] = await messages.current(connection)
        await messages.edit(
            connection, "test", message.event_id, "Lunch is served at noon every day.", datetime.now(UTC)
        )
    await school.collect()
    assert {FACTS[1], FACTS[3]} <= await told(school)
    assert {m.statement for m in await school.memories("noted")} >= set(FACTS)


async def test_deleted_pages_and_messages_are_gone_at_once(school: School) -> None:
    source = await school.page(FACTS, "Rules")
    await school.say("The release moves to Thursday at noon this week.", "Ines")
    await school.collect()
    async with school.database.team(school.team.id) as connection:
        await documents.retract(connection, source, "Rules.md")
        [message] = await messages.current(connection)
        await messages.delete(connection, message.surface, message.event_id)
    assert {memory.state for memory in await school.memories()} == {"retracted"}
    assert {memory.state for memory in await school.collect()} == {"retracted"}


async def test_a_page_that_is_all_secrets_teaches_nothing_and_says_so(school: School) -> None:
    await school.page(
        ["The password of the server is Tr0ub4dor&3-horse.", "API_KEY=sk-abcdefghijklmnopqrstuvwx is needed."]
    )
    night = await school.night()
    assert night.state == "empty" and sum(night.report["withheld"].values()) == 2
    assert "Tr0ub4dor" not in str(night.report) and "sk-abc" not in str(night.report)
    assert await school.serving() is None


async def test_an_empty_team_has_an_empty_night(school: School) -> None:
    night = await school.night()
    assert (night.state, night.report["considered"], night.report["learnt"]) == ("empty", 0, [])


async def told(school: School) -> set[str]:
    """What the notes may quote to everybody."""
    async with school.database.team(school.team.id) as connection:
        return {passage.text for passage in await passages.all(connection, [await school.everyone()])}
