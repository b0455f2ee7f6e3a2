"""What a night may be expected to teach, and what would teach more: minutes, rank, or another base model.

The curves are few measured points, joined by straight lines: nights of the 135M model on two cores, each memory asked by
its cue alone (docs/lab-notes.md, 2026-11-30), and 0.5B nights of LEARNING.md for the speed of a larger one. docs/learning.md
says what they leave out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learner.settings import LearningSettings

_FEWER, _MANY = 400, 1200
"""Memories up to which the first curve of what is recited holds, and from which on the second; between them a mixture does."""
_RECITED = ((0.0, 0.0), (5.1, 0.69), (6.2, 0.95), (6.9, 0.96), (14.0, 1.0))
"""(showings of each memory, share recited) up to 400 memories: nights of 110, 120, 160 and 20, and one of 400 at 7."""
_RECITED_OF_MANY = ((0.0, 0.0), (4.3, 0.28), (7.7, 0.82), (14.0, 1.0))
"""The same from 1,200 on: nights of 1,564 and 1,191; more showings of so many were not measured."""
_SKILLS = ((60, 0.95), (400, 0.89), (1200, 0.76))
"""(memories studied, what stays of the base model's score on the skills)."""
_HELD = ((48, 4.2e9), (120, 4.9e9), (1200, 6.9e9))
"""(memories studied, bytes held beside what grows with the model): 5.3, 6.0 and 8.0 GB in all at 135M."""
_WORK = 73e9
"""Parameters times trained tokens a second on two cores: 135M made 500 to 550, 494M 157."""
_SIZES = (494e6, 1.7e9, 7.6e9)
_QUICK = 140.0
"""Trained tokens a second below which answers, too, would take seconds: 0.5B on two cores, at 157, answered in half a one."""
_RANK, _FEW = 32, 48
"""The rank of all larger nights; a lower one (16) was measured with 48 memories only."""
_LONGEST = 360
"""Minutes: from two at night until the first people come."""


@dataclass(frozen=True, slots=True)
class Larger:
    """A larger base model: parameters, trained tokens a second here, and how many memories it could study in the same minutes."""

    parameters: float
    speed: float
    fit: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to expect of a night, and what to change.

    `wanted` memories may be in the weights, of which the night can study `fit`, each shown `showings` times in `minutes`
    (fewer where all are known sooner);
    `recited` of them are the most to be expected in the exam, and `skills` the share of the base model's skills that stays.
    `recommendation` is plain sentences, or empty; `change` is True where something is amiss, False where it is only a choice.
    """

    wanted: int
    fit: int
    showings: int
    minutes: float
    recited: int
    skills: float
    minutes_for_all: float
    larger: Larger | None
    recommendation: str
    change: bool

    @property
    def measured(self) -> bool:
        """Whether nights of this size were measured; beyond it `recited` is an upper bound."""
        return self.fit <= _MANY


def foresee(
    memories: int,
    tokens: float,
    speed: float,
    parameters: float,
    memory_bytes: float,
    learning: LearningSettings,
) -> Outlook:
    """The outlook for a team with so many `memories` that may be studied, of `tokens` each (mean, the question included).

    `speed` is trained tokens a second of the present base model, which has so many `parameters`. Example: 3,200 memories
    of 60 tokens at 500 a second, 7 showings, shares of 0.15 and 0.03 for replay and reading: 1,470 fit into 30 minutes, 2,000
    (`max_memories`) need 41.
    """
    wanted = min(memories, learning.max_memories)
    once = tokens + learning.general_tokens_for(wanted * learning.exposures)

    def room(speed: float) -> float:
        return speed * learning.night_minutes * 60 / once

    fit = min(wanted, int(room(speed) / learning.exposures))
    showings = min(learning.most_exposures, int(room(speed) / fit)) if fit else 0
    for_all = wanted * learning.exposures * once / speed / 60
    sizes = [
        Larger(size, speed * parameters / size, min(wanted, int(room(speed * parameters / size) / learning.exposures)))
        for size in _SIZES
        if size > 1.5 * parameters
    ]
    larger = [one for one in sizes if needed_bytes(one.parameters, one.fit) <= memory_bytes]
    suited = [one for one in larger if one.fit == wanted and one.speed >= _QUICK]
    better = next(iter([*suited[-1:], *larger]), None)
    amiss = _amiss(wanted, fit, for_all, parameters, memory_bytes, learning)
    choice = _choice(better, parameters, wanted) if better and better.fit and for_all <= _LONGEST else ""
    return Outlook(
        wanted,
        fit,
        showings,
        fit * showings * (tokens + learning.general_tokens_for(fit * learning.exposures)) / speed / 60,
        int(fit * _recited(fit, showings)),
        _on(_SKILLS, fit),
        for_all,
        better,
        " ".join(filter(None, [*amiss, choice])),
        bool(amiss),
    )


def mean_tokens(statements: Sequence[str]) -> float:
    """About how many tokens an example of these memories has, mean: 32 around it, and one for 4.2 characters of English.

    Within 5% of what the 135M model's tokenizer counts on three teams' pages, and no tokenizer need be loaded.
    """
    return 32 + sum(map(len, statements)) / len(statements) / 4.2


def speed_of(parameters: float) -> float:
    """Trained tokens a second on two cores of a base model that has not been trained here yet."""
    return _WORK / parameters


def needed_bytes(parameters: float, memories: float) -> float:
    """Memory that answering and training so many memories hold at once: measured at 135M, for other sizes an estimate.

    The weights twice in bf16, as much again for the adapter, its optimizer and activations, and `_HELD` whatever the model.
    """
    return _on(_HELD, memories) + 8 * parameters


def size(parameters: float) -> str:
    """As people say it: 135M, 0.5B."""
    return f"{parameters / 1e6:.0f}M" if parameters < 4e8 else f"{parameters / 1e9:.1f}B"


def _amiss(
    wanted: int, fit: int, for_all: float, parameters: float, memory_bytes: float, learning: LearningSettings
) -> list[str]:
    found = []
    if (needed := needed_bytes(parameters, fit)) > memory_bytes:
        found.append(
            f"A {size(parameters)} model needs about {needed / 1e9:.0f} GB to answer and train, here are "
            f"{memory_bytes / 1e9:.0f}: choose a smaller one."
        )
    if fit < wanted:
        minutes = 5 * math.ceil(for_all * 1.05 / 5)
        words = f"{fit:,} of {wanted:,} memories fit into {learning.night_minutes:g} minutes; all of them need"
        if minutes <= _LONGEST:
            found.append(f"{words} {for_all:.0f}: set learning.night_minutes to {minutes}.")
        else:
            found.append(f"{words} {for_all / 60:.0f} hours: that wants a GPU, or a smaller base model.")
    if learning.rank < _RANK and fit > _FEW:
        found.append(f"Set learning.rank to {_RANK}: no lower one was measured with more than {_FEW} memories.")
    return found


def _choice(larger: Larger, parameters: float, wanted: int) -> str:
    many = f"all {wanted:,}" if larger.fit == wanted else f"{larger.fit:,}"
    return (
        f"A {size(larger.parameters)} model fits into memory: it would study {many} in the same minutes, should read better, and "
        f"answer up to {larger.parameters / parameters:.0f} times slower."
    )


def _recited(memories: int, showings: float) -> float:
    """The share of so many memories, each shown so often, that is recited."""
    many = float(np.interp(memories, (_FEWER, _MANY), (0.0, 1.0)))
    return (1 - many) * _on(_RECITED, showings) + many * _on(_RECITED_OF_MANY, showings)


def _on(curve: tuple[tuple[float, float], ...], at: float) -> float:
    return float(np.interp(at, [point for point, _ in curve], [share for _, share in curve]))
