"""Fluency: how well an adapter still foretells plain text, beside its base model.

The paragraphs are the project's own, the same for every team and model, and never trained.
"""

import asyncio
import math
from functools import cache
from pathlib import Path

from learner.engine.engine import Engine

_FILE = Path(__file__).with_name("plain.txt")
_ASKED = "Write a short paragraph."
_OF_BASE: dict[str, float] = {}


@cache
def paragraphs() -> tuple[str, ...]:
    """All paragraphs, always in the same order."""
    return tuple(_FILE.read_text(encoding="utf-8").splitlines())


async def perplexity(engine: Engine, adapter: str | None) -> float:
    """Of the plain paragraphs as replies of a loaded adapter, or of the base model where None: 1 or more, lower is better."""
    prompt = [{"role": "user", "content": _ASKED}]
    scored = await asyncio.gather(*(engine.score(prompt, text, adapter=adapter) for text in paragraphs()))
    tokens = [token for one in scored for token in one]
    return math.exp(-sum(tokens) / len(tokens))


async def against_base(engine: Engine, adapter: str) -> float:
    """The adapter's perplexity as a multiple of the base model's: 1 is as fluent, 2 twice as perplexed by each token."""
    if engine.base_model not in _OF_BASE:
        _OF_BASE[engine.base_model] = await perplexity(engine, None)
    return await perplexity(engine, adapter) / _OF_BASE[engine.base_model]
