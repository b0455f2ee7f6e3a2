"""Supervised finetuning: TRL's trainer, with the loss on the answers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from learner.training.examples import IGNORED, Encoder
from learner.training.head import AnswerHead
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

    def __init__(self, model: Any, tokenizer: Any, examples: list[dict[str, Any]], args: dict[str, Any]) -> None:
        super().__init__(
            model=model,
            args=SFTConfig(**QUIET, **args),
            train_dataset=Dataset.from_list([example | {"row": n} for n, example in enumerate(examples)]),
            processing_class=tokenizer,
            data_collator=WeightedCollator(pad_token_id=tokenizer.pad_token_id),
        )
        self.head = AnswerHead(self.model.get_base_model())
        self.head.share(probe(examples))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        weight, rows = inputs.pop("weight"), inputs.pop("row")
        tokens = int(inputs["attention_mask"].sum())
        scored = model(**inputs, fused_lm_head=True)
        weights = weight.unsqueeze(1) * scored.label_mask
        loss = -(scored.log_probs * weights).sum() / weights.sum().clamp(min=1e-9)
        record(self.course, loss, tokens)
        least = scored.log_probs.detach().masked_fill(~scored.label_mask, 0.0).min(dim=1).values.exp()
        self.course.heard(rows.tolist(), least.tolist())
        return loss
