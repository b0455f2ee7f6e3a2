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

    @property
    def data_folder(self) -> Path:
        """Where models and nights lie."""
        return self.folder.parents[1]

    def stage(self, step: str) -> str:
        """The name of a step of the present try; its adapter lies in the folder of that name."""
        return step + AGAIN if self.second else step

    def found(self, step: str) -> Result:
        """What the latest try of a step left; KeyError where none has been made."""
        return self.results.get(step + AGAIN) or self.results[step]

    @property
    def training_seconds(self) -> float:
        """What SFT may take: the night's minutes, less what writing questions took beyond its own share of them."""
        night = self.learning.night_minutes * 60
        asked = float(self.results.get("synthesize", {}).get("seconds", 0.0))
        return max(night / 4, night - max(0.0, asked - self.learning.asking_share * night))

    @property
    def showing_seconds(self) -> float:
        """What it takes in training to show one memory once, with the general rows beside it, as reckoned by `select`."""
        selected = self.results["select"]
        once = selected["tokens"] / max(1, len(selected["chosen"]))
        return float(once * self.learning.night_minutes * 60 / max(1, selected["budget_tokens"]))

    def room(self, memories: int) -> float:
        """How often each of so many memories can be shown tonight, on average, and need be at most."""
        showings = self.training_seconds / max(1e-9, self.showing_seconds * memories)
        return max(1.0, min(float(self.learning.most_exposures), showings))

    def needed(self, memories: int) -> int:
        """How many showings so many memories need tonight in all, as far as there is room.

        Few are known long before all that they have room for: replay that was reckoned for those would mostly never come.
        """
        return round(memories * min(self.room(memories), self.learning.exposures))

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
