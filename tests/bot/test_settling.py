"""Two people's words against each other: shown to who may know both, settled by whom it is given to, and for good."""

import asyncio

import pytest

from bot.settling import NothingToSettle, NotYours, conflicts, settle
from storage import audiences, memories, persons
from storage.errors import NotFound
from storage.memories import Memory
from tests.school import School, ask

JONAS, HANNA = ("Expenses above 300 euros are approved by Jonas.", "Expenses above 300 euros are approved by Hanna.")
WHO = "Who approves expenses above 300 euros?"


async def dispute(school: School) -> tuple[Memory, Memory, int, int]:
    """Nora's word, Ola's newer one that a night lets stand, and the two persons."""
    nora, ola, takes = await school.person("Nora"), await school.person("Ola"), school.feedbacks()
    hers = await takes.remember(JONAS, nora, "test", "r1")
    theirs = await takes.remember(HANNA, ola, "test", "r2")
    night = await school.night()
    assert len(night.report["conflicts"]) == 1
    return hers, theirs, nora, ola


async def standing(school: School) -> dict[int, str | None]:
    """The memories that stand, each with its conflict."""
    return {memory.id: memory.conflict for memory in await school.memories("noted", "studied", "learnt")}


async def shown(school: School, person: int | None = None) -> list[tuple[str, str]]:
    async with school.database.team(school.team.id) as connection:
        found = await conflicts(connection, await audiences.visible(connection, person, None))
    return [(one.kept.author, one.held_back.author) for one in found]


async def test_an_admin_settles_it_and_no_night_brings_it_up_again(school: School) -> None:
    hers, theirs, *_ = await dispute(school)
    assert await shown(school) == [("Ola", "Nora")]
    boss = await school.person("Ada", "admin")
    kept = await settle(school.database, school.team, hers.id, theirs.id, boss)
    assert (kept.id, kept.conflict) == (hers.id, None)
    assert await shown(school) == [] and await standing(school) == {hers.id: None}
    answer = await ask(school.colleague(), WHO)
    assert "Jonas" in answer.text and "Hanna" not in answer.text
    for _ in range(2):
        night = await school.night()
        assert night.report["conflicts"] == [] and await standing(school) == {hers.id: None}
    assert (await school.versions())[-1].memory_ids == [hers.id]


async def test_who_said_it_may_give_way_and_nobody_decides_for_the_own_word(school: School) -> None:
    hers, theirs, nora, ola = await dispute(school)
    for keep, drop, person in (
        (hers, theirs, nora),
        (theirs, hers, ola),
        (theirs, hers, await school.person("Eve")),
        (theirs, hers, 10**9),
    ):
        with pytest.raises(NotYours, match="admin"):
            await settle(school.database, school.team, keep.id, drop.id, person)
    assert len(await shown(school)) == 1
    await settle(school.database, school.team, hers.id, theirs.id, ola)
    assert await standing(school) == {hers.id: None}


async def test_an_admin_of_the_surface_settles_it_and_becomes_none_here(school: School) -> None:
    hers, theirs, nora, _ = await dispute(school)
    await settle(school.database, school.team, hers.id, theirs.id, nora, admin=True)
    assert await standing(school) == {hers.id: None}
    async with school.database.team(school.team.id) as connection:
        person = await persons.get(connection, nora)
    assert person and person.role == "member"


@pytest.mark.slow
async def test_what_is_settled_stays_so_whoever_decides_again(school: School) -> None:
    hers, theirs, *_ = await dispute(school)
    boss = await school.person("Ada", "admin")
    decided = await asyncio.gather(
        *(
            settle(school.database, school.team, *sides, boss)
            for sides in ((hers.id, theirs.id), (theirs.id, hers.id), (hers.id, theirs.id))
        )
    )
    [kept] = {memory.id for memory in decided}
    assert await standing(school) == {kept: None}
    # The same event delivered again does not say it anew; said again by the person it is a new word, to be weighed.
    dropped = theirs if kept == hers.id else hers
    assert dropped.id not in await standing(school)
    await school.feedbacks().remember(dropped.statement, dropped.person_id, "test", "r3")
    await school.night()
    assert len(await shown(school)) == 1


@pytest.mark.slow
async def test_what_is_gone_or_no_dispute_is_not_settled(school: School) -> None:
    hers, theirs, *_ = await dispute(school)
    boss, takes = await school.person("Ada", "admin"), school.feedbacks()
    other = await takes.remember("The office in Lisbon opens at 8:30.", boss, "test", "r3")
    with pytest.raises(NotFound):
        await settle(school.database, school.team, hers.id, 10**9, boss)
    for keep, drop in ((hers.id, other.id), (hers.id, hers.id)):
        with pytest.raises(NothingToSettle):
            await settle(school.database, school.team, keep, drop, boss)
    await takes.forget(theirs.id, None)
    assert await shown(school) == []
    with pytest.raises(NothingToSettle):
        await settle(school.database, school.team, hers.id, theirs.id, boss)


@pytest.mark.slow
async def test_a_third_who_was_held_back_against_what_went_stands_until_a_night_weighs_it(school: School) -> None:
    await school.person("Ola", "admin")
    hers, theirs, *_ = await dispute(school)
    third = await school.feedbacks().remember(HANNA.replace("Hanna", "Petra"), await school.person("Per"), "test", "r3")
    await school.night()
    assert await shown(school) == [("Ola", "Per"), ("Ola", "Nora")]
    await settle(school.database, school.team, hers.id, theirs.id, await school.person("Ada", "admin"))
    assert await standing(school) == {hers.id: None, third.id: None}
    await school.night()
    assert await shown(school) == [("Per", "Nora")]


async def test_nobody_settles_what_they_may_not_know(school: School) -> None:
    anna, ben = await school.person("Anna"), await school.person("Ben", "admin")
    board = await school.private("board", [anna])
    hers = await school.feedbacks().remember(JONAS, anna, "test", "r1", board)
    theirs = await school.feedbacks().remember(HANNA, ben, "test", "r2")
    async with school.database.team(school.team.id) as connection:
        await memories.set_conflict(connection, hers.id, "Anna against Ben", theirs.id)
    assert await shown(school, ben) == [] and await shown(school, anna) == [("Ben", "Anna")]
    with pytest.raises(NotFound):
        await settle(school.database, school.team, theirs.id, hers.id, ben)


async def test_a_night_that_weighed_while_somebody_settled_holds_nobody_back(school: School) -> None:
    hers, theirs, *_ = await dispute(school)
    boss = await school.person("Ada", "admin")
    await settle(school.database, school.team, hers.id, theirs.id, boss)
    async with school.database.team(school.team.id) as connection:
        await memories.set_conflict(connection, hers.id, "Ola against Nora", theirs.id)
        await memories.set_conflict(connection, theirs.id, "Nora against Ola", hers.id)
    assert {memory.conflict for memory in await school.memories()} == {None}
