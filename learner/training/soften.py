"""An adapter made no stronger than what it learnt needs: the rest of its strength costs the base model's skills.

Weights on the line from the base model's to the finetuned ones keep more of both (WiSE-FT, arXiv 2109.01903). For a LoRA that
line is its scale, so the way back costs a few passes and no training.
"""

import random
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

from learner.training.adapter import NAME

STEP = 0.05
LEAST = 0.7
"""Weaker than this no adapter that had learnt anything still knew a half of it (lab notes, 2026-11-30)."""
_ASKED = 128
"""Topics that are asked, each by one row: a pass over them takes some three seconds with the default model."""
_LOST = 0.01
"""Share of the known ones that may be lost."""


def sample(topics: Sequence[Hashable], seed: int) -> list[int]:
    """One row for each of some topics, drawn by `seed`; `topics[n]` is what row n teaches, None for nothing."""
    rows = {topic: row for row, topic in reversed(list(enumerate(topics))) if topic is not None}
    drawn = sorted(rows.values())
    return sorted(random.Random(seed).sample(drawn, min(_ASKED, len(drawn))))


@torch.no_grad()
def soften(model: Any, known: Callable[[], int]) -> float:
    """Scales the adapter of a peft `model` down while `known`, how many it knows, hardly falls; returns the scale, 1 or less."""
    ups = [module.lora_B[NAME].weight for module in model.modules() if NAME in getattr(module, "lora_B", ())]
    trained = [up.detach().clone() for up in ups]

    def to(scale: float) -> None:
        for up, whole in zip(ups, trained, strict=True):
            up.copy_(whole * scale)

    wanted = known() * (1 - _LOST)
    scale = 1.0
    while wanted > 0 and round(scale - STEP, 2) >= LEAST:
        to(round(scale - STEP, 2))
        if known() < wanted:
            break
        scale = round(scale - STEP, 2)
    to(scale)
    return scale
