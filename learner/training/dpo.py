"""Preference training: TRL's DPO against a frozen copy of the adapter that it starts from."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from learner.training.examples import Encoder
from learner.training.head import AnswerHead
from learner.training.job import TrainingSettings
from learner.training.trainer import QUIET, PacedTrainer, probe, record


def encode(encoder: Encoder, lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """DPO lines as TRL reads them: `prompt_ids`, `chosen_ids`, `rejected_ids`."""
    examples = []
    for line in lines:
        prompt, chosen = encoder.encode(line["prompt"], line["chosen"])
        _, rejected = encoder.encode(line["prompt"], line["rejected"])
        examples.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    return examples


class AgainstReference(PacedTrainer):
    """What TRL's preference trainers share here; mixed in before them. Call `equip` at the end of `__init__`."""

    def equip(self: Any, examples: Sequence[dict[str, Any]]) -> None:
        """The frozen copy gets the adapter's dtype, the model the answers' head."""
        for name, weight in self.model.named_parameters():
            if ".ref." in name:  # peft adds adapters in fp32; the copy must be what it was copied from.
                weight.data = weight.data.to(self.model.dtype)
        self.head = AnswerHead(self.model.get_base_model())
        self.head.share(probe(examples))

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # Encoded already.

    def compute_loss(
        self: Any, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        tokens = int(inputs["attention_mask"].sum())
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]
        record(self.course, loss, tokens)
        return loss


class PreferenceTrainer(AgainstReference, DPOTrainer):  # type: ignore[misc]
    """DPO on encoded pairs, mixed with the plain loss on the chosen answers."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        examples: list[dict[str, Any]],
        settings: TrainingSettings,
        args: dict[str, Any],
    ) -> None:
        both = settings.dpo_sft_weight > 0
        super().__init__(
            model=model,
            args=DPOConfig(
                **QUIET,
                **args,
                beta=settings.dpo_beta,
                loss_type=["sigmoid", "sft"] if both else ["sigmoid"],
                loss_weights=[1.0, settings.dpo_sft_weight] if both else [1.0],
            ),
            train_dataset=Dataset.from_list(examples),
            processing_class=tokenizer,
        )
        self.equip(examples)
