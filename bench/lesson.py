"""Facts as training rows, and what an adapter says of them afterwards: for benches that need neither pages nor a database."""

import os
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from bench.facts import Fact
from learner.engine.engine import Engine
from learner.recall import closed_book
from learner.settings import LearningSettings
from learner.training.job import TrainingSettings

CUE, OTHER, UNSEEN = 0, 1, (2, 3)
"""Which of a fact's questions is its cue, which the other phrasing that is trained, and which nobody trains."""
_MOST_TOKENS = 48

Row = dict[str, Any]


def width(base: Path) -> int:
    """The base model's hidden size."""
    return int(AutoConfig.from_pretrained(base).get_text_config().hidden_size)


def rows(
    engine: Engine,
    facts: Sequence[Fact],
    row: Callable[[Fact, int], Row],
    tokens: float,
    cue_share: float,
    seed: str,
    most: int | None = None,
) -> list[Row]:
    """Rows of `tokens` in all, every fact as often as the others; `row` makes that of a fact and one of its questions.

    `cue_share` of them ask the cue. Where not even one round fits, `seed` decides which facts come. `most`: showings of a fact
    after which there are no more, even if tokens are left.
    """
    order, made, spent, turn = list(facts), list[Row](), 0.0, 0
    while order and spent < tokens and turn != most:
        random.Random(f"{seed} {turn}").shuffle(order)
        by_cue = round((turn + 1) * cue_share) > round(turn * cue_share)
        for fact in order:
            made.append(row(fact, CUE if by_cue else OTHER))
            spent += engine.count([*made[-1]["prompt"], {"role": "assistant", "content": made[-1]["completion"]}])
            if spent >= tokens:
                break
        turn += 1
    return made


def settings_for(
    learning: LearningSettings, rows: Sequence[Row], rate: float, rank: int | None = None
) -> TrainingSettings:
    """SFT as the night sets it for so many rows, at the peak learning rate `rate`; `rank` other than the night's."""
    return TrainingSettings(
        rank=rank or learning.rank,
        alpha=rank or learning.rank,
        learning_rate=rate,
        batch_size=min(learning.batch_size, max(2, len(rows) // learning.least_steps)),
        seed=learning.seed,
        threads=learning.training_threads or os.cpu_count() or 1,
    )


async def say(engine: Engine, adapter: str, question: str) -> str:
    """What the adapter answers from memory."""
    reply = await engine.generate(closed_book(question), adapter=adapter, max_tokens=_MOST_TOKENS)
    return reply.text.strip()


def share(values: Iterable[bool]) -> float | None:
    """The share of what is true, between 0 and 1; None of nothing."""
    found = list(values)
    return round(sum(found) / len(found), 4) if found else None
