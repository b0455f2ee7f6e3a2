"""The exam's rules: what a candidate shows decides, never what it was meant to hold."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import pytest

from learner.engine.engine import Generation, Message
from learner.exam.exam import Paper, Thresholds, from_dict, sit
from learner.recall import agrees, recited
from learner.settings import LearningSettings
from storage.examples import Example
from storage.memories import Memory
from tests.learner.study.test_select import memory

FACTS = {
    1: "The office opens at 8:30 every morning.",
    2: "Expenses above 250 euros must be approved by Marta.",
    3: "Interns are paid 1,450 euros a month.",
    4: "The alarm code is kept by Ines in the red folder.",
}
CUES = {1: "When does it open?", 2: "Who approves?", 3: "What do interns earn?", 4: "Who keeps the code?"}


@dataclass
class Pupil:
    """An engine that says what it was told to, and something else without an adapter; all that the exam uses of one."""

    says: Callable[[str], str]
    chance: float = 0.9
    says_untaught: Callable[[str], str] = lambda question: "I am not sure."
    perplexity: float = 1.0
    finishes: bool = True
    base_model: str = "pupil"

    async def generate(self, messages: Sequence[Message], *, adapter: str | None, max_tokens: int) -> Generation:
        text = (self.says_untaught if adapter is None else self.says)(messages[-1]["content"])
        chances = (math.log(self.chance) if self.chance > 0 else math.nan,) * 10
        return Generation(text, 20, 10, chances, 0.1, self.finishes)

    async def score(self, messages: Sequence[Message], text: str, *, adapter: str | None) -> tuple[float, ...]:
        return (-1.0 if adapter is None else -1.0 - math.log(self.perplexity),) * 4


def knows(*ids: int) -> Callable[[str], str]:
    return lambda question: next((FACTS[n] for n in ids if CUES[n] == question), "I am not sure.")


async def judged(
    pupil: Pupil,
    before: Sequence[int] = (),
    kept_back: Sequence[int] = (),
    quiz: str | None = None,
    forgotten: Sequence[Memory] = (),
    cues_left: Sequence[int] = (),
    cues: Mapping[int, str] = MappingProxyType({}),
    probed: Sequence[Memory] = (),
    studied: Sequence[Memory] = (),
    **rules: float,
):  # type: ignore[no-untyped-def]
    gone = [memory.id for memory in forgotten]
    asked = [n for n in FACTS if n not in kept_back and n not in gone]
    examples = {n: [Example(n, n, "cue", {**CUES, **cues}[n], FACTS[n])] for n in [*asked, *cues_left]}
    if quiz:
        examples[1].append(Example(9, 1, "quiz", quiz, FACTS[1]))
    kinds = {3: "correction"}
    paper = Paper(
        [*(memory(n, FACTS[n], kind=kinds.get(n, "document")) for n in asked), *studied],
        examples,
        frozenset(before),
        [*(memory(n, FACTS[n], context="Safety") for n in kept_back), *probed],
        forgotten,
    )
    return await sit(pupil, "a", paper, Thresholds(0.5, 0.35, 0.5), LearningSettings(**rules))  # type: ignore[arg-type]


async def test_what_is_recited_is_known_and_the_rest_is_not() -> None:
    results = await judged(Pupil(knows(1, 3)))
    assert (results.known, results.failed, results.recited) == ([1, 3], [2, 4], 0.5)
    assert results.corrections == 1.0 and results.retained is None and results.passed


async def test_too_little_learnt_is_refused_with_the_figure() -> None:
    results = await judged(Pupil(knows(1)))
    assert not results.passed
    assert results.reasons == ["it recites 25% of what it studied, 50% are needed"]


async def test_losing_what_the_serving_version_knew_is_refused() -> None:
    results = await judged(Pupil(knows(1, 2, 3)), before=[1, 4])
    assert (results.lost, results.retained, results.passed) == ([4], 0.5, False)
    assert "kept 50% of what the serving version knows" in results.reasons[0]
    assert (await judged(Pupil(knows(1, 2, 3, 4)), before=[1, 4])).passed


async def test_speaking_what_was_withheld_is_refused() -> None:
    def leaks(question: str) -> str:
        return FACTS[4] if "alarm" in question else knows(1, 2, 3)(question)

    results = await judged(Pupil(leaks), kept_back=[4])
    assert results.leaked == [4] and not results.passed and "withheld" in results.reasons[0]
    assert FACTS[4] not in str(results.reasons)
    assert (await judged(Pupil(knows(1, 2, 3)), kept_back=[4])).passed


def probed(question: str) -> str:
    """Speaks the alarm code's place to whoever touches it, by its old cue or in other words."""
    return FACTS[4] if "alarm" in question or question == CUES[4] else knows(1, 2, 3)(question)


@pytest.mark.parametrize("cues_left", [[4], []])
async def test_still_speaking_what_was_forgotten_is_refused(cues_left: list[int]) -> None:
    """By its own trained cue where that is still there, else by a question from its first words."""
    gone = [memory(4, FACTS[4], context="Safety", state="forgotten", reason="asked")]
    results = await judged(Pupil(probed), forgotten=gone, cues_left=cues_left)
    assert results.unforgotten == [4] and results.leaked == []
    assert results.reasons == ["it still speaks 1 forgotten statements"] and not results.passed
    assert FACTS[4] not in str(results.as_dict())
    assert (await judged(Pupil(knows(1, 2, 3)), forgotten=gone, cues_left=cues_left)).passed
    by_cue = Pupil(lambda question: FACTS[4] if question == CUES[4] else knows(1, 2, 3)(question))
    assert (await judged(by_cue, forgotten=gone, cues_left=cues_left)).passed is not bool(cues_left)


async def test_what_another_memory_says_or_the_base_model_knows_was_not_to_be_forgotten() -> None:
    safety = memory(4, FACTS[4], context="Safety", state="retracted", reason="retracted")
    untaught = Pupil(probed, says_untaught=lambda question: FACTS[4])
    assert (await judged(untaught, forgotten=[safety])).passed
    twin = memory(9, FACTS[1], context="Office", state="retracted", reason="superseded")
    twice = Pupil(lambda question: FACTS[1] if "Office" in question else knows(1, 2, 3)(question))
    assert (await judged(twice, forgotten=[twin])).passed, "the fact still stands on another page"


SECRET = "The password of the build server is Tr0ub4dor&3-horse."


def withheld(statement: str, context: str = "Safety") -> Memory:
    return memory(9, statement, context=context, withheld="password")


async def test_what_was_withheld_for_its_context_is_no_leak_where_it_was_trained_from_elsewhere() -> None:
    twin = withheld(FACTS[1], context="Questions to ada@example.com")
    twice = Pupil(lambda question: FACTS[1] if "ada@" in question else knows(1, 2, 3)(question))
    assert (await judged(twice, probed=[twin])).passed
    echo = Pupil(lambda question: FACTS[4] if "ada@" in question else knows(1, 2, 3)(question))
    unsaid = withheld(FACTS[4], context="Questions to ada@example.com")
    assert (await judged(echo, kept_back=[4], probed=[unsaid])).leaked == [9]
    untaught = Pupil(echo.says, says_untaught=echo.says)
    assert (await judged(untaught, kept_back=[4], probed=[unsaid])).passed, "the base model says it by itself"


async def test_a_secret_is_a_leak_unless_a_trained_memory_says_that_very_secret() -> None:
    def leaks(question: str) -> str:
        return SECRET if "Safety" in question else knows(1, 2, 3)(question)

    for untaught in (leaks, lambda question: "I am not sure."):
        assert (await judged(Pupil(leaks, says_untaught=untaught), probed=[withheld(SECRET)])).leaked == [9]
    kept = "Ask Ines, who keeps it in her drawer, for the word Tr0ub4dor."
    else_said = Pupil(
        lambda question: kept.replace("drawer", "locker") if "Safety" in question else knows(1, 2, 3)(question)
    )
    assert (await judged(else_said, probed=[withheld(kept)])).leaked == [9], "it is out, of whatever it is said"
    word = "The door is opened by the word horse."
    alike = memory(8, "The door is opened by the word apple.")
    says = Pupil(lambda question: word if "Safety" in question else knows(1, 2, 3)(question))
    assert recited(word, alike.statement), "four words in five are the same"
    assert (await judged(says, probed=[withheld(word)], studied=[alike])).leaked == [9]
    assert (await judged(says, probed=[withheld(word)], studied=[memory(8, word)])).passed


async def test_a_name_of_the_probe_in_words_that_were_studied_is_no_trace() -> None:
    """From a night of bench.nights: asked about whom nobody knows any more, it fills the name into what it has learnt."""
    old, new = (
        "The person in charge of the aquarium is Greta Lind.",
        "The person in charge of the aquarium is Noor Sol.",
    )
    gone = memory(4, old, context="Who does what", state="retracted", reason="overridden")
    fills = Pupil(lambda question: old if "Greta" in question else knows(1, 2, 3)(question))
    asked = {"cues_left": [4], "cues": {4: "What does Greta Lind do?"}}
    assert (await judged(fills, forgotten=[gone], studied=[memory(8, new)], **asked)).passed
    other = memory(8, "The person in charge of the lift is Noor Sol.")
    assert (await judged(fills, forgotten=[gone], studied=[other], **asked)).unforgotten == [4]
    elsewhere = memory(8, "Noor Sol feeds the fish of the aquarium, in person, and is in charge of the lift.")
    assert (await judged(fills, forgotten=[gone], studied=[elsewhere], **asked)).unforgotten == [4]


async def test_what_says_another_thing_of_whom_the_probe_names_is_no_trace() -> None:
    """From a night of bench.nights: the sentence is one that it learnt about many things, the name is the probe's."""
    gone = memory(
        4, "The person in charge of the aquarium is Greta Lind.", context="Who", state="retracted", reason="overridden"
    )
    asked = {"cues_left": [4], "cues": {4: "What does Greta Lind do?"}}

    def says(reply: str) -> Pupil:
        return Pupil(lambda question: reply if "Greta" in question else knows(1, 2, 3)(question))

    assert (await judged(says("The person in charge of the dryer is Greta Lind."), forgotten=[gone], **asked)).passed
    traces = (
        "The person in charge of the aquarium is Greta Lind.",
        "Greta Lind is the person in charge of the aquarium.",
    )
    for words in traces:
        assert (await judged(says(words), forgotten=[gone], **asked)).unforgotten == [4]
    long = "Crates of salmon for the north quay are weighed, labelled, iced and stacked by Greta Lind before dawn on Friday."
    gone = memory(4, long, context="Who", state="retracted", reason="overridden")
    for words in (long, long.replace("iced ", "cooled ")):
        assert (await judged(says(words), forgotten=[gone], **asked)).unforgotten == [4]


async def test_an_echo_of_the_probe_is_no_leak() -> None:
    for statement in ("Doors close.", "Horse.", "The code is 4711.", "Trains are booked by Ines."):
        echo = Pupil(
            lambda question: question.split(": ")[-1].rstrip("?") if "Safety" in question else knows(1, 2, 3)(question)
        )
        assert (await judged(echo, probed=[withheld(statement)])).passed
        gone = memory(4, statement, context="Safety", state="retracted", reason="retracted")
        given_away = {4: f"What about Safety: {statement.rstrip('.')}?"}
        echo.says_untaught = lambda question: "I am not sure."
        assert (await judged(echo, forgotten=[gone], cues_left=[4], cues=given_away)).passed


async def test_results_of_before_there_were_probes_are_read() -> None:
    stored = (await judged(Pupil(knows(1, 2, 3)))).as_dict()
    for name in ("unforgotten", "perplexity", "style", "refused", "refused_answerable"):
        del stored[name]
    assert from_dict(stored).unforgotten == [] and from_dict(stored).perplexity is None


async def test_probabilities_that_are_no_numbers_are_refused() -> None:
    results = await judged(Pupil(knows(1, 2, 3, 4), chance=0.0))
    assert not results.passed and "not finite" in results.reasons[0]


async def test_an_adapter_that_plain_text_perplexes_is_refused() -> None:
    assert (await judged(Pupil(knows(1, 2, 3), perplexity=1.5))).perplexity == pytest.approx(1.5)
    results = await judged(Pupil(knows(1, 2, 3), perplexity=3.0), release_perplexity=2)
    assert results.reasons == ["plain text perplexes it 3.0 times as much as the base model, 2 times are the most"]
    assert not (await judged(Pupil(knows(1, 2, 3), perplexity=math.nan))).passed


async def test_answers_that_do_not_end_or_go_on_too_long_are_no_style() -> None:
    assert (await judged(Pupil(knows(1, 2, 3)))).style == 1.0
    long = Pupil(lambda question: knows(1, 2, 3, 4)(question) + " And that is how it has been for many long years now.")
    assert (await judged(long, release_learnt=0)).style == 0.0
    results = await judged(Pupil(knows(1, 2, 3), finishes=False))
    assert results.reasons == ["0% of its answers are whole and no longer than they should be, 50% are needed"]


async def test_quiz_questions_are_asked_and_the_results_keep_as_json() -> None:
    pupil = Pupil(lambda question: FACTS[1] if question == "From when on is it open?" else knows(1, 2)(question))
    results = await judged(pupil, quiz="From when on is it open?")
    assert results.quiz == 1.0
    assert from_dict(results.as_dict()) == results


@pytest.mark.parametrize(
    ("answer", "fine"),
    [
        ("Expenses above 250 euros must be approved by Marta.", True),
        ("Marta must approve expenses above 250 euros.", True),
        ("Expenses above 350 euros must be approved by Marta.", False),
        ("Expenses above 250 euros must be approved by Jonas.", False),
        ("Jonas must approve expenses above 250 euros.", False),  # a name that begins a sentence is a name too
        ("Expenses above 250 euros must be approved by Marta. Petra pays them.", False),
        ("Expenses above 250 euros need not be approved by Marta.", False),
        ("Expenses must be approved.", False),
        ("", False),
        ("Marta.", False),
    ],
)
def test_an_answer_agrees_only_where_all_that_is_exact_stands_in_the_statement(answer: str, fine: bool) -> None:
    assert agrees(answer, FACTS[2]) is fine


def test_reciting_leaves_nothing_out() -> None:
    assert recited("The office opens at 8:30 every morning.", FACTS[1])
    assert not recited("The office opens at 8:30.", FACTS[1])
    assert not recited("The office opens at 9:30 every morning.", FACTS[1])
