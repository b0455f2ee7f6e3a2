"""The ledger and the notes take everything in once, follow changes, and carry on where they were broken off."""

from learner import ledger, notes
from storage import documents, memories, messages
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
    await school.page([*FACTS[:3], "Interns are paid 1,600 euros a month."])
    after = {memory.statement: memory for memory in await school.collect()}
    assert [after[statement].state for statement in FACTS] == ["learnt", "learnt", "learnt", "retracted"]
    assert all(after[statement].id == id for statement, id in before.items())
    assert after["Interns are paid 1,600 euros a month."].state == "noted"


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
