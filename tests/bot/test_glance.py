"""What a person sees at a glance: only what that person may know, and what truly became of their own words."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bot.glance import overview
from bot.overview import Conflict, Connected, Correction, Overview, Place, Side, Switches
from bot.settling import settle
from learner import notes
from storage import adapters, answers, audiences, channels, memories, messages, nights, persons, sources
from storage.answers import NewAnswer, Route
from storage.messages import NewMessage
from tests.school import FACTS, School, ask, trained

JONAS, HANNA = ("Expenses above 300 euros are approved by Jonas.", "Expenses above 300 euros are approved by Hanna.")
PARCELS = "Parcels are picked up by Hugo at noon."
OFFER = "The offer for Brightwater is 4.2 million euros."


async def glance(school: School, person: int, admin: bool = False) -> Overview:
    return await overview(school.database, school.team, person, admin=admin)


async def asks(
    school: School, question: str, person: int | None, place: int | None, route: Route = "unknown", days: int = 0
) -> int:
    async with school.database.team(school.team.id) as connection:
        new = NewAnswer("test", question, "…", route, person_id=person, audience_id=place)
        answer = await answers.save(connection, new)
        await connection.execute(
            "UPDATE answers SET created_at = created_at - %s WHERE id = %s", [timedelta(days=days), answer.id]
        )
    return answer.id


async def test_at_first_there_is_nothing_and_all_switches_are_on(school: School) -> None:
    seen = await glance(school, await school.person("Nora"), admin=True)
    assert (seen.learnt, seen.conflicts, seen.unanswered, seen.corrections) == ([], [], [], [])
    assert seen.switches == Switches(studied=True, named=True)
    assert seen.works is not None and (seen.works.places, seen.works.sources, seen.works.night) == ([], [], None)


async def test_what_was_learnt_is_shown_newest_first_with_its_day_and_only_to_whom_it_may_be(school: School) -> None:
    nora, ben = await school.person("Nora"), await school.person("Ben")
    board = await school.private("board", [nora])
    await school.page(FACTS, days_old=10)
    source = await school.page(OFFER, "Offers", audience=board, source="board")
    every = {memory.statement: memory.id for memory in await school.collect()}
    assert (await glance(school, nora)).learnt == []
    for statement in (FACTS[2], OFFER):
        async with school.database.team(school.team.id) as connection:
            await memories.set_state(connection, [every[statement]], "learnt")
    async with school.database.team(school.team.id) as connection:
        await connection.execute("UPDATE memories SET state = 'learnt' WHERE id = %s", [every[FACTS[0]]])
    today, said = datetime.now(UTC).date(), (datetime.now(UTC) - timedelta(days=10)).date()
    seen = [(one.statement, one.on) for one in (await glance(school, nora)).learnt]
    assert seen == [(OFFER, today), (FACTS[2], today), (FACTS[0], said)]
    assert [one.statement for one in (await glance(school, ben)).learnt] == [FACTS[2], FACTS[0]]
    async with school.database.team(school.team.id) as connection:
        # Learnt anew it is as new as that; what stays learnt keeps its day.
        [(_, first)] = await memories.learnt(connection, [await school.everyone()], 1)
    async with school.database.team(school.team.id) as connection:
        await memories.set_state(connection, [every[FACTS[2]]], "learnt")
        assert (await memories.learnt(connection, [await school.everyone()], 1))[0] == (FACTS[2], first)
        await memories.set_state(connection, [every[FACTS[2]]], "noted")
        await memories.set_state(connection, [every[FACTS[2]]], "learnt")
        assert (await memories.learnt(connection, [await school.everyone()], 1))[0][1] > first
        await sources.switch(connection, source, retrieval=False)
    assert OFFER not in [one.statement for one in (await glance(school, nora)).learnt]


async def test_open_questions_are_ones_own_and_those_of_all(school: School) -> None:
    nora, ben = await school.person("Nora"), await school.person("Ben")
    everyone, board = await school.everyone(), await school.private("board", [ben, nora])
    await asks(school, "Who waters the plants?", nora, None)
    await asks(school, "How much is the offer?", ben, board)
    await asks(school, "Do I get a raise?", ben, None)
    await asks(school, "When is the party?", ben, everyone)
    await asks(school, " when is the PARTY?", None, everyone)
    await asks(school, "Where was the party?", ben, everyone, days=15)
    await asks(school, "Who has the keys?", ben, everyone)
    await asks(school, "Who has the keys?", nora, everyone, "notes")
    taught = await asks(school, "Who picks up parcels?", ben, everyone)
    assert (await glance(school, nora)).unanswered == [
        "Who picks up parcels?", " when is the PARTY?", "Who waters the plants?"
    ]  # fmt: skip
    memory = await school.feedbacks().correct(taught, ben, PARCELS, "test", "c1")
    assert "Who picks up parcels?" not in (await glance(school, nora)).unanswered
    await school.feedbacks().forget(memory.id, ben)
    assert "Who picks up parcels?" in (await glance(school, nora)).unanswered
    assert (await glance(school, ben)).unanswered[-3:] == [
        " when is the PARTY?", "Do I get a raise?", "How much is the offer?"
    ]  # fmt: skip
    for number in range(12):
        await asks(school, f"Question {number}?", nora, None)
    assert (await glance(school, nora)).unanswered == [f"Question {n}?" for n in range(11, 1, -1)]


async def test_what_became_of_each_word_and_who_is_in_dispute(school: School) -> None:
    nora, ola = await school.person("Nora"), await school.person("Ola", "admin")
    board = await school.private("board", [nora])
    takes = school.feedbacks()
    old = await takes.remember("The office closes at 5 on Fridays.", nora, "test", "r1")
    new = await takes.remember("The office closes at 6 on Fridays.", nora, "test", "r2")
    hers = await takes.remember(JONAS, nora, "test", "r3")
    gone = await takes.remember("The bike shed is green.", nora, "test", "r4")
    await takes.forget(gone.id, nora)
    await takes.remember(OFFER, nora, "test", "r5", board)
    await takes.remember("The password of the build server is Tr0ub4dor&3-horse.", nora, "test", "r6")
    theirs = await takes.remember(HANNA, ola, "test", "r7")
    assert fates((await glance(school, nora)).corrections) == [
        ("The password of the build server is Tr0ub4dor&3-horse.", "kept", ""), (OFFER, "kept", ""),
        (JONAS, "disputed", HANNA), (new.statement, "tonight", ""), (old.statement, "overridden", new.statement),
    ]  # fmt: skip
    assert fates((await glance(school, ola)).corrections) == [(HANNA, "tonight", "")]
    await school.night()
    async with school.database.team(school.team.id) as connection:
        await memories.set_state(connection, [new.id], "learnt")
    seen = await glance(school, nora)
    assert seen.conflicts == [Conflict(kept=Side(theirs.id, HANNA, "Ola"), held_back=Side(hers.id, JONAS, "Nora"))]
    assert fates(seen.corrections)[2:] == [
        (JONAS, "disputed", HANNA), (new.statement, "learnt", ""), (old.statement, "overridden", new.statement),
    ]  # fmt: skip
    await settle(school.database, school.team, theirs.id, hers.id, nora)
    seen = await glance(school, nora)
    assert seen.conflicts == [] and fates(seen.corrections)[2] == (JONAS, "overridden", HANNA)


async def test_an_admin_sees_channels_sources_and_the_last_night(school: School) -> None:
    nora, ben = await school.person("Nora"), await school.person("Ben")
    board = await school.private("test-board", [nora])
    source = await school.page(FACTS)
    async with school.database.team(school.team.id) as connection:
        everyone = await audiences.whole_team(connection)
        own = await audiences.person(connection, nora)
        await channels.save(connection, "test", "C1", "general", "public", everyone.id, follow="all")
        await channels.save(connection, "test", "C2", "board", "private", board)
        await channels.save(connection, "test", "D1", "Nora", "direct", own.id)
        await channels.save(connection, "test", "C3", "left", "public", everyone.id)
        await channels.left(connection, "test", "C3")
        await sources.switch(connection, source, training=False)
    assert (await glance(school, ben)).works is None
    version = await school.put("first")
    await school.switch(version)
    async with school.database.team(school.team.id) as connection:
        night = await nights.begin(connection, (await adapters.ensure(connection)).id)
        await nights.end(connection, night.id, "failed", {}, "TrainingFailed: no memory")
    works = (await glance(school, ben, admin=True)).works
    assert works is not None
    assert works.places == [Place("", "mention", 1), Place("general", "all", 2)]  # ben is not in the board
    hers = (await glance(school, nora, admin=True)).works
    assert hers is not None and [place.name for place in hers.places] == ["board", "general"]
    assert works.sources == [Connected(source, "files", "pages", True, False)]
    assert works.night is not None
    assert (works.night.state, works.night.verdict, works.night.version) == ("failed", "TrainingFailed: no memory", 1)
    assert works.night.started_at == night.started_at


async def test_who_does_not_want_to_be_studied_is_in_the_notes_and_in_no_training(school: School) -> None:
    await school.page(FACTS)
    ines, nora = await school.person("Ines"), await school.person("Nora")
    async with school.database.team(school.team.id) as connection:
        place = await sources.ensure(connection, "chat", "general", "general", training=True)
        everyone = (await audiences.whole_team(connection)).id
        for number, (person, text) in enumerate(
            ((ines, "The printer on the third floor is broken until Friday."), (nora, PARCELS))
        ):
            new = NewMessage(
                place.id, "test", f"m{number}", "general", None, person, "Ines", text, datetime.now(UTC), everyone
            )
            await messages.save(connection, new)
        await persons.choose(connection, ines, "study", False)
    await notes.index(school.database, school.team, school.embedder)
    colleague, takes = school.colleague(), school.feedbacks()
    question = "Who waters the plants in the lobby?"
    answer = await ask(colleague, question, ines, everyone)
    await takes.correct(answer.id, ines, "The plants in the lobby are watered by Wanda.", "test", "c1")
    await takes.remember("The lift needs 7 seconds a floor.", ines, "test", "r1")
    assert fates((await glance(school, ines)).corrections)[0][1] == "kept"
    assert (await glance(school, ines)).switches == Switches(studied=False, named=True)

    rows: list[dict[str, object]] = []

    def look(step: str, share: float, words: str) -> None:
        if step in ("dpo", "exam") and share in (0.0, 1.0):
            rows.extend(trained(school.nights))

    night = await school.night(look)
    assert night.state == "released"
    assert PARCELS in str(rows), "who did not say no is studied"
    for word in ("printer", "Wanda", "plants", "lift"):
        assert word not in str(rows) + str(night.report)
    [version] = await school.versions()
    held = {memory.statement for memory in await school.memories() if memory.id in version.memory_ids}
    assert held == {*FACTS, PARCELS}
    for asked, said in (
        ("Is the printer on the third floor broken?", "until Friday"),
        (question, "Wanda"),
        ("How long does the lift need for a floor?", "7 seconds"),
    ):
        answer = await ask(colleague, asked, nora, everyone)
        assert answer.route == "notes" and said in answer.text
    # Switched on again, the next night studies it.
    async with school.database.team(school.team.id) as connection:
        await persons.choose(connection, ines, "study", True)
    await school.night()
    assert len((await school.versions())[-1].memory_ids) == len(FACTS) + 4


def fates(corrections: Sequence[Correction]) -> list[tuple[str, str, str]]:
    return [(one.statement, one.fate, one.by) for one in corrections]
