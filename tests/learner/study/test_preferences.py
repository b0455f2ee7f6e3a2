"""Feedback becomes pairs only where something supports them, and contradictions are weighed and shown."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from learner.engine.embedder import Embedder
from learner.recall import embed_statements
from learner.study.preferences import collect, disputes, liked, rows
from learner.study.select import overridden
from storage import answers, persons, sources
from storage.answers import Answer, Citation, NewAnswer, Route
from storage.feedback import Feedback
from storage.memories import Memory
from storage.preferences import NewPreference
from tests.learner.study.test_select import memory
from tests.school import FACTS, School, ask

MONEY = "Who approves expenses above 250 euros?"


async def test_a_correction_is_chosen_over_the_answer_it_corrected(school: School) -> None:
    answer = await given(school, "Marta approves them.")
    nora = await school.person("Nora")
    await school.feedbacks().correct(answer.id, nora, "No, Jonas approves expenses above 250 euros.", "test", "c1")
    [pair] = await pairs(school)
    assert (pair.prompt, pair.chosen, pair.rejected, pair.reason) == (
        MONEY, "Jonas approves expenses above 250 euros.", "Marta approves them.", "corrected"
    )  # fmt: skip
    assert len(pair.feedback_ids) == 1
    [row] = rows([pair], 1)
    assert row["prompt"][-1] == {"role": "user", "content": MONEY} and row["chosen"] == pair.chosen


async def test_upvoted_over_downvoted_for_the_same_question(school: School) -> None:
    good, bad = await given(school, "Marta."), await given(school, "Nobody.", question=MONEY.upper())
    takes = school.feedbacks()
    await takes.thumbs(good.id, await school.person("Nora"), True, "test", "t1")
    assert await pairs(school) == [], "a lone thumb up has no counterpart"
    await takes.thumbs(bad.id, await school.person("Ola"), False, "test", "t2")
    [pair] = await pairs(school)
    assert (pair.chosen, pair.rejected, pair.reason, len(pair.feedback_ids)) == ("Marta.", "Nobody.", "upvoted", 2)


async def test_a_pair_weighs_as_much_as_people_agree(school: School) -> None:
    takes, people = school.feedbacks(), [await school.person(name) for name in ("Nora", "Ola", "Pia", "Ralf")]
    wrong = await given(school, "Marta approves them.")
    await takes.correct(wrong.id, people[0], "No, Jonas approves expenses above 250 euros.", "test", "c1")
    [pair] = await pairs(school)
    assert pair.weight == 1
    await takes.thumbs(wrong.id, people[1], True, "test", "t1")
    [pair] = await pairs(school)
    assert pair.weight == 0.5, "one finds it wrong, one right"
    good, bad = await given(school, "At 8:30.", question="When?"), await given(school, "At noon.", question="When?")
    for number, person in enumerate(people):
        await takes.thumbs(good.id, person, number > 0, "test", f"g{number}")
        await takes.thumbs(bad.id, person, False, "test", f"b{number}")
    pair = next(pair for pair in await pairs(school) if pair.reason == "upvoted")
    assert pair.weight == 0.5, "three thumbs up and one down for the one, four down for the other"
    assert [len(rows([replace(pair, weight=weight)], 2)) for weight in (1.0, 0.7, 0.5, 0.01)] == [2, 1, 1, 1]


async def test_a_question_whose_answer_was_liked_is_the_memorys(school: School) -> None:
    """Of all that were told to it; only where the question stands alone, and who liked it outweigh who did not."""
    await school.page(FACTS)
    ids = {memory.statement: memory.id for memory in await school.collect()}
    told = [
        await given(school, f"“{FACTS[1]}”", "Who signs off a dinner for 300?", cites=[FACTS[1]]),
        await given(school, f"“{FACTS[1]}”", "and for managers?", cites=[FACTS[1]], thread="1"),
        await given(school, "Both.", "Who approves and when do we open?", cites=FACTS[:2]),
        await given(school, f"“{FACTS[1]}”", "Whom do I ask about the printer?", cites=[FACTS[1]]),
    ]
    takes, nora = school.feedbacks(), await school.person("Nora")
    for answer in told:
        await takes.thumbs(answer.id, nora, True, "test", f"t{answer.id}")
    await takes.thumbs(told[-1].id, await school.person("Ola"), False, "test", "down")
    dinner, both = told[0].question, told[2].question
    assert await liked_now(school) == {ids[FACTS[1]]: [dinner, both], ids[FACTS[0]]: [both]}
    await takes.retract("test", f"t{told[2].id}")
    assert await liked_now(school) == {ids[FACTS[1]]: [dinner]}


@pytest.mark.parametrize("kept_out", ["not to be studied", "not heard there", "deleted", "edited"])
async def test_a_question_that_may_not_be_studied_is_liked_in_vain(school: School, kept_out: str) -> None:
    await school.page(FACTS)
    await school.collect()
    nora, takes = await school.person("Nora"), school.feedbacks()
    async with school.database.team(school.team.id) as connection:
        new = NewAnswer(
            "test", MONEY, f"“{FACTS[1]}”", "notes", nora, event_id="q1", sources=[Citation("", "", FACTS[1])]
        )
        answer = await answers.save(connection, new)
    await takes.thumbs(answer.id, nora, True, "test", "t1")
    assert len(await liked_now(school)) == 1
    async with school.database.team(school.team.id) as connection:
        if kept_out == "not to be studied":
            await persons.choose(connection, nora, "study", False)
        elif kept_out == "not heard there":
            await sources.ensure(connection, "test", "everywhere", "what is said there", training=False)
        else:
            await answers.take_back(connection, "test", "q1", keeping="q1:2" if kept_out == "edited" else None)
    assert await liked_now(school) == {}


async def test_who_puts_three_emoji_on_an_answer_has_one_voice(school: School) -> None:
    await school.page(FACTS)
    await school.collect()
    answer, takes, nora = (
        await given(school, f"“{FACTS[1]}”", cites=[FACTS[1]]),
        school.feedbacks(),
        await school.person("Nora"),
    )
    for number, name in enumerate(("+1", "tada", "100")):
        await takes.emoji(answer.id, nora, name, "test", f"e{number}")
    for name in ("Ola", "Pia"):
        await takes.thumbs(answer.id, await school.person(name), False, "test", f"t{name}")
    assert await liked_now(school) == {}


async def test_no_pair_from_a_lone_thumb_down_from_votes_that_cancel_or_were_taken_back(school: School) -> None:
    good, bad = await given(school, "Marta."), await given(school, "Nobody.")
    nora, ola, takes = await school.person("Nora"), await school.person("Ola"), school.feedbacks()
    await takes.thumbs(bad.id, nora, False, "test", "t1")
    assert await pairs(school) == []
    await takes.thumbs(good.id, nora, True, "test", "t2")
    await takes.thumbs(good.id, ola, False, "test", "t3")
    assert await pairs(school) == [], "one for and one against is no preference"
    await takes.retract("test", "t3")
    assert len(await pairs(school)) == 1
    await takes.retract("test", "t1")
    assert await pairs(school) == []


async def test_liking_i_dont_know_prefers_nothing(school: School) -> None:
    unknown, answer = await given(school, "I don't know that yet.", route="unknown"), await given(school, "Marta.")
    takes = school.feedbacks()
    await takes.thumbs(unknown.id, None, True, "test", "t1")
    await takes.thumbs(answer.id, None, False, "test", "t2")
    assert await pairs(school) == []


@pytest.mark.parametrize("kept_out", ["private", "switched off", "forgotten", "secret"])
async def test_what_may_not_train_makes_no_pair_either(school: School, kept_out: str) -> None:
    words = "The build server's password is Tr0ub4dor&3." if kept_out == "secret" else FACTS[1]
    board = await school.private("board", [])
    source = await school.page([words], audience=board if kept_out == "private" else None)
    await school.collect()
    quoted = await given(school, f"“{words}”", cites=[words], audience=board if kept_out == "private" else None)
    other = await given(school, "Nobody.")
    takes = school.feedbacks()
    if kept_out == "forgotten":
        await takes.forget(next(m.id for m in await school.memories()), None)
    if kept_out == "switched off":
        async with school.database.team(school.team.id) as connection:
            await sources.switch(connection, source, training=False)
    await takes.thumbs(quoted.id, None, True, "test", "t1")
    await takes.thumbs(other.id, None, False, "test", "t2")
    assert await pairs(school) == []


async def test_an_overridden_statement_may_be_rejected(school: School) -> None:
    """That is what the pair is for: the page's old word against the person's new one."""
    await school.page(FACTS)
    await school.collect()
    answer = await given(school, f"“{FACTS[1]}”", cites=[FACTS[1]])
    words = "No, expenses above 900 euros must be approved by Jonas."
    await school.feedbacks().correct(answer.id, await school.person("Nora"), words, "test", "c1")
    [pair] = await pairs(school)
    assert pair.rejected == f"“{FACTS[1]}”"


def event(answer: int, value: str, person: int = 1) -> Feedback:
    return Feedback(answer, answer, person, "test", f"e{answer}", "thumbs", value, "", memory(1, "").created_at, None)


async def found(
    embedder: Embedder, said: Sequence[Memory], standing: Sequence[Feedback] = (), roles: dict[int, str] | None = None
) -> list[tuple[int, int]]:
    vectors = await embed_statements(embedder, [(m.context, m.statement) for m in said])
    return [(dispute.kept, dispute.held_back) for dispute in disputes(said, vectors, standing, roles)]


async def test_two_people_who_contradict_each_other_are_a_dispute(embedder: Embedder) -> None:
    text = "Expenses above 300 euros are approved by {}."
    older = memory(1, text.format("Jonas"), 2, kind="correction", person_id=1, author="Nora", answer_id=1)
    newer = memory(2, text.format("Hanna"), 1, kind="correction", person_id=2, author="Ola", answer_id=2)
    # The newer, unless an admin or the team's thumbs say otherwise.
    assert await found(embedder, [older, newer]) == [(2, 1)]
    assert await found(embedder, [older, newer], roles={1: "admin"}) == [(1, 2)]
    assert await found(embedder, [older, newer], [event(1, "up")]) == [(1, 2)]
    assert await found(embedder, [older, newer], [event(1, "up")], roles={2: "admin"}) == [(2, 1)]
    vectors = await embed_statements(embedder, [("", m.statement) for m in (older, newer)])
    [dispute] = disputes([older, newer], vectors, [])
    assert "Nora" in dispute.words and "Jonas" in dispute.words and "Ola" in dispute.words and "Hanna" in dispute.words


@pytest.mark.parametrize("kinds", [("correction", "pinned"), ("pinned", "correction"), ("pinned", "pinned")])
async def test_what_was_told_outright_is_weighed_like_a_correction(embedder: Embedder, kinds: tuple[str, str]) -> None:
    text = "Expenses above 300 euros are approved by {}."
    older = memory(1, text.format("Jonas"), 2, kind=kinds[0], person_id=1, document_id=None)
    newer = memory(2, text.format("Hanna"), 1, kind=kinds[1], person_id=2, document_id=None)
    assert await found(embedder, [older, newer], roles={1: "admin"}) == [(1, 2)]
    assert await found(embedder, [older, newer]) == [(2, 1)]


async def test_whatever_one_person_would_override_of_another_is_a_dispute(embedder: Embedder) -> None:
    """Less alike than two corrections on one subject are, but the newer says what it gives up."""
    older = memory(1, "Releases of the app go out every Thursday.", 2, kind="pinned", person_id=1, document_id=None)
    newer = memory(
        2, "Now it is Tuesdays for the app, no longer Thursdays.", 1, kind="pinned", person_id=2, document_id=None
    )
    vectors = await embed_statements(embedder, [("", m.statement) for m in (older, newer)])
    assert vectors[0] @ vectors[1] < 0.75 and overridden([older, newer], vectors)
    assert await found(embedder, [older, newer], roles={1: "admin"}) == [(1, 2)]


async def test_an_admins_correction_stands_against_what_a_member_told_outright(school: School) -> None:
    answer, takes = await given(school, "Marta."), school.feedbacks()
    nora, ola = await school.person("Nora", "admin"), await school.person("Ola")
    first = await takes.correct(answer.id, nora, "Expenses above 300 euros are approved by Jonas.", "test", "c1")
    second = await takes.remember("Expenses above 300 euros are approved by Hanna.", ola, "test", "r1")
    night = await school.night()
    [words] = night.report["conflicts"]
    assert "Jonas" in words and "Hanna" in words
    [version] = await school.versions()
    assert version.memory_ids == [first.id]
    stand = {m.id: (m.state == "retracted", bool(m.conflict)) for m in await school.memories()}
    assert stand == {first.id: (False, False), second.id: (False, True)}


async def test_agreement_other_subjects_and_ones_own_change_of_mind_are_no_dispute(embedder: Embedder) -> None:
    def said(id: int, text: str, person: int, answer: int | None = None) -> Memory:
        return memory(id, text, kind="correction", person_id=person, answer_id=answer)

    petra, hanna = "Petra signs contracts above 300 euros.", "Hanna signs contracts above 300 euros."
    assert await found(embedder, [said(1, petra, 1, 5), said(2, hanna, 2, 5)]) == [(2, 1)], (
        "a name that begins a sentence is one"
    )
    jonas = said(1, "Expenses above 300 euros are approved by Jonas.", 1)
    assert await found(embedder, [jonas, said(2, "Jonas approves expenses above 300 euros.", 2)]) == []
    assert await found(embedder, [jonas, said(2, "The office in Lisbon opens at 8:30.", 2)]) == []
    assert await found(embedder, [jonas, said(2, "Expenses above 400 euros are approved by Petra.", 1)]) == []


async def test_a_dispute_is_reported_and_only_one_side_studied_and_told_until_it_is_settled(school: School) -> None:
    """The older word of an admin stands against the newer one of a member: the newest does not simply win."""
    answer, colleague = await given(school, "Marta."), school.colleague()
    nora, ola, takes = await school.person("Nora", "admin"), await school.person("Ola"), school.feedbacks()
    first = await takes.correct(answer.id, nora, "Expenses above 300 euros are approved by Jonas.", "test", "c1")
    second = await takes.correct(answer.id, ola, "Expenses above 300 euros are approved by Hanna.", "test", "c2")
    hers = "Are expenses above 300 euros approved by Hanna?"
    told = await ask(colleague, hers)
    assert "Jonas" in told.text and "Hanna" not in told.text + str(told.sources), "they are weighed at once"
    night = await school.night()
    assert night.state == "released"
    [version] = await school.versions()
    assert version.memory_ids == [first.id]
    [words] = night.report["conflicts"]
    assert "Jonas" in words and "Hanna" in words
    stand = {m.id: (m.state == "retracted", bool(m.conflict)) for m in await school.memories()}
    assert stand == {first.id: (False, False), second.id: (False, True)}, "both stand until people decide"
    for question in (hers, "Who approves expenses above 300 euros?"):
        told = await ask(colleague, question)
        assert "Jonas" in told.text and "Hanna" not in told.text + str(told.sources)
    # With the other one gone there is no dispute, and the next night lets it stand again.
    await takes.forget(first.id, None)
    assert (await school.night()).report["conflicts"] == []
    [stands] = await school.memories("noted", "studied", "learnt")
    assert (stands.id, stands.conflict) == (second.id, None)
    assert "Hanna" in (await ask(colleague, hers)).text


async def given(
    school: School,
    text: str,
    question: str = MONEY,
    route: Route = "notes",
    cites: Sequence[str] = (),
    audience: int | None = None,
    thread: str | None = None,
) -> Answer:
    async with school.database.team(school.team.id) as connection:
        sources_ = [Citation("Handbook", "", quote) for quote in cites]
        return await answers.save(
            connection, NewAnswer("test", question, text, route, sources=sources_, audience_id=audience, thread=thread)
        )


async def pairs(school: School) -> list[NewPreference]:
    everyone = await school.everyone()
    studied = [m for m in await school.memories("noted", "studied", "learnt") if m.audience_id == everyone]
    async with school.database.team(school.team.id) as connection:
        return await collect(connection, studied, everyone)


async def liked_now(school: School) -> dict[int, list[str]]:
    everyone, known = await school.everyone(), await school.memories("noted", "studied", "learnt")
    async with school.database.team(school.team.id) as connection:
        return await liked(connection, known, everyone)
