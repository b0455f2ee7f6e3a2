"""Self-study: the base model (or a teacher) asks about each statement what a colleague would, and what is no good is sorted out.

One question becomes the memory's cue (trained most, put to the adapter at recall), one is kept back as quiz for the exam,
the others train other ways of asking. A question is kept only where it finds its own statement among all that is studied
(round-trip consistency as in PAQ, arXiv 2102.07033, with the embedder as the reader).
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from learner.engine.embedder import Embedder
from learner.engine.engine import Generation, Message

_STARTS = ("What", "How", "Who", "When", "Can", "Where", "Which", "Is", "Do", "Why")
_SYSTEM = "Write the question a colleague would ask that the note answers."
# Invented notes of no team, one a way of asking; they show the form, and that the answer is not given away.
_SHOTS: tuple[tuple[str, str, str, str], ...] = (
    (
        "What",
        "Security › Laptops",
        "Laptops are encrypted with FileVault, and a lost one must be reported to Ines within an hour.",
        "What do I have to do when I lose my laptop?",
    ),
    (
        "Who",
        "Office › Kitchen",
        "Dishwasher duty: who the Platform team; when Fridays.",
        "Who takes care of the dishwasher?",
    ),
    (
        "How",
        "Product › Release notes",
        "Release notes are written by support and reviewed by Karim.",
        "How do release notes get written and checked?",
    ),
    (
        "When",
        "Finance › Contracts",
        "Contracts above 5,000 dollars are signed by two directors.",
        "When does a contract need two signatures?",
    ),
)
_CONCURRENT = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of one statement: `cue` is trained most, `train` vary it, `quiz` are never trained."""

    cue: str
    train: tuple[str, ...]
    quiz: tuple[str, ...]


class Writer(Protocol):
    """Who writes: the engine, or whoever stands in for it."""

    async def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Generation:
        """The reply to `messages`."""


def prompt(context: str, statement: str, start: str) -> list[Message]:
    """The question writer's prompt for one statement and one way of asking, few-shot."""
    turns: list[Message] = [{"role": "system", "content": _SYSTEM}]
    for shot_start, shot_context, shot_statement, question in _SHOTS:
        turns.append({"role": "user", "content": f"Note ({shot_context}): {shot_statement}\nBegin with: {shot_start}"})
        turns.append({"role": "assistant", "content": question})
    turns.append({"role": "user", "content": f"Note ({context}): {statement}\nBegin with: {start}"})
    return turns


async def ask(writer: Writer, context: str, statement: str, start: str) -> str | None:
    """One raw question about a statement, None where the writer wrote none. Raises what the writer raises."""
    reply = await writer.generate(prompt(context, statement, start), max_tokens=28)
    return _cleaned(reply.text)


async def write(
    writer: Writer,
    statements: Sequence[tuple[str, str]],
    ways: int,
    progress: Callable[[int, int], None] | None = None,
    enough: Callable[[int], bool] = lambda begun: False,
) -> list[list[str] | None]:
    """For each (context, statement) up to `ways` raw questions, without duplicates; None for those left when it was `enough`.

    That is asked before each but the first, with the number of those begun. Raises what the writer raises.
    """
    room = asyncio.Semaphore(max(1, _CONCURRENT // ways))
    begun = done = 0

    async def one(context: str, statement: str, start: str) -> str | None:
        nonlocal done
        question = await ask(writer, context, statement, start)
        done += 1
        if progress:
            progress(done, len(statements) * ways)
        return question

    async def all_of(context: str, statement: str) -> list[str] | None:
        nonlocal begun
        async with room:
            if begun and enough(begun):  # the first always has its turn: else a night might study nothing
                return None
            begun += 1
            written = await asyncio.gather(*(one(context, statement, start) for start in _STARTS[:ways]))
        return list(dict.fromkeys(question for question in written if question))

    return list(await asyncio.gather(*(all_of(context, statement) for context, statement in statements)))


async def sort_out(
    embedder: Embedder,
    questions: Sequence[Sequence[str]],
    statements: Sequence[tuple[str, str]],
    vectors: NDArray[np.float32],
    others: NDArray[np.float32],
) -> list[Asked]:
    """Keeps the questions that find their own statement, and gives each statement a cue of its own.

    `vectors` (n, d) belong to `statements`; `others` (m, d) to everything else under study: a question nearer to two
    of all these is ambiguous and dropped.
    """
    everything = np.concatenate([vectors, others]) if len(others) else vectors
    taken: set[str] = set()
    sorted_out: list[Asked] = []
    for number, own in enumerate(questions):
        kept = await _finders(embedder, own, number, everything)
        fresh = [question for question in kept if _key(question) not in taken]
        cue = fresh[0] if fresh else keyword_question(*statements[number], taken)
        taken.add(_key(cue))
        rest = [question for question in kept if question != cue]
        # A quiz question is worth more than a second or third phrasing: without one nothing can be calibrated.
        quiz = tuple(rest[1:2] or rest[:1])
        sorted_out.append(Asked(cue, tuple(q for q in rest if q not in quiz), quiz))
    return sorted_out


async def _finders(
    embedder: Embedder, questions: Sequence[str], own: int, everything: NDArray[np.float32]
) -> list[str]:
    """Those questions that rank their own statement first or second, the surest first."""
    if not questions:
        return []
    similarity = await embedder.embed(list(questions)) @ everything.T
    rank = (similarity > similarity[:, own : own + 1] + 1e-6).sum(axis=1)
    order = sorted(range(len(questions)), key=lambda n: (rank[n] > 0, -similarity[n, own]))
    return [questions[n] for n in order if rank[n] <= 1]


def keyword_question(context: str, statement: str, taken: set[str] | frozenset[str] = frozenset()) -> str:
    """A plain question from the heading and the statement's first words, for a statement about which nothing good was asked.

    It shows at most four words and half the statement, and is lengthened until it is none of the `taken` ones.
    """
    topic = context.split(" › ")[-1].strip() or "this"
    words = statement.rstrip(".").split()
    shown = min(4, len(words) // 2)
    questions = [f"What about {topic}: {' '.join(words[:length])}?" for length in range(shown, len(words) + 1)]
    if not shown:
        questions[0] = f"What about {topic}?"
    return next((question for question in questions if _key(question) not in taken), questions[-1])


def _cleaned(text: str) -> str | None:
    """The first question in what the model wrote, or None where it wrote none."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    match = re.match(r"^[\"']?([^?]{8,160}\?)", line)
    return re.sub(r"\s+", " ", match[1]).strip() if match else None


def _key(question: str) -> str:
    return re.sub(r"\W+", " ", question).lower().strip()
