"""From memories and their questions to what the trainer reads: rows, their number, and the stage that studies them."""

import asyncio
import json
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from learner.engine.embedder import Embedder
from learner.engine.engine import Engine
from learner.recall import closed_book
from learner.study.questions import Asked
from learner.training.job import TrainingJob, TrainingSettings
from learner.training.run import train
from learner.work import Work
from storage import examples, nights
from storage.adapters import Adapter
from storage.database import Connection, Database
from storage.examples import Example, Kind, NewExample
from storage.memories import Memory
from storage.nights import Night
from storage.teams import Team

_OF_FORWARD = 0.35
"""Trained tokens a second against those of one lone forward pass: 338 to 789 and 445 to 1,517 in two nights."""


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


async def keep_asked(
    database: Database,
    team: Team,
    embedder: Embedder,
    memories: Sequence[Memory],
    asked: Mapping[int, Sequence[str]],
) -> int:
    """Keeps what people really `asked`, by memory, as questions of these memories; returns how many are new.

    None is kept that the memory has already, its quiz questions least of all: those must stay unseen.
    """
    async with database.team(team.id) as connection:
        have = await of_memories(connection, memories)
    new = [
        (memory, question)
        for memory in memories
        for question in dict.fromkeys(asked.get(memory.id, ()))
        if question.lower() not in {example.question.lower() for example in have.get(memory.id, ())}
    ]
    vectors = await embedder.embed([question for _, question in new])
    async with database.team(team.id) as connection:
        for (memory, question), vector in zip(new, vectors, strict=True):
            row = NewExample("asked", question, memory.statement, embedder.name, vector)
            await examples.add(connection, memory.id, row)
    return len(new)


def rows(memories: Sequence[Memory], have: Mapping[int, Sequence[Example]], cue_share: float) -> list[dict[str, Any]]:
    """Training rows, `topic` the memory's id: its cue, or cue and other phrasings in turn so that `cue_share` ask the cue.

    A question that people asked is one of those, unless several memories were told to it: one prompt cannot teach two answers.
    """
    put = Counter(e.question.lower() for memory in memories for e in have[memory.id] if e.kind == "asked")
    made: list[dict[str, Any]] = []
    for memory in memories:
        cue = next(e.question for e in have[memory.id] if e.kind == "cue")
        varied = [
            e for e in have[memory.id] if e.kind == "train" or (e.kind == "asked" and put[e.question.lower()] == 1)
        ]
        others = [e.question for e in varied] if cue_share < 1 else []
        asked = [] if others else [cue]
        for number, question in enumerate(others):
            cues = round((number + 1) * cue_share / (1 - cue_share)) - round(number * cue_share / (1 - cue_share))
            asked += [cue] * max(cues, number == 0) + [question]
        made += [
            {"prompt": closed_book(question), "completion": memory.statement, "topic": memory.id} for question in asked
        ]
    return made


async def train_stage(
    work: Work, stage: Literal["sft", "dpo"], lines: Sequence[Mapping[str, Any]], general_share: float = 0.0
) -> dict[str, Any]:
    """Trains one stage on `lines` in a process of its own; the adapter then lies in the folder of that stage of this try.

    `general_share` of what is shown are lines without a topic.

    Returns what it cost, for the night's row. Raises TrainingFailed.
    """
    folder, learning, name = work.folder, work.learning, work.stage(stage)
    data = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    await asyncio.to_thread((folder / f"{name}.jsonl").write_text, data, encoding="utf-8")
    # A stage that was killed half-way is done anew; its folder appears only complete.
    await asyncio.to_thread(shutil.rmtree, folder / name, ignore_errors=True)
    topics = {line["topic"] for line in lines if "topic" in line}
    most = len(topics) * learning.most_exposures
    job = TrainingJob(
        stage=stage,
        base=str(work.base),
        data=f"{name}.jsonl",
        out=name,
        start=None if stage == "sft" else work.stage("sft"),
        settings=TrainingSettings(
            rank=learning.rank,
            alpha=learning.rank,
            learning_rate=learning.learning_rate_for(work.width) if stage == "sft" else learning.dpo_learning_rate,
            exposures=None if learning.learning_rate else learning.exposures,
            showings=learning.most_exposures,
            general_share=general_share,
            batch_size=min(learning.batch_size, max(2, most // learning.least_steps)) if stage == "sft" else 4,
            seed=learning.seed,
            threads=learning.training_threads or os.cpu_count() or 1,
            dpo_beta=learning.dpo_beta,
        ),
        budget_seconds=work.training_seconds if stage == "sft" else learning.night_minutes * 60 * 0.25,
    )
    result = await train(
        folder,
        job,
        lambda p: work.tell(name, p.step / max(1, p.steps), f"step {p.step} of {p.steps}, loss {p.loss:.2f}"),
    )
    return {
        "examples": len(lines),
        "base_model": work.engine.base_model,
        "tokens": result.tokens,
        "seconds": round(result.seconds, 1),
        "tokens_per_second": round(result.tokens / max(0.1, result.seconds), 1),
        "stopped": result.stopped,
        "scale": result.scale,
        "loss": round(result.losses[-1], 4) if result.losses else None,
        "peak_memory_bytes": result.peak_memory_bytes,
    }


def last_speed(past: Sequence[Night], adapter_id: int, base_model: str) -> float | None:
    """Trained tokens a second in the last of these nights (oldest first) that trained this adapter on this base model."""
    for night in reversed(past):
        trained = night.steps["sft"].result if night.adapter_id == adapter_id and "sft" in night.steps else {}
        if trained.get("base_model") == base_model and trained.get("tokens_per_second"):
            return float(trained["tokens_per_second"])
    return None


async def training_speed(database: Database, team: Team, adapter: Adapter, engine: Engine) -> float:
    """Trained tokens a second to expect: the last night's, else a part of what a forward pass makes now."""
    async with database.team(team.id) as connection:
        past = await nights.all(connection)
    if known := last_speed(past, adapter.id, engine.base_model):
        return known
    text = "We agreed on Monday that the report is due at noon on Friday and goes to everyone on the team. " * 8
    await engine.score(closed_book("Warm up?"), text)
    best = 0.0
    for _ in range(3):  # the best of three: a neighbour's work can only slow it down
        started = time.monotonic()
        tokens = len(await engine.score(closed_book("What did we agree?"), text))
        best = max(best, tokens / (time.monotonic() - started))
    return best * _OF_FORWARD
