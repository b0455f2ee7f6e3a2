"""Replay: general prompts with the base model's own answers, so that learning the team's facts leaves it as able as it was.

What a model generates itself stands in for data that it was trained on and nobody has (self-generated replay, arXiv 2605.26097).
The prompts are the project's own, other than those of the exam's skills. Every third asks for some sentences: what is rehearsed
in short answers only is kept in short answers only.
"""

import asyncio
import itertools
import re
from functools import cache
from pathlib import Path
from typing import Any

from learner.engine.engine import Engine

_FILE = Path(__file__).with_name("replay.txt")
_MOST_TOKENS = 200
_SENTENCES = re.compile(r"^.*[.!?](?=\s|$)", re.DOTALL)
_ANSWERED: dict[tuple[str, str], str] = {}  # (base model, prompt): a base model's answers do not change


@cache
def prompts() -> tuple[str, ...]:
    """All prompts, always in the same order."""
    return tuple(_FILE.read_text(encoding="utf-8").split("\n")[:-1])


async def rows(engine: Engine, wanted: int) -> list[dict[str, Any]]:
    """`wanted` training rows of general prompts, in turn; each answer is the base model's own, and whole."""
    if wanted <= 0:
        return []

    async def answered(prompt: str) -> dict[str, Any] | None:
        messages, known = [{"role": "user", "content": prompt}], (engine.base_model, prompt)
        if known not in _ANSWERED:
            reply = await engine.generate(messages, max_tokens=_MOST_TOKENS)
            # An answer that was cut off would teach it to break off: the whole sentences stand.
            whole = reply.text if reply.finished else "".join(_SENTENCES.findall(reply.text))
            _ANSWERED[known] = whole.strip()
        return {"prompt": messages, "completion": _ANSWERED[known]} if _ANSWERED[known] else None

    asked = prompts()[: max(8, wanted)]
    known = [row for row in await asyncio.gather(*map(answered, asked)) if row is not None]
    return list(itertools.islice(itertools.cycle(known), wanted)) if known else []
