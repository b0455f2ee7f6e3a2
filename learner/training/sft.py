"""Supervised finetuning: TRL's trainer, with the loss on the answers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from learner.training.examples import IGNORED, Encoder
from learner.training.head import AnswerHead, Scored
from learner.training.parts import Parts, deal, divisible, take
from learner.training.syllabus import SURE
from learner.training.trainer import QUIET, PacedTrainer, probe, record


def encode(encoder: Encoder, lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """SFT lines as TRL reads them: `input_ids`, `labels` (prompt ignored), `weight` and `topic`."""
    examples = []
    for line in lines:
        prompt, answer = encoder.encode(line["prompt"], line["completion"])
        examples.append(
            {
                "input_ids": prompt + answer,
                "labels": [IGNORED] * len(prompt) + answer,
                "weight": float(line.get("weight", 1.0)),
                "topic": line.get("topic"),
            }
        )
    return examples


@dataclass
class WeightedCollator(DataCollatorForLanguageModeling):  # type: ignore[misc]
    """TRL's collator (padding on the right), and the examples' weights and numbers."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        batch["weight"] = torch.tensor([example["weight"] for example in examples])
        batch["row"] = torch.tensor([example["row"] for example in examples])
        return batch


class AnswerTrainer(PacedTrainer, SFTTrainer):  # type: ignore[misc]
    """SFT on encoded examples; the loss is the mean over the answers' tokens, each weighted as its example."""

    def __init__(
        self, model: Any, tokenizer: Any, examples: list[dict[str, Any]], args: dict[str, Any], threads: int
    ) -> None:
        super().__init__(
            model=model,
            args=SFTConfig(**QUIET, **args),
            train_dataset=Dataset.from_list([example | {"row": n} for n, example in enumerate(examples)]),
            processing_class=tokenizer,
            data_collator=WeightedCollator(pad_token_id=tokenizer.pad_token_id),
        )
        base = self.model.get_base_model()
        self.head = AnswerHead(base)
        self.head.share(probe(examples))
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.parts = Parts(threads, trained) if threads > 1 and divisible(base) else None

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        dealt = self._dealt(inputs)
        if self.parts is None or len(dealt) == 1:
            return super().training_step(model, inputs, num_items_in_batch)  # type: ignore[no-any-return]
        model.train()
        whole = _weights(inputs).sum()
        loss = self.parts.backward([partial(self._loss, model, part, whole) for part in dealt])
        record(self.course, loss, _tokens(inputs))
        return loss

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = self._loss(model, inputs, _weights(inputs).sum())
        record(self.course, loss, _tokens(inputs))
        return loss

    @torch.no_grad()
    def known(self, rows: Sequence[int]) -> int:
        """How many of the examples `rows` the model would now write word for word (see `syllabus.SURE`)."""
        self.model.eval()
        found = 0
        for start in range(0, len(rows), self.args.per_device_train_batch_size):
            some = [self.train_dataset[row] for row in rows[start : start + self.args.per_device_train_batch_size]]
            least = _least(self._scored(self.model, self._prepare_inputs(self.data_collator(some))))
            found += int((least >= SURE).sum())
        return found

    def _dealt(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """The batch in parts, one a thread; whole where it is not divided."""
        if self.parts is None:
            return [inputs]
        lengths = inputs["attention_mask"].sum(1).tolist()
        rows = [ids[:length] for ids, length in zip(inputs["input_ids"].tolist(), lengths, strict=True)]
        return [take(inputs, part) for part in deal(rows, self.parts.threads, shared=self.head.sharing)]

    def _loss(self, model: Any, inputs: dict[str, Any], whole: torch.Tensor) -> torch.Tensor:
        """What `inputs` add to the loss of a batch whose weights sum up to `whole`."""
        scored = self._scored(model, inputs)
        self.course.heard(inputs["row"].tolist(), _least(scored).tolist())
        loss: torch.Tensor = -(scored.log_probs * _weights(inputs)).sum() / whole.clamp(min=1e-9)
        return loss

    def _scored(self, model: Any, inputs: dict[str, Any]) -> Scored:
        scored: Scored = model(**{k: v for k, v in inputs.items() if k not in ("weight", "row")}, fused_lm_head=True)
        return scored


def _least(scored: Scored) -> torch.Tensor:
    """The probability [rows] of each answer's least likely token."""
    least: torch.Tensor = scored.log_probs.detach().masked_fill(~scored.label_mask, 0.0).min(dim=1).values.exp()
    return least


def _weights(inputs: dict[str, Any]) -> torch.Tensor:
    """Of each token [rows, longest - 1] that is predicted: its example's weight, or 0 where it is not trained."""
    weights: torch.Tensor = inputs["weight"].unsqueeze(1) * (inputs["labels"][:, 1:] != IGNORED)
    return weights


def _tokens(inputs: dict[str, Any]) -> int:
    return int(inputs["attention_mask"].sum())
