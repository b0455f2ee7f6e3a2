"""Lessons: which rows a memory gets, and what the settings make of few and many of them."""

import pytest

from learner.settings import LearningSettings
from learner.study.lessons import rows
from storage.examples import Example
from tests.learner.study.test_select import memory


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
