"""What the exam finds out about the match and about who reads best, with the real embedder and real notes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from learner.engine.embedder import Embedder
from learner.engine.engine import Generation, Message
from learner.exam.calibration import calibrate, of_match, reader
from learner.exam.exam import Paper
from learner.settings import LearningSettings
from storage.examples import Example
from tests.learner.study.test_select import memory
from tests.school import School

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


@pytest.mark.parametrize(
    ("right", "wrong", "threshold"),
    [
        ([0.8] * 8, [0.4] * 3, 0.8),
        ([0.5, *[0.8] * 9], [0.4, 0.45, *[0.6] * 8], 0.8),
        ([0.8] * 8, [], 0.55),
        ([0.8] * 7, [0.4] * 7, 0.55),
    ],
)
def test_the_threshold_parts_right_matches_from_wrong_ones(
    right: Sequence[float], wrong: Sequence[float], threshold: float
) -> None:
    """At the cost of a right one where that keeps out more wrong ones; with few of either the setting stands."""
    assert calibrate(right, wrong, 0.55) == threshold


async def test_what_a_model_asked_makes_the_match_stricter_at_most(embedder: Embedder) -> None:
    asked = {n: (statement, statement.rstrip(".") + "?") for n, (statement, _) in FACTS.items()}
    asked |= {n + 10: (f"The {what} stands in room {n}.", f"Where is the {what}?") for n, what in enumerate(THINGS)}
    every = Paper(
        [memory(n, statement) for n, (statement, _) in asked.items()],
        {n: [Example(n, n, "quiz", question, statement)] for n, (statement, question) in asked.items()},
        frozenset(),
        [],
    )
    for setting in (0.1, 0.55):
        found = await of_match(embedder, every, LearningSettings(weights_threshold=setting))
        assert setting <= found.thresholds.weights <= setting + 0.15
    assert found.thresholds.weights > 0.55, "twelve right ones were much surer"
    assert found.refused is not None and 0 < found.refused < 1 and found.refused_answerable == 0.0


THINGS = ("printer", "piano", "fridge", "safe", "plotter", "ladder", "projector", "kettle")


@dataclass
class Reading:
    """An engine of which base model and adapter read as they are told to, from a prompt with the notes in view."""

    base: Callable[[str], str]
    adapter: Callable[[str], str]

    async def generate(self, messages: Sequence[Message], *, adapter: str | None, max_tokens: int) -> Generation:
        text = (self.base if adapter is None else self.adapter)(messages[-1]["content"])
        return Generation(text, 100, 10, (-0.1,) * 10, 0.1, True)


def reads(asked: dict[str, str]) -> Callable[[str], str]:
    return lambda prompt: next((answer for question, answer in asked.items() if question in prompt), "I am not sure.")


async def test_who_reads_best_reads_the_notes_and_the_quote_has_the_benefit_of_the_doubt(school: School) -> None:
    """The quote is right for one of the four questions; to be chosen a reader must get two more right."""
    statements = {
        "The printer of the third floor is broken.": "Which printer is broken?",
        "The printer of the second floor is new.": "Which broken printer is on the third floor, as the second floor's is new?",
        "The third floor is being painted.": "Is the printer of the third floor broken while the floor is painted?",
        "The second floor has no printer paper left.": "Is the new printer of the second floor out of order?",
    }
    await school.page(list(statements))
    noted = {m.statement: m for m in await school.collect()}
    quiz = {
        noted[s].id: [Example(n, noted[s].id, "quiz", question, s)]
        for n, (s, question) in enumerate(statements.items())
    }
    paper = Paper(list(noted.values()), quiz, frozenset(), [])

    async def best(base: int, adapter: int) -> tuple[str, dict[str, int]]:
        """With readers that get so many of the questions right."""
        right = [(question, statement) for statement, question in statements.items()]
        engine = Reading(reads(dict(right[:base])), reads(dict(right[:adapter])))
        return await reader(
            school.database,
            school.team,
            engine,
            "night",
            school.embedder,
            paper,
            LearningSettings(evidence=4),  # type: ignore[arg-type]
        )

    quoted = (await best(0, 0))[1]["quote"]
    assert quoted <= 2, "else there is nothing to win"
    assert await best(0, 0) == ("quote", {"asked": 4, "quote": quoted, "generate": 0, "adapter": 0})
    assert (await best(quoted + 1, 0))[0] == "quote"
    assert (await best(quoted + 2, 0))[0] == "generate"
    assert (await best(0, quoted + 2))[0] == "adapter"
    assert (await best(quoted + 2, quoted + 2))[0] == "generate", "the adapter must be better than the base model too"
