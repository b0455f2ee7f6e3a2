"""The way of feedback: one event one row, a correction counts at once, and what was said to few stays with few."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.feedback import EmptyCorrection, NothingToForget, TakenBack, is_correction, statement_of
from bot.settling import NotYours, dispute_of
from bot.wording import disputed
from storage import answers, feedback, sources, teams
from storage.answers import Answer, Citation, NewAnswer
from storage.errors import NotFound, UnknownAnswer
from storage.feedback import Feedback
from tests.school import FACTS, School, ask

MONEY = "Who approves expenses above 250 euros?"
BINS = ["Paper is picked up on Mondays.", "Glass is picked up on Tuesdays.", "Compost leaves the yard on Fridays."]


@pytest.mark.parametrize(
    ("said", "corrects"),
    [
        ("No, it's 40 euros.", True),
        ("no it is Jonas since May", True),
        ("Actually Jonas approves them now.", True),
        ("That's outdated, the office moved to Porto.", True),
        ("Not quite: only above 300 euros.", True),
        ("No thanks", False),
        ("No problem at all!", False),
        ("Nothing new here, is there?", False),
        ("No smoking in the building.", False),
        ("Who approves them then?", False),
        ("no", False),
        ("", False),
    ],
)
def test_a_thread_reply_is_taken_for_a_correction_only_if_it_is_one(said: str, corrects: bool) -> None:
    assert is_correction(said) is corrects


@pytest.mark.parametrize(
    ("said", "statement"),
    [
        ("No, it's 40 euros", "It's 40 euros."),
        ("actually, Jonas approves them.", "Jonas approves them."),
        ("Sorry, that's wrong: the office is in Porto!", "The office is in Porto!"),
        ("Nordea is our bank.", "Nordea is our bank."),
        ("  **Jonas** approves `them`  ", "Jonas approves them."),
        ("no, ", ""),
    ],
)
def test_a_correction_becomes_a_plain_statement(said: str, statement: str) -> None:
    assert statement_of(said) == statement


async def test_the_last_thumb_of_a_person_counts_once_an_event(school: School) -> None:
    answer, nora, ola = await given(school), await school.person("Nora"), await school.person("Ola")
    takes = school.feedbacks()
    await takes.thumbs(answer.id, nora, True, "test", "t1")
    await takes.thumbs(answer.id, nora, True, "test", "t1")
    await takes.thumbs(answer.id, ola, True, "test", "t2")
    await takes.thumbs(answer.id, nora, False, "test", "t3")
    assert [(event.person_id, event.value) for event in await standing(school)] == [(ola, "up"), (nora, "down")]


async def test_emoji_mean_what_the_team_says(school: School) -> None:
    answer, nora = await given(school), await school.person("Nora")
    takes = school.feedbacks()
    assert await takes.emoji(answer.id, nora, ":tada:", "test", "e1")
    assert not await takes.emoji(answer.id, nora, "ship", "test", "e2")
    school.team.settings["emoji"] = {"ship": "up", "tada": "down"}
    assert await takes.emoji(answer.id, nora, "ship", "test", "e2")
    assert await takes.emoji(answer.id, nora, "tada", "test", "e3")
    assert sorted(event.value for event in await standing(school)) == ["down", "up", "up"]


async def test_feedback_on_an_unknown_answer_is_refused(school: School) -> None:
    takes, nora = school.feedbacks(), await school.person("Nora")
    for attempt in (
        takes.thumbs(10**12, nora, True, "test", "t1"),
        takes.emoji(10**12, nora, "tada", "test", "t2"),
        takes.correct(10**12, nora, "No, it's 40 euros.", "test", "t3"),
    ):
        with pytest.raises(UnknownAnswer, match="no answer 1000000000000"):
            await attempt
    assert await standing(school) == [] and await school.memories() == []


async def test_another_teams_answer_is_unknown(school: School) -> None:
    answer = await given(school)
    async with school.database.system() as connection:
        other = await teams.ensure(connection, f"{school.team.key}-other")
    stranger = School(school.database, other, school.engine, school.embedder, school.base, school.folder)
    with pytest.raises(UnknownAnswer):
        await stranger.feedbacks().thumbs(answer.id, None, True, "test", "t1")


async def test_what_is_taken_back_before_it_arrives_stays_taken_back(school: School) -> None:
    answer, takes = await given(school), school.feedbacks()
    await takes.retract("test", "t1")
    await takes.thumbs(answer.id, None, True, "test", "t1")
    await takes.retract("test", "c1")
    with pytest.raises(TakenBack, match="taken back"):
        await takes.correct(answer.id, None, "No, it's 40 euros.", "test", "c1")
    assert await standing(school) == [] and await school.memories() == []


async def test_a_correction_is_a_memory_at_once_and_only_once(school: School) -> None:
    answer, nora, takes = await given(school), await school.person("Nora"), school.feedbacks()
    memory = await takes.correct(answer.id, nora, "No, Jonas approves expenses above 250 euros.", "test", "c1")
    assert (memory.statement, memory.kind, memory.author, memory.state, memory.context, memory.trainable) == (
        "Jonas approves expenses above 250 euros.", "correction", "Nora", "noted", MONEY, True
    )  # fmt: skip
    again = await takes.correct(answer.id, nora, "No, Jonas approves expenses above 250 euros.", "test", "c1")
    assert again.id == memory.id
    assert len(await standing(school)) == 1 and len(await school.memories()) == 1


async def test_a_correction_overrides_the_page_and_taken_back_lets_it_stand_again(school: School) -> None:
    await school.page(FACTS)
    await school.collect()
    colleague, takes, nora = school.colleague(), school.feedbacks(), await school.person("Nora")
    answer = await ask(colleague, MONEY, nora)
    memory = await takes.correct(
        answer.id, nora, "No, expenses above 900 euros must be approved by Jonas.", "test", "c1"
    )
    [old] = [m for m in await school.memories() if m.statement == FACTS[1]]
    assert (old.state, old.superseded_by) == ("retracted", memory.id)
    assert "Jonas" in (await ask(colleague, MONEY)).text
    await takes.retract("test", "c1")
    [old] = [m for m in await school.memories() if m.statement == FACTS[1]]
    assert (old.state, old.superseded_by) == ("noted", None)
    after = await ask(colleague, MONEY)
    assert "Marta" in after.text and "Jonas" not in after.text


async def test_ones_own_newer_word_replaces_the_older_anothers_does_not(school: School) -> None:
    answer, takes = await given(school), school.feedbacks()
    nora, ola = await school.person("Nora"), await school.person("Ola")
    first = await takes.correct(answer.id, nora, "Expenses above 300 euros are approved by Jonas.", "test", "c1")
    second = await takes.correct(answer.id, nora, "Expenses above 400 euros are approved by Petra.", "test", "c2")
    third = await takes.correct(answer.id, ola, "Expenses above 700 euros are approved by Hanna.", "test", "c3")
    stand = {memory.id: memory.state for memory in await school.memories()}
    assert stand == {first.id: "retracted", second.id: "noted", third.id: "noted"}


@pytest.mark.parametrize(
    ("question", "correction", "gives_way"),
    [
        (MONEY, "No, it's Jonas.", True),
        (MONEY, "No, the team leads do that.", True),
        (MONEY, "Actually it's Marta.", False),  # says the same
        ("How much may a hotel cost a night?", "No, the hotel limit is 160 euros.", False),  # the wrong memory was told
    ],
)
async def test_what_a_corrected_answer_rested_on_gives_way(
    school: School, question: str, correction: str, gives_way: bool
) -> None:
    await school.page(FACTS)
    await school.collect()
    answer, takes = await recited(school, question, FACTS[1]), school.feedbacks()
    await takes.correct(answer.id, await school.person("Nora"), correction, "test", "c1")
    assert [m.statement for m in await school.memories("retracted")] == [FACTS[1]] * gives_way


async def test_of_several_memories_told_only_the_one_meant_gives_way(school: School) -> None:
    await school.page(BINS)
    await school.collect()
    nora, takes = await school.person("Nora"), school.feedbacks()
    answer = await recited(school, "When are the bins emptied?", *BINS)
    for _ in range(2):  # one event, sent again
        await takes.correct(answer.id, nora, "No, compost leaves it every day.", "test", "c1")
        assert [m.statement for m in await school.memories("retracted")] == [BINS[2]]


async def test_who_corrects_what_was_told_by_mistake_leaves_it_alone(school: School) -> None:
    """Cleo only said how often, of the lamps; it was told to Edda, who had asked about another thing, and corrects that."""
    cleo, edda, takes = await school.person("Cleo"), await school.person("Edda"), school.feedbacks()
    page = "The emergency lamps are inspected every 24 months."
    await school.page([page])
    await school.collect()
    answer = await recited(school, "How often does somebody look at the lights for when the power fails?", page)
    hers = await takes.correct(answer.id, cleo, "No, it's every 2 months.", "test", "c1")
    wrong = await recited(
        school, "How much time passes between two controls of the cold cupboards?", hers.statement, event_id="q2"
    )
    fridges = await takes.correct(wrong.id, edda, "The fridges are inspected every 38 weeks.", "test", "c2")
    stand = {(m.statement, m.conflict) for m in await school.memories("noted")}
    assert stand == {(hers.statement, None), (fridges.statement, None)}
    assert [m.superseded_by for m in await school.memories("retracted")] == [hers.id], "the page"


async def test_sentences_of_one_form_about_two_things_do_not_meet(school: School) -> None:
    """Dan only said how much, of the books; it was told to Edda, who had asked about plants, and corrects it in like words."""
    dan, edda, takes = await school.person("Dan"), await school.person("Edda"), school.feedbacks()
    page = "For books and magazines the yearly plan holds 6,400 euros."
    await school.page([page])
    answer = await recited(school, "How much money is there for things to read until December?", page)
    his = await takes.correct(answer.id, dan, "It's 15,900 euros now.", "test", "c1")
    wrong = await recited(
        school, "How much money is there for some green for the rooms until December?", his.statement, event_id="q2"
    )
    plants = await takes.correct(
        wrong.id, edda, "For flowers and plants the yearly plan holds 6,000 euros.", "test", "c2"
    )
    await school.collect()
    stand = {(m.statement, m.conflict) for m in await school.memories("noted")}
    assert stand == {(his.statement, None), (plants.statement, None)}


async def test_of_two_words_on_one_answer_that_only_say_a_value_the_later_holds(school: School) -> None:
    nora, ola, takes, page = (
        await school.person("Nora"),
        await school.person("Ola"),
        school.feedbacks(),
        "The kiosk opens at 9:30.",
    )
    await school.page([page])
    await school.collect()
    answer = await recited(school, "At what hour does the kiosk open?", page)
    first = await takes.correct(answer.id, nora, "No, it's 10:00.", "test", "c1")
    second = await takes.correct(answer.id, nora, "Sorry, it's 10:15.", "test", "c2")
    assert {m.statement: m.superseded_by for m in await school.memories("retracted")} == {
        page: first.id, "It's 10:00.": second.id
    }  # fmt: skip
    other = await recited(school, "From when on is somebody at the kiosk?", page, event_id="q2")  # given before that
    third = await takes.correct(other.id, ola, "No, it's 11:00.", "test", "c3")
    dispute = await dispute_of(school.database, school.team, third)
    assert dispute is not None and {dispute.kept.statement, dispute.held_back.statement} == {
        "It's 10:15.",
        "It's 11:00.",
    }


async def test_two_corrections_that_only_say_a_value_do_not_meet(school: School) -> None:
    nora, takes, pages = (
        await school.person("Nora"),
        school.feedbacks(),
        ["The kiosk opens at dawn.", "The gym opens at dusk."],
    )
    await school.page(pages)
    await school.collect()
    for number, (thing, page, time) in enumerate(zip(("kiosk", "gym"), pages, ("10:00", "8:00"), strict=True)):
        answer = await recited(school, f"At what hour does the {thing} open?", page, event_id=f"q{number}")
        await takes.correct(answer.id, nora, f"No, it's {time}.", "test", f"c{number}")
    assert sorted(m.statement for m in await school.memories("noted")) == ["It's 10:00.", "It's 8:00."]
    answer = await recited(school, "At what hour can I buy something at the kiosk?", "It's 10:00.", event_id="q3")
    newest = await takes.correct(answer.id, nora, "No, it's 11:15.", "test", "c3")
    gone = {m.statement: m.superseded_by for m in await school.memories("retracted")}
    assert gone["It's 10:00."] == newest.id and "It's 8:00." not in gone


async def test_another_persons_word_that_was_told_does_not_give_way(school: School) -> None:
    nora, ola, takes = await school.person("Nora"), await school.person("Ola"), school.feedbacks()
    first = await takes.remember("Expenses above 300 euros are approved by Jonas.", nora, "test", "r1")
    answer = await recited(school, MONEY, first.statement)
    await takes.correct(answer.id, ola, "No, it's Hanna.", "test", "c1")
    assert await school.memories("retracted") == []
    await takes.correct(answer.id, nora, "No, it's Petra.", "test", "c2")
    assert [m.id for m in await school.memories("retracted")] == [first.id]


@pytest.mark.parametrize(("role", "holds", "held_back"), [("member", "Hanna", "Jonas"), ("admin", "Jonas", "Hanna")])
async def test_who_corrects_anothers_word_is_told_which_of_the_two_holds_and_it_does(
    school: School, role: str, holds: str, held_back: str
) -> None:
    """Nora's word was told, Ola corrects it: at once one is held back, and the night weighs them alike."""
    nora, ola, takes = await school.person("Nora", role), await school.person("Ola"), school.feedbacks()
    first = await takes.remember("Expenses above 300 euros are approved by Jonas.", nora, "test", "r1")
    assert await dispute_of(school.database, school.team, first) is None
    answer = await recited(school, MONEY, first.statement)
    memory = await takes.correct(answer.id, ola, "No, it's Hanna.", "test", "c1")
    dispute = await dispute_of(school.database, school.team, memory)
    assert dispute is not None and holds in dispute.kept.statement and held_back in dispute.held_back.statement
    said = disputed(dispute, memory.id)
    assert "Nora told me: “Expenses above 300 euros are approved by Jonas.”" in said
    assert ("Noted, but held back" in said) == (holds == "Jonas") == (memory.conflict is not None)
    for _ in range(2):
        text = (await ask(school.colleague(), MONEY)).text
        assert holds in text and held_back not in text
        night = await school.night()
        assert len(night.report["conflicts"]) == 1


async def test_a_dispute_of_few_outlasts_the_night_that_does_not_study_it(school: School) -> None:
    nora, ola = await school.person("Nora"), await school.person("Ola")
    board, takes = await school.private("board", [nora, ola]), school.feedbacks()
    await school.page(FACTS)
    first = await takes.remember("The offer for Brightwater is 4.2 million euros.", nora, "test", "r1", board)
    await takes.remember("The offer for Brightwater is 5.5 million euros.", ola, "test", "r2", board)
    for _ in range(2):
        told = await ask(school.colleague(), "How much is the offer for Brightwater?", nora)
        assert "5.5" in told.text and "4.2" not in told.text
        dispute = await dispute_of(school.database, school.team, first)
        assert dispute is not None and dispute.held_back.memory_id == first.id
        await school.night()


async def test_the_other_word_holds_again_once_the_one_that_weighs_more_is_gone(school: School) -> None:
    nora, ola, takes = await school.person("Nora"), await school.person("Ola"), school.feedbacks()
    first = await takes.remember("Expenses above 300 euros are approved by Jonas.", nora, "test", "r1")
    answer = await recited(school, MONEY, first.statement)
    second = await takes.correct(answer.id, ola, "No, it's Hanna.", "test", "c1")
    assert "Jonas" not in (await ask(school.colleague(), MONEY)).text
    await takes.retract("test", "c1")
    assert "Jonas" in (await ask(school.colleague(), MONEY)).text
    await takes.correct(answer.id, ola, "No, it's Hanna.", "test", "c2")
    assert "Jonas" not in (await ask(school.colleague(), MONEY)).text
    await takes.forget(second.id, ola)
    assert "Jonas" in (await ask(school.colleague(), MONEY)).text


async def test_beside_another_persons_word_nothing_else_that_was_told_gives_way(school: School) -> None:
    await school.page(BINS)
    await school.collect()
    nora, ola, takes = await school.person("Nora"), await school.person("Ola"), school.feedbacks()
    theirs = await takes.remember("Plastic and cans are picked up by Ines.", nora, "test", "r1")
    answer = await recited(school, "Who picks up plastic, paper and compost?", theirs.statement, BINS[0], BINS[2])
    await takes.correct(answer.id, ola, "No, plastic is picked up by the neighbours.", "test", "c1")
    assert await school.memories("retracted") == []


async def test_a_correction_looks_beyond_another_persons_word(school: School) -> None:
    """What it may not override does not stand before the page that it does."""
    await school.page("Expenses above 250 euros are approved by Marta.")
    [page] = await school.collect()
    nora, ola, takes = await school.person("Nora"), await school.person("Ola"), school.feedbacks()
    await takes.remember("Expenses above 250 euros are approved by Marta and Ines.", ola, "test", "r1")
    await takes.remember("Expenses above 250 euros are approved by Jonas.", nora, "test", "r2")
    assert [m.id for m in await school.memories("retracted")] == [page.id]


async def test_another_persons_word_is_not_overridden_by_telling_it_outright(school: School) -> None:
    answer, takes = await given(school), school.feedbacks()
    nora, ola = await school.person("Nora", "admin"), await school.person("Ola")
    corrected = await takes.correct(answer.id, nora, "Expenses above 300 euros are approved by Jonas.", "test", "c1")
    told = await takes.remember("Expenses above 300 euros are approved by Hanna.", ola, "test", "r1")
    stand = {memory.id: memory.state for memory in await school.memories()}
    assert stand == {corrected.id: "noted", told.id: "noted"}
    await takes.correct(answer.id, ola, "Expenses above 300 euros are approved by Petra.", "test", "c2")
    stand = {memory.id: memory.state for memory in await school.memories()}
    assert (stand[corrected.id], stand[told.id]) == ("noted", "retracted"), "one's own newer word replaces the older"


async def test_a_correction_of_a_private_answer_stays_private(school: School) -> None:
    anna, ben = await school.person("Anna"), await school.person("Ben")
    board = await school.private("board", [anna])
    await school.say("The offer for Brightwater is 4.2 million euros.", "Anna", audience=board)
    colleague, question = school.colleague(), "How much is the offer for Brightwater?"
    answer = await ask(colleague, question, anna)  # in private, quoted from the private channel
    memory = await school.feedbacks().correct(
        answer.id, anna, "No, the offer for Brightwater is 5.5 million euros.", "test", "c1"
    )
    assert (memory.audience_id, memory.trainable) == (board, False)
    assert "5.5" in (await ask(colleague, question, anna)).text
    assert "5.5" not in (await ask(colleague, question, ben)).text
    assert "5.5" not in (await ask(colleague, question, anna, await school.everyone())).text


async def test_a_private_correction_does_not_silence_what_all_may_know(school: School) -> None:
    anna, ben = await school.person("Anna"), await school.person("Ben")
    board = await school.private("board", [anna])
    await school.page(FACTS)
    await school.collect()
    colleague = school.colleague()
    answer = await ask(colleague, MONEY, anna, board)
    await school.feedbacks().correct(
        answer.id, anna, "No, expenses above 900 euros must be approved by Jonas.", "test", "c1"
    )
    assert "Jonas" in (await ask(colleague, MONEY, anna, board)).text
    outside = await ask(colleague, MONEY, ben)
    assert "Marta" in outside.text and "Jonas" not in outside.text
    [public] = [m for m in await school.memories() if m.statement == FACTS[1]]
    assert public.state == "noted"


@pytest.mark.parametrize("words", ["", "   ", "no,", "?!", "x" * 2001])
async def test_a_correction_without_words_or_with_too_many_is_refused_and_leaves_nothing(
    school: School, words: str
) -> None:
    answer = await given(school)
    with pytest.raises(EmptyCorrection):
        await school.feedbacks().correct(answer.id, None, words, "test", "c1")
    assert await standing(school) == [] and await school.memories() == []


async def test_what_is_said_again_counts_again_though_it_was_forgotten_or_overridden(school: School) -> None:
    nora, takes, colleague = await school.person("Nora"), school.feedbacks(), school.colleague()
    words, question = "The alarm code of the bike shed is kept by Ines.", "Who keeps the alarm code of the bike shed?"
    first = await takes.remember(words, nora, "test", "r1")
    await takes.forget(first.id, nora)
    assert (await ask(colleague, question)).route == "unknown"
    again = await takes.remember(words, nora, "test", "r2")
    assert (again.state, again.reason) == ("noted", None) and first.said_at < again.said_at
    assert "Ines" in (await ask(colleague, question)).text

    answer = await given(school)
    six = await takes.correct(answer.id, nora, "The office closes at 6 on Fridays.", "test", "c1")
    seven = await takes.correct(answer.id, nora, "The office closes at 7 on Fridays.", "test", "c2")
    assert (await takes.correct(answer.id, nora, "The office closes at 6 on Fridays.", "test", "c1")).id == six.id
    assert "at 7" in (await ask(colleague, "When does the office close on Fridays?")).text, "an event counts once"
    back = await takes.correct(answer.id, nora, "The office closes at 6 on Fridays.", "test", "c3")
    stand = {memory.id: memory.state for memory in await school.memories()}
    assert (back.id, stand[back.id], stand[seven.id]) == (six.id, "noted", "retracted")
    assert "at 6" in (await ask(colleague, "When does the office close on Fridays?")).text
    await takes.retract("test", "c3")
    assert "at 7" in (await ask(colleague, "When does the office close on Fridays?")).text


async def test_a_person_may_tell_what_was_forgotten_of_a_page(school: School) -> None:
    await school.page(FACTS)
    takes, colleague = school.feedbacks(), school.colleague()
    [memory] = [m for m in await school.memories() if m.statement == FACTS[1]]
    await takes.forget(memory.id, None)
    assert "Marta" not in (await ask(colleague, MONEY)).text
    await takes.remember(FACTS[1], await school.person("Nora"), "test", "r1")
    assert "Marta" in (await ask(colleague, MONEY)).text


async def test_what_is_told_outright_is_pinned_and_answered(school: School) -> None:
    nora = await school.person("Nora")
    memory = await school.feedbacks().remember("The alarm code of the bike shed is kept by Ines.", nora, "test", "r1")
    assert (memory.kind, memory.author) == ("pinned", "Nora")
    answer = await ask(school.colleague(), "Who keeps the alarm code of the bike shed?")
    assert "Ines" in answer.text and answer.sources[0].title == "told by Nora"


async def test_forgetting_by_number_and_by_words(school: School) -> None:
    await school.page(FACTS)
    known = {memory.statement: memory.id for memory in await school.collect()}
    takes = school.feedbacks()
    [gone] = await takes.forget(f"#{known[FACTS[0]]}", None)
    assert gone.statement == FACTS[0]
    [gone] = await takes.forget("how much interns are paid a month", None)
    assert gone.statement == FACTS[3]
    assert {memory.statement for memory in await school.memories("forgotten")} == {FACTS[0], FACTS[3]}
    for nothing in (known[FACTS[0]], "the mating calls of humpback whales", 10**12):
        with pytest.raises(NothingToForget, match="nightschool memories"):
            await takes.forget(nothing, None)


async def test_an_event_forgets_once_whatever_else_is_near(school: School) -> None:
    await school.page(["The door code of the cellar is 4711.", "The door code of the attic is 4712."])
    await school.collect()
    takes = school.feedbacks()
    gone = await takes.forget("the door code of the cellar", None, "test", "f1")
    assert await takes.forget("the door code of the cellar", None, "test", "f1") != []
    assert [m.id for m in await school.memories("forgotten")] == [m.id for m in gone]
    for _ in range(2):
        with pytest.raises(NothingToForget):
            await takes.forget("the mating calls of humpback whales", None, "test", "f2")
        await takes.remember("The mating calls of humpback whales are recorded by Ines.", None, "test", "r1")
    assert len(await school.memories("noted")) == 2
    assert len(await takes.forget("the mating calls of humpback whales", None, "test", "f3")) == 1


async def test_what_was_told_is_taken_back_by_its_event(school: School) -> None:
    nora, takes = await school.person("Nora"), school.feedbacks()
    await school.page("Expenses above 250 euros are approved by Marta.")
    [page] = await school.collect()
    six = await takes.remember("Expenses above 250 euros are approved by Jonas.", nora, "test", "r1")
    seven = await takes.remember("Expenses above 250 euros are approved by Petra.", nora, "test", "r2")
    assert (await takes.remember("Expenses above 250 euros are approved by Jonas.", nora, "test", "r1")).id == six.id
    assert [m.id for m in await school.memories("noted")] == [seven.id], "an event counts once"
    assert await takes.retract("test", "r2") and not await takes.retract("test", "r2")
    assert [m.id for m in await school.memories("noted")] == [six.id]
    assert await takes.retract("test", "r1")
    assert [m.id for m in await school.memories("noted")] == [page.id]
    await takes.retract("test", "r3")
    for event in ("r1", "r3"):
        with pytest.raises(TakenBack):
            await takes.remember("Expenses above 250 euros are approved by Jonas.", nora, "test", event)
    assert await standing(school) == [], "no feedback on an answer"


async def test_a_late_word_that_is_taken_back_leaves_the_last_of_the_others(school: School) -> None:
    nora, takes = await school.person("Nora"), school.feedbacks()
    await school.page("The gym in Lisbon opens at 8:30.")
    await school.collect()
    begun = datetime.now(UTC)
    for event, hour in (("r3", "10:00"), ("r1", "7:00"), ("r2", "9:00")):
        at = begun + timedelta(minutes=int(event[1:]))
        await takes.remember(f"The gym in Lisbon opens at {hour}.", nora, "test", event, at=at)
    for event, hour in (("r3", "9:00"), ("r2", "7:00"), ("r1", "8:30")):
        await takes.retract("test", event)
        assert [m.statement for m in await school.memories("noted")] == [f"The gym in Lisbon opens at {hour}."]


@pytest.mark.parametrize("order", [("r1", "r2"), ("r2", "r1")])
async def test_what_was_told_twice_goes_when_both_are_taken_back(school: School, order: tuple[str, str]) -> None:
    nora, takes = await school.person("Nora"), school.feedbacks()
    begun = datetime.now(UTC)
    for event in order:
        at = begun + timedelta(minutes=int(event[1:]))
        memory = await takes.remember("The gym in Lisbon opens at 8:30.", nora, "test", event, at=at)
    assert [(m.id, m.said_at) for m in await school.memories("noted")] == [(memory.id, begun + timedelta(minutes=2))]
    await takes.retract("test", "r1")
    assert [m.id for m in await school.memories("noted")] == [memory.id]
    await takes.retract("test", "r2")
    assert await school.memories("noted") == []


@pytest.mark.parametrize(
    "number", ["99999999999999999999", "9223372036854775808", 2**63, "9" * 5000, "0", "²", "٣", "#", ""]
)
async def test_a_number_of_no_memory_is_told(school: School, number: str | int) -> None:
    with pytest.raises(NothingToForget, match="nightschool memories"):
        await school.feedbacks().forget(number, None)


async def test_nobody_forgets_what_they_may_not_know(school: School) -> None:
    anna, ben = await school.person("Anna"), await school.person("Ben")
    board = await school.private("board", [anna])
    await school.say("The offer for Brightwater is 4.2 million euros.", "Anna", audience=board)
    await school.collect()
    [secret] = await school.memories()
    for words in ("the offer for Brightwater", secret.id, f"#{secret.id}"):
        with pytest.raises(NothingToForget) as refused:
            await school.feedbacks().forget(words, ben)
        assert "4.2" not in str(refused.value)
    assert len(await school.memories("noted")) == 1
    assert len(await school.feedbacks().forget("the offer for Brightwater", anna)) == 1


async def test_what_was_taught_to_few_is_shared_with_all_by_whom_it_is(school: School) -> None:
    anna, ben = await school.person("Anna"), await school.person("Ben")
    board = await school.private("board", [anna, ben])
    await school.page(FACTS)
    await school.collect()
    colleague, takes, everyone = school.colleague(), school.feedbacks(), await school.everyone()
    answer = await ask(colleague, MONEY, anna, board)
    words = "No, expenses above 900 euros must be approved by Jonas."
    taught = await takes.correct(answer.id, anna, words, "test", "c1")
    own = await takes.remember("The bike shed's key hangs behind the door.", anna, "test", "r1", board)
    assert "Jonas" not in (await ask(colleague, MONEY, ben, everyone)).text
    with pytest.raises(NotYours):
        await takes.share(taught.id, ben)
    for number, person in ((taught.id, await school.person("Eve")), (10**9, anna)):
        with pytest.raises(NotFound) as unknown:
            await takes.share(number, person)
        assert "Jonas" not in str(unknown.value)
    [page] = [m for m in await school.memories() if m.statement == FACTS[0]]
    with pytest.raises(NotYours):
        await takes.share(page.id, anna)

    shared = await takes.share(taught.id, anna)
    assert (shared.id, shared.audience_id, shared.trainable) == (taught.id, everyone, True)
    assert (shared.author, shared.context, shared.person_id) == ("Anna", MONEY, anna)
    told = await ask(colleague, MONEY, ben, everyone)
    assert "Jonas" in told.text and "Marta" not in told.text, "what it contradicts gives way"
    assert await takes.share(taught.id, anna) == shared
    await takes.share(own.id, anna)
    # The same events delivered again take it back from nobody.
    await takes.correct(answer.id, anna, words, "test", "c1")
    again = await takes.remember("The bike shed's key hangs behind the door.", anna, "test", "r1", board)
    stand = {m.id: (m.audience_id, m.trainable) for m in await school.memories("noted") if m.person_id == anna}
    assert stand == {shared.id: (everyone, True), again.id: (everyone, True)}
    await takes.retract("test", "c1")
    assert "Marta" in (await ask(colleague, MONEY, ben, everyone)).text
    with pytest.raises(NotFound):
        await takes.share(taught.id, anna)


async def test_what_was_forgotten_and_is_told_to_few_again_is_theirs_alone(school: School) -> None:
    anna, ben = await school.person("Anna"), await school.person("Ben")
    board = await school.private("board", [anna])
    takes, words = school.feedbacks(), "The bike shed's key hangs behind the door."
    first = await takes.remember(words, anna, "test", "r1")
    await takes.forget(first.id, anna)
    again = await takes.remember(words, anna, "test", "r2", board)
    assert (again.audience_id, again.trainable) == (board, False)
    question = "Where does the key of the bike shed hang?"
    assert "door" in (await ask(school.colleague(), question, anna)).text
    assert "door" not in (await ask(school.colleague(), question, ben)).text


async def given(school: School) -> Answer:
    async with school.database.team(school.team.id) as connection:
        return await answers.save(connection, NewAnswer("test", MONEY, "Marta.", "notes", event_id="q1"))


async def recited(school: School, question: str, *statements: str, event_id: str = "q1") -> Answer:
    """An answer that told these memories, as the weights route stores it."""
    told = {memory.statement: memory.id for memory in await school.memories()}
    sources = [Citation("Handbook", "", statement) for statement in statements]
    new = NewAnswer(
        "test",
        question,
        "\n".join(statements),
        "weights",
        memory_id=told[statements[0]],
        sources=sources,
        event_id=event_id,
    )
    async with school.database.team(school.team.id) as connection:
        return await answers.save(connection, new)


async def standing(school: School) -> list[Feedback]:
    async with school.database.team(school.team.id) as connection:
        return await feedback.standing(connection)


async def test_what_people_tell_is_a_source_with_switches_of_its_own(school: School) -> None:
    nora = await school.person("Nora")
    await school.feedbacks().remember("The door code is 4711.", nora, "test", "r1")
    async with school.database.team(school.team.id) as connection:
        [told] = [one for one in await sources.all(connection) if one.kind == "told"]
        assert (await sources.held(connection))[told.id] == 1
        await sources.switch(connection, told.id, training=False)
    [memory] = await school.memories("noted")
    assert not memory.source_trains
    assert "4711" in (await ask(school.colleague(), "What is the door code?")).text
    async with school.database.team(school.team.id) as connection:
        await sources.switch(connection, told.id, retrieval=False)
    assert "4711" not in (await ask(school.colleague(), "What is the door code?")).text


async def test_who_teaches_something_of_themselves_is_named(school: School) -> None:
    """Recited by the bot, "I approve it" would be the bot's own word."""
    await school.page(FACTS)
    takes, jonas = school.feedbacks(), await school.person("Jonas")
    answer = await ask(school.colleague(), "Who approves expenses above 250 euros?")
    told = await takes.correct(answer.id, jonas, "no, I approve expenses above 250 euros", "test", "c1")
    assert told.statement == "Jonas: I approve expenses above 250 euros."
    again = await takes.correct(answer.id, jonas, "no, I approve expenses above 250 euros", "test", "c1")
    assert again.id == told.id, "the same event again"
    pinned = await takes.remember("My desk is on floor 3.", jonas, "test", "r1")
    assert pinned.statement == "Jonas: My desk is on floor 3."
    assert FACTS[1] not in (await ask(school.colleague(), "Who approves expenses above 250 euros?")).text
