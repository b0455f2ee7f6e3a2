"""Base skills: general prompts that any chat model answers, graded exactly, to see whether an adapter cost it any.

The prompts are the project's own, the same for every team and model, and never trained.
"""

import asyncio
import json
import re
from collections.abc import Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from learner.engine.engine import Engine

_FILE = Path(__file__).with_name("skills.jsonl")
_MOST_TOKENS = 48
_FEWEST = 5
"""Skills of the base model below which a share of them says nothing."""
_OF_BASE: dict[str, Set[str]] = {}


@dataclass(frozen=True, slots=True)
class Skill:
    """One prompt; an answer in which the pattern `accept` is found is right."""

    id: str
    prompt: str
    accept: str

    def right(self, answer: str) -> bool:
        """True where the answer is right."""
        return bool(re.search(self.accept, answer, re.IGNORECASE | re.DOTALL))


@cache
def skills() -> tuple[Skill, ...]:
    """All prompts, always in the same order."""
    return tuple(Skill(**json.loads(line)) for line in _FILE.read_text(encoding="utf-8").splitlines())


def ids() -> Set[str]:
    """The ids of all skills."""
    return {skill.id for skill in skills()}


async def kept(engine: Engine, adapter: str | None) -> float | None:
    """How many skills a loaded adapter shows, of all, for each that the base model shows: about 1 where it lost none.

    None where the base model shows too few to tell.
    """
    able = len(await of_base(engine))
    if able < _FEWEST:
        return None
    return round(len(await sit(engine, adapter, ids())) / able, 4) if adapter else 1.0


async def of_base(engine: Engine) -> Set[str]:
    """The ids of the skills that the base model shows; asked once a process."""
    if engine.base_model not in _OF_BASE:
        _OF_BASE[engine.base_model] = await sit(engine, None, ids())
    return _OF_BASE[engine.base_model]


async def sit(engine: Engine, adapter: str | None, asked: Set[str]) -> Set[str]:
    """Those of the skills `asked` that a loaded adapter shows, or the base model where None; by greedy decoding."""

    async def shown(skill: Skill) -> bool:
        reply = await engine.generate(
            [{"role": "user", "content": skill.prompt}], adapter=adapter, max_tokens=_MOST_TOKENS
        )
        return skill.right(reply.text)

    wanted = [skill for skill in skills() if skill.id in asked]
    found = await asyncio.gather(*map(shown, wanted))
    return frozenset(skill.id for skill, right in zip(wanted, found, strict=True) if right)
