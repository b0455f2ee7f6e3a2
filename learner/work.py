"""One night's work: all that its steps need, and what the finished ones left."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from learner.engine.embedder import Embedder
from learner.engine.engine import Engine
from learner.settings import LearningSettings
from learner.study import select
from storage import audiences, memories
from storage.adapter_files import AdapterFiles
from storage.adapters import Adapter
from storage.database import Database
from storage.memories import Memory
from storage.nights import Night
from storage.teams import Team

Result = dict[str, Any]
Tell = Callable[[str, float, str], None]
"""Progress: (step, share of it done 0..1, a few words)."""

AGAIN = " again"
"""What the steps of a second try are called behind their own name: "sft again"."""


@dataclass
class Work:
    """One night's work; `results` holds what the finished steps left, by the step's name."""

    database: Database
    team: Team
    adapter: Adapter
    night: Night
    engine: Engine
    embedder: Embedder
    files: AdapterFiles
    base: Path
    folder: Path
    learning: LearningSettings
    tell: Tell
    results: dict[str, Result]
    second: bool = False
    """True in the second try, after a failed exam."""

    @cached_property
    def width(self) -> int:
        """The base model's hidden size, from its own config: the rules of `learning` follow it."""
        return int(AutoConfig.from_pretrained(self.base).get_text_config().hidden_size)

    def stage(self, step: str) -> str:
        """The name of a step of the present try; its adapter lies in the folder of that name."""
        return step + AGAIN if self.second else step

    def found(self, step: str) -> Result:
        """What the latest try of a step left; KeyError where none has been made."""
        return self.results.get(step + AGAIN) or self.results[step]

    def room(self, memories: int) -> float:
        """How often each of so many memories can be shown in tonight's minutes, on average, and need be at most."""
        showings = self.results["select"].get("showings", memories * self.learning.exposures)
        return max(1.0, min(float(self.learning.most_exposures), float(showings) / max(1, memories)))

    async def chosen(self) -> list[Memory]:
        """The memories under study, as redaction (and then SFT) left them, but for what may not train any more."""
        ids = set(self.results.get(self.stage("sft"), self.results["redact"])["chosen"])
        async with self.database.team(self.team.id) as connection:
            everyone = (await audiences.whole_team(connection)).id
            wanted = await memories.of_states(connection, ["noted", "studied", "learnt"])
        return [memory for memory in wanted if memory.id in ids and select.may_train(memory, everyone)]


Step = Callable[[Work], Awaitable[Result]]


def long_ago() -> datetime:
    """From when on questions count as asked of late: a year back."""
    return datetime.now(UTC) - timedelta(days=365)
