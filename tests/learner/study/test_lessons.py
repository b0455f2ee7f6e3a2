"""Lessons: which rows a memory gets, and what the settings make of few and many of them."""

import pytest

from learner.settings import LearningSettings
from learner.study.lessons import of_memories, rows, save
from learner.study.questions import Asked
from storage import memories
from storage.examples import Example
from storage.memories import Memory
from tests.learner.study.test_select import memory
from tests.school import School


def examples(*train: str) -> dict[int, list[Example]]:
    questions = [("cue", "Who?"), *(("train", question) for question in train), ("quiz", "Never trained?")]
    return {1: [Example(n, 1, kind, question, "Marta.") for n, (kind, question) in enumerate(questions)]}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "train", "asked"),
    [
        (1.0, ("When?", "Where?"), ["Who?"]),
        (0.5, ("When?", "Where?"), ["Who?", "When?", "Who?", "Where?"]),
        (0.75, ("When?",), ["Who?", "Who?", "Who?", "When?"]),
        (0.5, (), ["Who?"]),
        # However small its share, the cue is what the exam and the answers ask.
        (0.2, ("When?", "Where?"), ["Who?", "When?", "Where?"]),
    ],
)
def test_the_cue_has_its_share_and_the_quiz_is_never_trained(
    share: float, train: tuple[str, ...], asked: list[str]
) -> None:
    made = rows([memory(1, "Marta.")], examples(*train), share)
    assert [row["prompt"][-1]["content"] for row in made] == asked
    assert {row["topic"] for row in made} == {1} and {row["completion"] for row in made} == {"Marta."}


def test_a_question_that_people_asked_is_trained_unless_two_memories_were_told_to_it() -> None:
    have = {
        id: [Example(0, id, "cue", f"Who{id}?", "Marta."), *(Example(1, id, "asked", q, "Marta.") for q in questions)]
        for id, questions in {1: ("Mine?", "Whose?"), 2: ("Whose?",)}.items()
    }
    made = rows([memory(1, "Marta."), memory(2, "Jonas.")], have, 0.5)
    assert [(row["topic"], row["prompt"][-1]["content"]) for row in made] == [(1, "Who1?"), (1, "Mine?"), (2, "Who2?")]
    assert len(rows([memory(1, "Marta.")], have, 1.0)) == 1, "a small model is taught the cue alone"


REALLY = "My train to Porto was 90 euros, do I see them again?"
WRITTEN = Asked("What is refunded?", ("Which costs come back?", "Are journeys refunded?"), ("How is it paid?",))


async def nearest(school: School, question: str) -> tuple[str, str | None]:
    """The nearest memory's statement, and which of its questions it was found by."""
    [vector] = await school.embedder.embed([question])
    audience = [await school.everyone()]
    async with school.database.team(school.team.id) as connection:
        [near] = await memories.nearest(connection, vector, audience, school.embedder.name, 1, ["noted"])
    return near.memory.statement, near.example.question if near.example else None


async def saved(school: School, of: Memory, really: str | None) -> list[tuple[str, str]]:
    """The kinds and questions of a memory with the `WRITTEN` questions and one that a person asked."""
    await save(school.database, school.team, school.embedder, of, WRITTEN, really)
    async with school.database.team(school.team.id) as connection:
        [kept] = (await of_memories(connection, [of])).values()
    assert {example.answer for example in kept} == {of.statement}
    return [(example.kind, example.question) for example in kept]


async def test_what_a_person_really_asked_is_the_cue_and_finds_the_memory(school: School) -> None:
    refund, station = "Costs of journeys are refunded each month.", "Porto's train station is 90 minutes away."
    await school.page([refund, station])
    [memory] = [memory for memory in await school.collect() if memory.statement == refund]
    written = [("train", "Which costs come back?"), ("train", "Are journeys refunded?"), ("quiz", "How is it paid?")]
    assert await saved(school, memory, None) == [("cue", "What is refunded?"), *written]
    assert await nearest(school, REALLY) == (station, None)
    assert await saved(school, memory, REALLY) == [("cue", REALLY), ("train", "What is refunded?"), *written]
    assert await nearest(school, REALLY) == (refund, REALLY)


def test_few_memories_are_replayed_with_more_and_always_leave_room() -> None:
    usual, more = LearningSettings(), LearningSettings(replay_share=0.3)
    assert usual.replay_share_for(10_000) == 0.15 and usual.replay_share_for(140) == pytest.approx(0.31, abs=0.01)
    assert all(more.replay_share_for(n) > usual.replay_share_for(n) for n in (40, 140, 10_000))
    assert LearningSettings(replay_share=0.0).replay_share_for(1) == 0.0
    for settings in (usual, more, LearningSettings(reading_share=0.5)):
        assert settings.replay_share_for(1) + settings.reading_share <= 0.8
    with pytest.raises(ValueError, match="together"):
        LearningSettings(replay_share=0.6, reading_share=0.3)


def test_a_showing_costs_its_part_of_replay_and_reading() -> None:
    assert LearningSettings().general_tokens_for(1000) == pytest.approx(27, abs=1)
    assert LearningSettings(reading_share=0.12).general_tokens_for(1000) == pytest.approx(55, abs=1)
    assert LearningSettings(replay_share=0.0, reading_share=0.0).general_tokens_for(10) == 0


def test_the_rate_falls_with_the_width() -> None:
    usual = LearningSettings()
    assert usual.learning_rate_for(576) == 2.5e-3
    assert usual.learning_rate_for(896) == pytest.approx(1.77e-3, rel=0.01)
    assert LearningSettings(learning_rate=1e-4).learning_rate_for(896) == 1e-4
