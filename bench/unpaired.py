"""Training on thumbs that have no counterpart, by TRL's trainer for unpaired preferences: KTO, and BCO in it."""

import random
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid
from trl import KTOConfig, KTOTrainer

from learner.training.dpo import AgainstReference
from learner.training.examples import IGNORED, Encoder
from learner.training.job import TrainingSettings
from learner.training.trainer import QUIET, Course


def encode(encoder: Encoder, rows: Sequence[dict[str, Any]], settings: TrainingSettings) -> list[dict[str, Any]]:
    """Rows (`prompt`, `completion`, `label`: True for a thumb up) as TRL reads them, in the order in which they are trained.

    All epochs, each shuffled, in whole batches; `KL_completion_ids` are those of a batch's neighbour, as TRL sets them.
    """
    order, size = random.Random(settings.seed), settings.batch_size
    wanted = round(settings.epochs * len(rows))
    examples: list[dict[str, Any]] = []
    while len(examples) < wanted:
        for row in order.sample(rows, len(rows)):
            prompt, completion = encoder.encode(row["prompt"], row["completion"])
            examples.append(
                {
                    "prompt_ids": prompt,
                    "completion_ids": completion,
                    "input_ids": prompt + completion,
                    "label": row["label"],
                }
            )
    del examples[max(size, wanted - wanted % size) :]
    for at in range(0, len(examples), size):
        batch = examples[at : at + size]
        for example, other in zip(batch, (batch[-1], *batch), strict=False):
            example["KL_completion_ids"] = other["completion_ids"]
    return examples


def course_of(examples: Sequence[dict[str, Any]], settings: TrainingSettings) -> Course:
    """The plan of a training on encoded examples, in their order: TRL's estimate of KL wants a batch's neighbours together."""
    course = Course(settings.model_copy(update={"epochs": 1.0}), examples, None, lambda _progress: None)
    size = settings.batch_size
    course.batches = [list(range(at, min(at + size, len(examples)))) for at in range(0, len(examples), size)]
    return course


class KtoTrainer(AgainstReference, KTOTrainer):  # type: ignore[misc]
    """KTO (arXiv 2402.01306) on encoded examples, against a frozen copy of the adapter that it starts from.

    Ups and downs count as much in all, however many there are of each (the paper's equation 8).
    """

    loss = "kto"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        examples: list[dict[str, Any]],
        settings: TrainingSettings,
        args: dict[str, Any],
    ) -> None:
        up = sum(example["label"] for example in examples)
        down = len(examples) - up
        super().__init__(
            model=model,
            args=KTOConfig(
                **QUIET,
                **args,
                beta=settings.dpo_beta,
                loss_type=self.loss,
                desirable_weight=max(1.0, down / max(1, up)),
                undesirable_weight=max(1.0, up / max(1, down)),
            ),
            train_dataset=Dataset.from_list(examples),
            processing_class=tokenizer,
        )
        self.equip(examples)


class BcoTrainer(KtoTrainer):
    """BCO (arXiv 2404.04656) without its density ratio: a classifier of ups and downs whose logit is the reward less a shift.

    The shift is halfway between the mean rewards of ups and of downs so far.
    """

    loss = "apo_zero_unpaired"  # No estimate of KL is made for it.

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.rewards: dict[bool, list[float]] = {True: [], False: []}

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> torch.Tensor:
        before, _ = self.compute_ref_log_probs(model, inputs)
        scored = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            labels=inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, IGNORED),
            fused_lm_head=True,
        )
        rewards: torch.Tensor = self.beta * (scored.log_probs.sum(-1) - before)
        up = inputs["label"].bool()
        for reward, liked in zip(rewards.tolist(), up.tolist(), strict=True):
            self.rewards[liked].append(reward)
        shift = fmean(fmean(seen) for seen in self.rewards.values() if seen)
        weights = torch.where(up, self.desirable_weight, self.undesirable_weight)
        return -(weights * logsigmoid(torch.where(up, rewards - shift, shift - rewards))).mean()


TRAINERS = {"kto": KtoTrainer, "bco": BcoTrainer}
