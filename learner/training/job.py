"""What the night asks of a training process, and what it hears back: plain data, free of torch."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

JOB_FILE = "job.json"


class TrainingSettings(BaseModel):
    """How to train. The caller scales these with the model's size (docs/lab-notes.md has the measurements).

    The size of an adapter: rank 32 on SmolLM2-135M is 9.8 million weights, 19 MB in bf16.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(gt=0)
    """Rank of each LoRA pair. More memories need more rank: 32 held 20 facts and 200."""
    alpha: float = Field(gt=0)
    """The update is scaled by alpha / rank. Equal to rank (scale 1), learning rates carry over between ranks."""
    learning_rate: float = Field(gt=0)
    """The peak rate. LoRA wants about ten times full finetuning's: 2.5e-3 for SFT at 135M, 2e-5 for DPO."""
    exposures: int | None = Field(default=None, gt=0)
    """Showings of a topic that the rate is meant for: it falls in proportion as more are to come. None: it never does."""
    epochs: float = Field(default=1.0, gt=0)
    """How often each example is seen that has no topic; 2.5 shows every example twice and a random half of them thrice."""
    showings: int = Field(default=20, gt=0)
    """How often each topic is shown at most, on average: training ends before that once all are known (see `syllabus`)."""
    general_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the rows shown beside the topics that have none (replay, reading): 0.2 is one row in five."""
    batch_size: int = Field(gt=0)
    """Examples (DPO: pairs) a step. Small batches learn more a token: 8."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the training in which the rate rises to its peak: 0.05 of 200 steps are 10 steps."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls after the warm-up; cosine and linear end near 0, also when the budget ends the training."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Longer gradients are scaled down to this length, so that one odd example cannot derail a run; 0 leaves them."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decay. 0: a few hundred steps from zero have nothing to decay."""
    seed: int = 0
    """Fixes the adapter's start and the order of the examples."""
    threads: int = Field(default=2, gt=0)
    """CPU threads. One beside a busy serving process: two that share a core are ten times slower."""
    dpo_beta: float = Field(default=0.1, gt=0)
    """DPO's strength of the tie to the SFT adapter: larger strays less."""
    dpo_sft_weight: float = Field(default=1.0, ge=0)
    """Weight of the plain loss on the chosen answer beside DPO's. DPO alone (0) taught none of ten corrections."""


class TrainingJob(BaseModel):
    """One stage. Paths but `base` are relative to the job's folder.

    SFT data: `{"prompt": [messages], "completion": str, "topic"?: int, "weight"?: float}` a line, where lines of one topic
    teach the same memory in other words; DPO data: `{"prompt": [messages], "chosen": str, "rejected": str}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["sft", "dpo"]
    base: str
    """Folder of the base model."""
    data: str
    """JSONL file with the examples."""
    out: str
    """Folder to appear with the finished adapter; never there half-written."""
    start: str | None = None
    """Adapter folder to start from. None: a new adapter, which at first changes nothing."""
    settings: TrainingSettings
    budget_seconds: float | None = Field(default=None, gt=0)
    """Wall-clock limit of the training from its first step on; the rate ends its fall in time. At least one step is made."""

    def write(self, folder: Path) -> None:
        """Put the job into its folder."""
        (folder / JOB_FILE).write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "TrainingJob":
        """The job of a folder; raises pydantic's ValidationError or OSError."""
        return cls.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """One step done, of `steps` as far as the budget tells; `tokens` and `seconds` count from the first step."""

    step: int
    steps: int
    loss: float
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished stage.

    `tokens` are those of the examples (no padding), `seconds` the training alone, `losses` one a step. It `stopped` because
    every topic was known, because the budget was spent, or at its planned end. `skipped` examples did not fit the model's
    context; of the adapter's strength `scale` was left (see `soften`); `peak_memory_bytes` is the child's resident peak.
    """

    folder: Path
    tokens: int
    seconds: float
    stopped: Literal["finished", "known", "budget"]
    losses: tuple[float, ...]
    skipped: int
    scale: float
    peak_memory_bytes: int


def say(line: dict[str, Any], stream: int) -> None:
    """Write one line of the child's side of the talk to the file descriptor `stream`."""
    os.write(stream, (json.dumps(line) + "\n").encode())
