"""Replay: general prompts with the base model's own answers, so that learning the team's facts leaves it as able as it was.

What a model generates itself stands in for data that it was trained on and nobody has (self-generated replay, arXiv 2605.26097).
The prompts are the project's own, other than those of the exam's skills.
"""

import asyncio
import itertools
from functools import cache
from pathlib import Path
from typing import Any

from learner.engine.engine import Engine

_FILE = Path(__file__).with_name("replay.txt")
_MOST_TOKENS = 64


@cache
def prompts() -> tuple[str, ...]:
    """All prompts, always in the same order."""
    return tuple(_FILE.read_text(encoding="utf-8").split("\n")[:-1])


async def rows(engine: Engine, wanted: int) -> list[dict[str, Any]]:
    """`wanted` training rows of general prompts, in turn; each answer is the base model's own, and whole."""
    if wanted <= 0:
        return []

    async def answered(prompt: str) -> dict[str, Any] | None:
        messages = [{"role": "user", "content": prompt}]
        reply = await engine.generate(messages, max_tokens=_MOST_TOKENS)
        # An answer that was cut off would teach it to break off.
        return {"prompt": messages, "completion": reply.text} if reply.finished and reply.text.strip() else None

    asked = prompts()[: max(8, wanted)]
    known = [row for row in await asyncio.gather(*map(answered, asked)) if row is not None]
    return list(itertools.islice(itertools.cycle(known), wanted)) if known else []
