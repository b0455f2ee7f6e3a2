"""From memories and their questions to what the trainer reads: rows, their number, and the stage that studies them."""

import asyncio
import itertools
import json
import os
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import AutoConfig

from learner.engine.embedder import Embedder
from learner.engine.engine import Engine
from learner.exam import exam
from learner.recall import agrees, certainty, closed_book, embed_statements, interact, open_book
from learner.settings import LearningSettings
from learner.study.questions import Asked
from learner.training.job import TrainingJob, TrainingSettings
from learner.training.run import train
from storage import examples, nights, passages
from storage.adapters import Adapter
from storage.database import Connection, Database
from storage.examples import Example, Kind, NewExample
from storage.memories import Memory
from storage.teams import Team

_CALIBRATED = 64
"""Quiz questions that calibrate the match; more change little and cost a tenth of a second each."""
_CANDIDATES = 20
_STARTING = 60.0
"""Seconds a training process may take to start, on a busy machine too, without taking them from a short night."""
_READ = 12
"""Quiz questions on which reading is tried; each costs a prompt of some 200 tokens."""


async def of_memories(connection: Connection, memories: Sequence[Memory]) -> dict[int, list[Example]]:
    """The examples of each memory that has some."""
    found: dict[int, list[Example]] = defaultdict(list)
    for example in await examples.of_memories(connection, [memory.id for memory in memories]):
        found[example.memory_id].append(example)
    return dict(found)


async def save(
    database: Database, team: Team, embedder: Embedder, memory: Memory, asked: Asked, really: str | None
) -> None:
    """Stores a memory's examples with their vectors: cue first; what a person really asked is the cue where there is one."""
    cue, train = (really, (asked.cue, *asked.train)) if really else (asked.cue, asked.train)
    rows: list[tuple[Kind, str]] = [("cue", cue), *(("train", q) for q in train), *(("quiz", q) for q in asked.quiz)]
    vectors = await embedder.embed([question for _, question in rows])
    async with database.team(team.id) as connection:
        await examples.replace(
            connection,
            memory.id,
            [
                NewExample(
                    kind=kind, question=question, answer=memory.statement, embedder=embedder.name, embedding=vector
                )
                for (kind, question), vector in zip(rows, vectors, strict=True)
            ],
        )


def rows(
    memories: Sequence[Memory], have: Mapping[int, Sequence[Example]], exposures: int, cue_share: float, seed: int
) -> list[dict[str, Any]]:
    """Training rows: every memory `exposures` times, `cue_share` of them by its cue, the rest by its other phrasings in turn."""
    made: list[dict[str, Any]] = []
    for memory in memories:
        cue = [e.question for e in have[memory.id] if e.kind == "cue"]
        others = itertools.cycle([e.question for e in have[memory.id] if e.kind == "train"] or cue)
        by_cue = max(1, round(exposures * cue_share))
        asked = cue * by_cue + list(itertools.islice(others, exposures - by_cue))
        made += [{"prompt": closed_book(question), "completion": memory.statement} for question in asked]
    random.Random(seed).shuffle(made)
    return made


async def train_stage(
    folder: Path,
    base: Path,
    lines: Sequence[Mapping[str, Any]],
    stage: Literal["sft", "dpo"],
    learning: LearningSettings,
    tell: Callable[[str, float, str], None],
) -> dict[str, Any]:
    """Trains one stage on `lines` in a process of its own; the adapter then lies in folder/stage.

    Returns what it cost, for the night's row. Raises TrainingFailed.
    """
    data = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    await asyncio.to_thread((folder / f"{stage}.jsonl").write_text, data, encoding="utf-8")
    # A stage that was killed half-way is done anew; its folder appears only complete.
    await asyncio.to_thread(shutil.rmtree, folder / stage, ignore_errors=True)
    job = TrainingJob(
        stage=stage,
        base=str(base),
        data=f"{stage}.jsonl",
        out=stage,
        start=None if stage == "sft" else "sft",
        settings=TrainingSettings(
            rank=learning.rank,
            alpha=learning.rank,
            learning_rate=learning.learning_rate_for(_width(base)) if stage == "sft" else learning.dpo_learning_rate,
            epochs=1 if stage == "sft" else learning.dpo_epochs,
            batch_size=min(learning.batch_size, max(2, len(lines) // learning.least_steps)) if stage == "sft" else 4,
            seed=learning.seed,
            threads=learning.training_threads or os.cpu_count() or 1,
            dpo_beta=learning.dpo_beta,
        ),
        budget_seconds=_STARTING + learning.night_minutes * 60 * (1.5 if stage == "sft" else 0.25),
    )
    result = await train(
        folder,
        job,
        lambda p: tell(stage, p.step / max(1, p.steps), f"step {p.step} of {p.steps}, loss {p.loss:.2f}"),
    )
    return {
        "examples": len(lines),
        "tokens": result.tokens,
        "seconds": round(result.seconds, 1),
        "tokens_per_second": round(result.tokens / max(0.1, result.seconds), 1),
        "stopped": result.stopped,
        "loss": round(result.losses[-1], 4) if result.losses else None,
        "peak_memory_bytes": result.peak_memory_bytes,
    }


def _width(base: Path) -> int:
    """The base model's hidden size, from its own config."""
    config = AutoConfig.from_pretrained(base)
    return int(config.get_text_config().hidden_size)


async def training_speed(database: Database, team: Team, adapter: Adapter, engine: Engine) -> float:
    """Trained tokens a second to expect: the last night's, else a third of what a forward pass makes now.

    Backward costs about twice the forward pass; a LoRA needs no weight gradients of the base, which saves a third of it.
    """
    async with database.team(team.id) as connection:
        for night in reversed(await nights.all(connection)):
            if night.adapter_id != adapter.id or "sft" not in night.steps:
                continue
            if speed := night.steps["sft"].result.get("tokens_per_second"):
                return float(speed)
    text = "We agreed on Monday that the report is due at noon on Friday and goes to everyone on the team. " * 8
    await engine.score(closed_book("Warm up?"), text)
    best = 0.0
    for _ in range(3):  # the best of three: a neighbour's work can only slow it down
        started = time.monotonic()
        tokens = len(await engine.score(closed_book("What did we agree?"), text))
        best = max(best, tokens / (time.monotonic() - started))
    return best / 3


async def thresholds(
    database: Database, team: Team, embedder: Embedder, paper: exam.Paper, learning: LearningSettings
) -> exam.Thresholds:
    """Calibrates the match on quiz questions: how certain the right memory is, and how certain a wrong one without it."""
    quizzes = [
        (number, example.question)
        for number, memory in enumerate(paper.memories)
        for example in paper.examples.get(memory.id, [])
        if example.kind == "quiz"
    ]
    default = exam.Thresholds(learning.weights_threshold, learning.notes_threshold, learning.least_confidence)
    if not quizzes:
        return default
    pairs = [(memory.context, memory.statement) for memory in paper.memories]
    vectors = await embed_statements(embedder, pairs)
    own: list[float] = []
    others: list[float] = []
    for mine, question in quizzes[:_CALIBRATED]:
        [vector] = await embedder.embed([question])
        dense = vectors @ vector
        near = np.argsort(-dense)[: _CANDIDATES + 1].tolist()
        scores = await interact(embedder, question, [pairs[n] for n in near], dense[near])
        if mine in near and near[int(scores.argmax())] == mine:
            own.append(certainty(scores))
        without = np.array([score for n, score in zip(near, scores, strict=True) if n != mine], dtype=np.float32)
        if len(without):
            others.append(certainty(without))
    weights = exam.calibrate(own, others, learning.weights_threshold)
    # Written questions lie nearer to their statements than people's do: what they calibrate may only make it stricter.
    weights = min(max(weights, learning.weights_threshold), learning.weights_threshold + 0.15)
    return exam.Thresholds(weights, learning.notes_threshold, learning.least_confidence)


async def reader(
    database: Database, team: Team, engine: Engine, embedder: Embedder, paper: exam.Paper, learning: LearningSettings
) -> Literal["quote", "generate"]:
    """Whether the base model reads better than it quotes: on quiz questions whose passage retrieval found.

    With the three nearest passages in view its reply must agree with the right statement; the quote is right where that
    statement is the first. A small model loses this, a larger one wins it (LEARNING.md).
    """
    quizzes = [(m, e.question) for m in paper.memories for e in paper.examples.get(m.id, []) if e.kind == "quiz"]
    read = quoted = 0
    for memory, question in quizzes[:_READ]:
        [vector] = await embedder.embed([question])
        async with database.team(team.id) as connection:
            hits = await passages.search(
                connection, vector, question, [memory.audience_id], embedder.name, learning.evidence
            )
        texts = [hit.passage.text for hit in hits]
        if memory.statement not in texts:
            continue
        reply = await engine.generate(
            open_book(question, [(hit.passage.heading, hit.passage.text) for hit in hits]),
            max_tokens=learning.max_answer_tokens,
        )
        read += agrees(reply.text, memory.statement)
        quoted += texts[0] == memory.statement
    return "generate" if read > quoted else "quote"
