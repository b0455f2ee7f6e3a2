"""Reading rows: what stands in view, in which order, and what the answer is."""

import pytest

from learner.engine.embedder import Embedder
from learner.recall import UNKNOWN
from learner.study import lessons, reading
from learner.study.questions import Asked
from tests.school import School

WHO = {
    "The parcels for Lisbon are picked up by Ines.": "Who fetches the packages to Portugal?",
    "The parcels for Oslo are picked up by Hanna.": "Who picks up the parcels for Oslo?",
    "The parcels for Cork are picked up by Jonas.": "Who picks up the parcels for Cork?",
    "The release train leaves every second Thursday at noon.": "When does the release train leave?",
    "Interns are paid 1,450 euros a month.": "Who picks up the parcels at the gate?",  # asked of the wrong one
}


async def made(school: School, embedder: Embedder, unknown_share: float) -> dict[str, tuple[list[str], str]]:
    """By question: the statements in view, in their order, and the answer."""
    await school.page(list(WHO))
    chosen = await school.collect()
    for memory in chosen:
        asked = Asked(WHO[memory.statement], (), ("Never trained?",))
        await lessons.save(school.database, school.team, embedder, memory, asked, None)
    async with school.database.team(school.team.id) as connection:
        have = await lessons.of_memories(connection, chosen)
    rows = await reading.rows(
        school.database, school.team, embedder, chosen, have, wanted=9, notes=3, unknown_share=unknown_share, seed=1
    )
    found = {}
    for row in rows:
        notes, _, question = row["prompt"][-1]["content"].partition("\n\nQuestion: ")
        view = sorted((notes.index(statement), statement) for statement in WHO if statement in notes)
        found[question] = [statement for _, statement in view], row["completion"]
    return found


async def test_notes_stand_in_the_order_in_which_an_answer_would_show_them(school: School, embedder: Embedder) -> None:
    found = await made(school, embedder, 0.0)
    assert set(found) == set(WHO.values())
    assert all(answer in view and len(view) == 3 for view, answer in found.values())
    for statement in list(WHO)[1:4]:
        view, answer = found[WHO[statement]]
        assert view[0] == answer == statement, "the nearest comes first, though another question is trained for it"
    view, answer = found["Who picks up the parcels at the gate?"]
    assert view[-1] == answer, "what is not near stands behind those that are"
    assert all("parcels" in statement for statement in view[:-1])


async def test_where_its_own_is_missing_nothing_is_known(school: School, embedder: Embedder) -> None:
    for question, (view, answer) in (await made(school, embedder, 1.0)).items():
        assert answer == UNKNOWN and len(view) == 3
        assert not any(WHO[statement] == question for statement in view)


@pytest.mark.parametrize("wanted", [0, 2])
async def test_so_many_as_are_wanted(school: School, embedder: Embedder, wanted: int) -> None:
    await school.page(list(WHO))
    chosen = await school.collect()
    for memory in chosen:
        await lessons.save(school.database, school.team, embedder, memory, Asked("Who?", (), ()), None)
    async with school.database.team(school.team.id) as connection:
        have = await lessons.of_memories(connection, chosen)
    rows = await reading.rows(
        school.database, school.team, embedder, chosen, have, wanted=wanted, notes=3, unknown_share=0.0, seed=0
    )
    assert len(rows) == wanted
