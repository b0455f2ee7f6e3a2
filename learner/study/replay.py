"""Replay: general prompts with the base model's own answers, so that learning the team's facts leaves it as able as it was.

What a model generates itself stands in for data that it was trained on and nobody has (self-generated replay, arXiv 2605.26097).
The prompts are the project's own, other than those of the exam's skills. Every third asks for some sentences: what is rehearsed
in short answers only is kept in short answers only.
"""

import asyncio
import itertools
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from learner.engine.engine import Engine

_FILE = Path(__file__).with_name("replay.txt")
_MOST_TOKENS = 200
_SENTENCES = re.compile(r"^.*[.!?](?=\s|$)", re.DOTALL)


@cache
def prompts() -> tuple[str, ...]:
    """All prompts, always in the same order."""
    return tuple(_FILE.read_text(encoding="utf-8").split("\n")[:-1])


async def rows(engine: Engine, wanted: int, kept: Path) -> list[dict[str, Any]]:
    """`wanted` training rows of general prompts, in turn; each answer is the base model's own, and whole.

    In the folder `kept` answers are kept from night to night: a base model's do not change, and all take it minutes.
    """
    if wanted <= 0:
        return []
    file = kept / f"{engine.base_model}.json"
    known = await asyncio.to_thread(_read, file)

    async def answer(prompt: str) -> None:
        reply = await engine.generate([{"role": "user", "content": prompt}], max_tokens=_MOST_TOKENS)
        # An answer that was cut off would teach it to break off: the whole sentences stand.
        known[prompt] = (reply.text if reply.finished else "".join(_SENTENCES.findall(reply.text))).strip()

    asked = prompts()[: max(8, wanted)]
    if missing := [prompt for prompt in asked if prompt not in known]:
        await asyncio.gather(*map(answer, missing))
        await asyncio.to_thread(_write, file, known)
    made = [
        {"prompt": [{"role": "user", "content": prompt}], "completion": known[prompt]}
        for prompt in asked
        if known[prompt]
    ]
    return list(itertools.islice(itertools.cycle(made), wanted)) if made else []


def _read(file: Path) -> dict[str, str]:
    """The answers by prompt; none where the file is missing or damaged, for it can be written anew."""
    try:
        return {str(prompt): str(answer) for prompt, answer in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _write(file: Path, known: dict[str, str]) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(known, ensure_ascii=False, indent=0), encoding="utf-8")
    new.replace(file)
