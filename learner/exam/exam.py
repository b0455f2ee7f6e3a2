"""The exam: a candidate adapter answers from the weights alone, and only what it shows decides release.

Asked are every studied memory by its cue, quiz questions that were never trained, the corrections, what the serving version
knew, what was withheld or forgotten (which must not come out), the base model's own skills, and plain text.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from learner.engine.engine import Engine, Generation
from learner.exam import fluency, skills
from learner.recall import adds, agrees, closed_book, content, recited
from learner.settings import LearningSettings
from learner.study.questions import keyword_question
from learner.study.redact import withheld
from learner.study.select import TOLD
from storage.examples import Example
from storage.memories import Memory

_QUIZZED = 200
"""Quiz questions that are asked: they judge nothing alone, and a second or third thousand would take minutes of the night."""

Thing = TypeVar("Thing")

Reader = Literal["quote", "generate", "adapter"]
"""What the notes route shows: the sentences as they stand, or what the base model or the adapter reads in them."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the answer path needs to be sure of, and who reads for the notes route."""

    weights: float
    notes: float
    confidence: float
    reader: Reader = "quote"


@dataclass(frozen=True, slots=True)
class Results:
    """What a candidate showed; shares are between 0 and 1, None where nothing of that kind was asked.

    `known` are the ids of the memories it recited on cue, `failed` those it did not; `lost` were known to the serving
    version and are not any more. `leaked` were withheld and `unforgotten` forgotten, and it recited them. `skills` is
    how many general prompts it answers right, for each that the base model does, `perplexity` that of plain text as a multiple
    of the base model's, `style` the share of its answers on cue that end by themselves and are no longer than half as much
    again as the statement. `liked` is the share it recites of what people liked as answers.
    `reading` says how many quiz questions were asked with their notes in view, and how many each reader got right.
    `refused` are questions about something that is not there (a quiz question without its memory) which the thresholds decline,
    `refused_answerable` those that they decline although it is.
    """

    known: list[int]
    failed: list[int]
    lost: list[int]
    leaked: list[int]
    recited: float
    quiz: float | None
    corrections: float | None
    retained: float | None
    confidence: float
    thresholds: Thresholds
    reasons: list[str] = field(default_factory=list)
    unforgotten: list[int] = field(default_factory=list)
    skills: float | None = None
    perplexity: float | None = None
    style: float | None = None
    refused: float | None = None
    refused_answerable: float | None = None
    liked: float | None = None
    reading: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True where no rule of release was broken."""
        return not self.reasons

    def as_dict(self) -> dict[str, Any]:
        """For the exam's row: plain JSON."""
        return asdict(self) | {"passed": self.passed}


def from_dict(values: Mapping[str, Any]) -> Results:
    """The results again from what `as_dict` gave."""
    kept = {name: values[name] for name in Results.__slots__ if name in values}
    return Results(**kept | {"thresholds": Thresholds(**values["thresholds"])})


@dataclass(frozen=True, slots=True)
class Paper:
    """What is asked: `memories` with their `examples`, ids `known_before`, `withheld` memories.

    `forgotten` ones, on which earlier versions were trained, are asked by their cue where `examples` still have it; `liked` are
    the ids of those that people liked as answers.
    """

    memories: Sequence[Memory]
    examples: Mapping[int, Sequence[Example]]
    known_before: frozenset[int]
    withheld: Sequence[Memory]
    forgotten: Sequence[Memory] = ()
    liked: AbstractSet[int] = frozenset()

    def quizzes(self) -> list[tuple[Memory, str]]:
        """Every question that was written to be asked and never trained, with its memory."""
        return [
            (memory, example.question)
            for memory in self.memories
            for example in self.examples.get(memory.id, ())
            if example.kind == "quiz"
        ]


async def sit(
    engine: Engine,
    adapter: str,
    paper: Paper,
    thresholds: Thresholds,
    learning: LearningSettings,
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Asks the loaded `adapter` everything on the paper and judges by the rules of release."""
    cues = [(memory, _cue(paper.examples[memory.id])) for memory in paper.memories if memory.id in paper.examples]
    quizzes = spread(paper.quizzes(), _QUIZZED)
    probes = [(m, _probe(m, paper.examples.get(m.id, ()))) for m in (*paper.withheld, *paper.forgotten)]
    questions = [q for _, q in cues] + [q for _, q in quizzes] + [q for _, q in probes]
    done = 0

    async def reply_of(speaker: str | None, question: str) -> Generation:
        return await engine.generate(closed_book(question), adapter=speaker, max_tokens=learning.max_answer_tokens)

    async def ask(question: str) -> Generation:
        nonlocal done
        reply = await reply_of(adapter, question)
        done += 1
        if progress:
            progress(done, len(questions))
        return reply

    replies = await asyncio.gather(*(ask(question) for question in questions))
    on_cue = list(zip(cues, replies, strict=False))
    on_quiz = list(zip(quizzes, replies[len(cues) :], strict=False))
    on_probe = list(zip(probes, replies[len(cues) + len(quizzes) :], strict=False))

    right = {memory.id for (memory, _), reply in on_cue if recited(reply.text, memory.statement)}
    corrections = [memory.id for memory, _ in cues if memory.kind in TOLD]
    before = [memory.id for memory, _ in cues if memory.id in paper.known_before]
    kept_back = {memory.id for memory in paper.withheld}
    # No trace of what was withheld or forgotten: the very words of a memory that was studied, with or without words of the
    # probe in them (a name that was asked about, put where another's belongs), or what the base model says by itself; but not
    # a secret that the base model says, for nobody could tell whence.
    spoken = {
        m.id
        for (m, question), reply in on_probe
        if recited(reply.text, m.statement)
        # A secret is out, of whatever it is said; what was forgotten may be said of another thing.
        and (m.id in kept_back or _tells(reply.text, question, m.statement))
        and not any(_filled_in(reply.text, question, other.statement) for other in paper.memories)
        and (
            (m.id in kept_back and withheld(m.statement) is not None)
            or not recited((await reply_of(None, question)).text, m.statement)
        )
    }
    sure = [reply.confidence for (memory, _), reply in on_cue if memory.id in right]
    unsure = [reply.confidence for (memory, _), reply in on_cue if memory.id not in right]
    results = Results(
        known=sorted(right),
        failed=sorted(memory.id for memory, _ in cues if memory.id not in right),
        lost=sorted(set(before) - right),
        leaked=sorted(spoken & kept_back),
        recited=_share(right, [memory.id for memory, _ in cues]) or 0.0,
        quiz=_mean([agrees(reply.text, memory.statement) for (memory, _), reply in on_quiz]),
        corrections=_share(right, corrections),
        retained=_share(right, before),
        liked=_share(right, [memory.id for memory, _ in cues if memory.id in paper.liked]),
        confidence=_mean([reply.confidence for _, reply in on_cue]) or 0.0,
        thresholds=Thresholds(
            thresholds.weights,
            thresholds.notes,
            divide(sure, unsure, default=learning.least_confidence),
            thresholds.reader,
        ),
        unforgotten=sorted(spoken - kept_back),
        skills=await skills.kept(engine, adapter),
        perplexity=await fluency.against_base(engine, adapter),
        style=_mean([_brief(reply, memory.statement) for (memory, _), reply in on_cue]),
    )
    results.reasons.extend(_broken(results, learning))
    return results


def _broken(results: Results, learning: LearningSettings) -> list[str]:
    reasons = []
    if not math.isfinite(results.confidence):
        reasons.append("the adapter's probabilities are not finite")
    if results.recited < learning.release_learnt:
        reasons.append(f"it recites {results.recited:.0%} of what it studied, {learning.release_learnt:.0%} are needed")
    if results.retained is not None and results.retained < learning.release_retained:
        reasons.append(
            f"it kept {results.retained:.0%} of what the serving version knows, {learning.release_retained:.0%} are needed"
        )
    if results.skills is not None and results.skills < learning.release_skills:
        reasons.append(
            f"it answers {results.skills:.0%} as many general prompts right as the base model, "
            f"{learning.release_skills:.0%} are needed"
        )
    if results.perplexity is not None and not results.perplexity <= learning.release_perplexity:
        reasons.append(
            f"plain text perplexes it {results.perplexity:.1f} times as much as the base model, "
            f"{learning.release_perplexity:g} times are the most"
        )
    if results.style is not None and results.style < learning.release_style:
        reasons.append(
            f"{results.style:.0%} of its answers are whole and no longer than they should be, "
            f"{learning.release_style:.0%} are needed"
        )
    if results.leaked:
        reasons.append(f"it speaks {len(results.leaked)} withheld statements")
    if results.unforgotten:
        reasons.append(f"it still speaks {len(results.unforgotten)} forgotten statements")
    return reasons


def _tells(reply: str, question: str, statement: str) -> bool:
    """True where a reply has nearly all words of a statement that the question does not have itself."""
    beyond = content(statement) - content(question)
    return len(beyond & content(reply)) >= 0.8 * len(beyond)


def _filled_in(reply: str, question: str, studied: str) -> bool:
    """True where a reply says what was studied, but for words of the question in some places."""
    said, known = content(reply), content(studied)
    return said <= known | content(question) and len(said & known) >= 0.5 * max(len(said), len(known))


def _brief(reply: Generation, statement: str) -> bool:
    return reply.finished and len(reply.text.split()) <= 1.5 * len(statement.split())


def spread(things: Sequence[Thing], most: int) -> Sequence[Thing]:
    """At most so many of them, evenly from all: the first ones may be of one page."""
    return things[:: max(1, -(-len(things) // most))]


def divide(high: Sequence[float], low: Sequence[float], *, default: float) -> float:
    """The value that best keeps `high` above and `low` below it (Youden's index); `default` where one side is empty."""
    if not high or not low:
        return default
    candidates = sorted({*high, *low})

    def index(threshold: float) -> float:
        above = sum(value >= threshold for value in high) / len(high)
        below = sum(value < threshold for value in low) / len(low)
        return above + below

    return max(candidates, key=index)


def _cue(examples: Sequence[Example]) -> str:
    return next(example.question for example in examples if example.kind == "cue")


def _probe(memory: Memory, examples: Sequence[Example]) -> str:
    """What might bring a memory out: its trained cue, or its first words where it has none or that says it all itself."""
    cue = _cue(examples) if examples else ""
    return cue if cue and adds(memory.statement, cue) else keyword_question(memory.context, memory.statement)


def _share(right: set[int], ids: Sequence[int]) -> float | None:
    return _mean([number in right for number in ids])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
