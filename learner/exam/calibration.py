"""What the answer path may trust, found on quiz questions: how sure a match must be, and who reads the notes best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learner.engine.embedder import Embedder
from learner.engine.engine import Engine
from learner.exam.exam import Paper, Reader, Thresholds, divide, spread
from learner.recall import agrees, certainty, embed_statements, interact, open_book
from learner.settings import LearningSettings
from storage import passages
from storage.database import Database
from storage.teams import Team

_CALIBRATED = 64
"""Quiz questions that calibrate the match; more change little and cost a tenth of a second each."""
_CANDIDATES = 20
_READ = 12
"""Quiz questions on which reading is tried; each costs two prompts of some 200 tokens."""
_AHEAD = 2
"""So many of them more than the simpler way a reader must get right: fewer are chance."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The `thresholds`, and the shares of quiz questions that they decline: `refused` of those whose own memory is taken away,
    `refused_answerable` of those whose memory is there; None where none was asked."""

    thresholds: Thresholds
    refused: float | None = None
    refused_answerable: float | None = None


async def of_match(embedder: Embedder, paper: Paper, learning: LearningSettings) -> Calibration:
    """Calibrates the match on quiz questions: how certain the right memory is, and how certain a wrong one without it."""
    place = {memory.id: number for number, memory in enumerate(paper.memories)}
    quizzes = [(place[memory.id], question) for memory, question in paper.quizzes()]
    default = Thresholds(learning.weights_threshold, learning.notes_threshold, learning.least_confidence)
    if not quizzes:
        return Calibration(default)
    pairs = [(memory.context, memory.statement) for memory in paper.memories]
    vectors = await embed_statements(embedder, pairs)
    own: list[float] = []
    others: list[float] = []
    best: list[float] = []
    best_without: list[float] = []
    for mine, question in spread(quizzes, _CALIBRATED):
        [vector] = await embedder.embed([question])
        dense = vectors @ vector
        near = np.argsort(-dense)[: _CANDIDATES + 1].tolist()
        scores = await interact(embedder, question, [pairs[n] for n in near], dense[near])
        if mine in near and near[int(scores.argmax())] == mine:
            own.append(certainty(scores))
        best.append(float(scores.max()))
        without = np.array([score for n, score in zip(near, scores, strict=True) if n != mine], dtype=np.float32)
        if len(without):
            others.append(certainty(without))
            best_without.append(float(without.max()))
    weights = calibrate(own, others, learning.weights_threshold)
    # Written questions lie nearer to their statements than people's do: what they calibrate may only make it stricter.
    weights = min(max(weights, learning.weights_threshold), learning.weights_threshold + 0.15)
    return Calibration(
        Thresholds(weights, learning.notes_threshold, learning.least_confidence),
        _below(best_without, learning.notes_threshold),
        _below(best, learning.notes_threshold),
    )


async def reader(
    database: Database,
    team: Team,
    engine: Engine,
    adapter: str,
    embedder: Embedder,
    paper: Paper,
    learning: LearningSettings,
) -> tuple[Reader, dict[str, int]]:
    """Who reads best: nobody ("quote"), the base model ("generate") or the loaded `adapter`; and how many each got right.

    Asked are quiz questions whose passage retrieval finds. With the nearest passages in view a reply must agree with the right
    statement; the quote is right where that statement is the first. A small model loses this, a larger one wins it (LEARNING.md).
    """
    right: dict[Reader, int] = {"quote": 0, "generate": 0, "adapter": 0}
    asked = 0
    for memory, question in spread(paper.quizzes(), _READ):
        [vector] = await embedder.embed([question])
        async with database.team(team.id) as connection:
            hits = await passages.search(connection, vector, question, [memory.audience_id], embedder.name, _CANDIDATES)
        # In the order of the answer path, whose quote is what a reader has to beat.
        dense = np.array([hit.similarity for hit in hits], dtype=np.float32)
        pairs = [(hit.passage.heading, hit.passage.text) for hit in hits]
        if hits:
            order = np.argsort(-await interact(embedder, question, pairs, dense)).tolist()
            hits = [hits[n] for n in order[: learning.evidence]]
        texts = [hit.passage.text for hit in hits]
        if memory.statement not in texts:
            continue
        asked += 1
        prompt = open_book(question, [(hit.passage.heading, hit.passage.text) for hit in hits])
        right["quote"] += texts[0] == memory.statement
        speakers: tuple[tuple[Reader, str | None], ...] = (("generate", None), ("adapter", adapter))
        for name, speaker in speakers:
            reply = await engine.generate(prompt, adapter=speaker, max_tokens=learning.max_answer_tokens)
            right[name] += agrees(reply.text, memory.statement)
    best: Reader = "quote"
    for name in ("generate", "adapter"):
        if right[name] >= right[best] + _AHEAD:
            best = name
    return best, {"asked": asked} | {str(name): count for name, count in right.items()}


def calibrate(own: Sequence[float], others: Sequence[float], default: float) -> float:
    """The certainty that best tells right matches (`own`) from wrong ones (`others`); `default` with fewer than eight."""
    return default if len(own) < 8 else divide(own, others, default=default)


def _below(scores: Sequence[float], threshold: float) -> float | None:
    return sum(score < threshold for score in scores) / len(scores) if scores else None
