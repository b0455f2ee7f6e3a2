"""What the SFT and the DPO trainer share: the order of the data, the optimizer, the pace, the record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import PrinterCallback, TrainerCallback

from learner.training.batches import length_grouped
from learner.training.errors import TrainingStopped
from learner.training.job import TrainingProgress, TrainingSettings
from learner.training.optimizer import MasterAdamW
from learner.training.pacing import Pace
from learner.training.syllabus import Syllabus

QUIET = {
    "report_to": "none",
    "logging_strategy": "no",
    "save_strategy": "no",
    "disable_tqdm": True,
    # The model runs in its own dtype: autocast would cast the weights anew in every step.
    "bf16": False,
    "activation_checkpointing": False,
    # The optimizer clips, and stops at what is not finite.
    "max_grad_norm": 0.0,
    "logging_nan_inf_filter": False,
    "dataloader_num_workers": 0,
    "remove_unused_columns": False,
    "max_length": None,
    "num_train_epochs": 1,
}
"""Arguments of every trainer: no files, no reports, no work that training does not need."""

_TAIL = 0.2
"""Once all is known the rate falls to nothing over this share of the steps made so far: a quiet end keeps what was learnt."""
_LEAST_TAIL = 10


@dataclass
class Course:
    """The plan of one training and its record."""

    settings: TrainingSettings
    examples: Sequence[dict[str, Any]]
    """Encoded, in the order of the trainer's dataset."""
    budget: float | None
    """Seconds that it may take from its first step on."""
    report: Callable[[TrainingProgress], None]
    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    """Trained ones, padding not counted."""
    stopped: Literal["finished", "known", "budget"] = "finished"
    _strength: float = field(default=1.0, init=False)
    """Of the learning rate, for the showings that are to come; as it is when the rate has risen, it stays."""

    def __post_init__(self) -> None:
        settings = self.settings
        topics = [example.get("topic") for example in self.examples]
        self.batches: list[list[int]] | Syllabus
        if any(topic is not None for topic in topics):
            self.batches = Syllabus(
                topics,
                batch_size=settings.batch_size,
                showings=settings.showings,
                general_share=settings.general_share,
                seed=settings.seed,
            )
        else:
            self.batches = length_grouped(
                [len(max(sequences(example), key=len)) for example in self.examples],
                settings.batch_size,
                settings.epochs,
                settings.seed,
                [tuple(map(tuple, sequences(example))) for example in self.examples],
            )
        self.pace = Pace(len(self.batches), self.budget, schedule=settings.schedule, warmup_share=settings.warmup_share)

    def rate(self) -> float:
        """The share of the settings' learning rate for the next step, 0 to 1."""
        if self.pace.begins and self.settings.exposures and isinstance(self.batches, Syllabus):
            self._strength = min(1.0, self.settings.exposures / self.batches.showings(self.pace.expected))
        return self.pace.rate() * self._strength

    def heard(self, rows: Sequence[int], least: Sequence[float]) -> None:
        """The examples `rows` were shown; `least` are the probabilities of their answers' least likely tokens."""
        if isinstance(self.batches, Syllabus):
            for row, probability in zip(rows, least, strict=True):
                self.batches.heard(row, probability)

    @property
    def learnt(self) -> bool:
        """True where the data has topics and all of them are known."""
        return isinstance(self.batches, Syllabus) and self.batches.learnt


class PacedTrainer:
    """Mixed into TRL's trainers before them; set `course` before `train()`."""

    course: Course

    def get_train_dataloader(self: Any) -> Any:
        return torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=self.course.batches, collate_fn=self.data_collator
        )

    def create_optimizer(self: Any, model: Any = None) -> Any:
        settings = self.course.settings
        self.optimizer = MasterAdamW(
            (weight for weight in self.model.parameters() if weight.requires_grad),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
        )
        return self.optimizer

    def create_scheduler(self: Any, num_training_steps: int, optimizer: Any = None) -> Any:
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda _step: self.course.rate())
        return self.lr_scheduler

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # Counted for reports nobody reads, by walking over all weights in every step.

    def _send_telemetry(self) -> None:
        pass  # What a team trains is nobody else's business.

    def run_course(self: Any, course: Course) -> None:
        """Train along `course`, and record there how it went; raises TrainingStopped."""
        self.course = course
        self.args.max_steps = len(course.batches)
        self.remove_callback(PrinterCallback)
        self.add_callback(_Steps(course))
        self.train()


class _Steps(TrainerCallback):  # type: ignore[misc]
    """Keeps the pace and the record, step by step."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.total = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.course.pace.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        course = self.course
        course.pace.advance()
        if course.learnt and course.stopped == "finished":
            course.stopped = "known"
            course.pace.finish(max(_LEAST_TAIL, round(_TAIL * course.pace.step)))
        course.report(
            TrainingProgress(
                step=course.pace.step,
                steps=max(course.pace.step, course.pace.expected),
                loss=course.losses[-1],
                tokens=course.tokens,
                seconds=course.pace.seconds,
            )
        )
        if course.pace.step >= course.pace.planned:
            control.should_training_stop = True
        elif course.pace.over:
            course.stopped = "budget"
            control.should_training_stop = True


def record(course: Course, loss: torch.Tensor, tokens: int) -> None:
    """Note one step's loss and how many tokens were read in it; raises TrainingStopped if the loss is not finite."""
    value = float(loss.detach())
    if not abs(value) < float("inf"):
        raise TrainingStopped(
            "the loss is not a finite number, so the training was stopped and nothing was kept. "
            "Lower the learning rate, or check the base model's weights."
        )
    course.losses.append(value)
    course.tokens += tokens


def sequences(example: dict[str, Any]) -> list[list[int]]:
    """The token sequences of an encoded example: one for SFT, the chosen and the rejected for DPO."""
    if "input_ids" in example:
        return [example["input_ids"]]
    return [example["prompt_ids"] + example["chosen_ids"], example["prompt_ids"] + example["rejected_ids"]]


def probe(examples: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Sequences to try a faster way on: the longest (where an attention window would show) and a typical one."""
    by_length = sorted((sequences(example)[0] for example in examples), key=len)
    return [by_length[-1], by_length[len(by_length) // 2]]
