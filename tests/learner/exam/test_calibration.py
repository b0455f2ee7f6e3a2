"""What the exam finds out about the match, with the real embedder."""

from learner.engine.embedder import Embedder
from learner.exam.calibration import of_match
from learner.exam.exam import Paper
from learner.settings import LearningSettings
from storage.examples import Example
from tests.learner.study.test_select import memory

FACTS = {
    1: ("The office opens at 8:30 every morning.", "From when on is the office open?"),
    2: ("Expenses above 250 euros must be approved by Marta.", "Who has to approve an expense of 300 euros?"),
    3: ("The ferry to the island leaves from pier four.", "Which pier does the ferry leave from?"),
    4: ("The roof of the greenhouse was mended in March.", "When was the greenhouse's roof mended?"),
}


def paper(*ids: int) -> Paper:
    return Paper(
        [memory(n, FACTS[n][0]) for n in FACTS],
        {n: [Example(n, n, "quiz", FACTS[n][1], FACTS[n][0])] for n in ids},
        frozenset(),
        [],
    )


async def test_what_is_there_is_told_and_what_was_taken_away_is_declined(embedder: Embedder) -> None:
    found = await of_match(embedder, paper(1, 2, 3, 4), LearningSettings())
    assert found.refused_answerable == 0.0
    assert found.refused is not None and found.refused >= 0.75, "none of the others is about that"
    strict = await of_match(embedder, paper(1, 2, 3, 4), LearningSettings(notes_threshold=1.0))
    assert (strict.refused, strict.refused_answerable) == (1.0, 1.0)


async def test_without_quiz_questions_nothing_is_known_about_it(embedder: Embedder) -> None:
    found = await of_match(embedder, paper(), LearningSettings())
    assert (found.refused, found.refused_answerable) == (None, None)
    assert found.thresholds.weights == LearningSettings().weights_threshold
