"""Our way of computing the loss gives TRL's loss and gradients, whatever the architecture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from learner.engine.prompts import Prompts, load_tokenizer
from learner.training import adapter, sft, stage
from learner.training.examples import Encoder
from learner.training.job import TrainingSettings
from learner.training.trainer import Course

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*")

SETTINGS = TrainingSettings(rank=4, alpha=8, learning_rate=1e-3, epochs=1, batch_size=4, threads=1)


def prepared(folder: Path, lines: list[dict[str, Any]]) -> tuple[Any, Any, list[dict[str, Any]]]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = load_tokenizer(folder)
    examples = sft.encode(Encoder(Prompts(tokenizer, model.generation_config.eos_token_id), tokenizer), lines)
    adapted = adapter.attach(model, None, SETTINGS)
    torch.manual_seed(3)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return adapted, tokenizer, examples


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def plain(folder: Path, lines: list[dict[str, Any]], scratch: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """TRL's own loss and gradients, with peft's own layers, on the padded batch."""
    model, tokenizer, examples = prepared(folder, lines)
    for layer in model.modules():
        layer.__dict__.pop("forward", None)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(scratch),
            bf16=False,
            use_cpu=True,
            report_to="none",
            max_length=None,
            activation_checkpointing=False,
        ),
        train_dataset=Dataset.from_list([{key: e[key] for key in ("input_ids", "labels")} for e in examples]),
        processing_class=tokenizer,
    )
    model.train()
    loss = trainer.compute_loss(
        trainer.model, trainer.data_collator([{k: e[k] for k in ("input_ids", "labels")} for e in examples])
    )
    loss.backward()
    return float(loss.detach()), gradients(model)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3", "gemma2", "phi3", "gpt_neox"])
def test_loss_and_gradients_are_those_of_trl(
    architecture: str, tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    expected, expected_gradients = plain(tiny(architecture), sft_lines[:5], tmp_path)
    model, tokenizer, examples = prepared(tiny(architecture), sft_lines[:5])
    trainer = stage.trainer("sft", model, tokenizer, examples, SETTINGS, str(tmp_path))
    assert trainer.head.sharing  # all of these take it; the padded way must agree as well
    for sharing in (True, False):
        if not sharing:
            trainer.head.unshare()
        trainer.course = Course(SETTINGS, examples, None, lambda _progress: None)
        model.train()
        model.zero_grad()
        loss = trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
        loss.backward()
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
        assert trainer.course.tokens == sum(len(example["input_ids"]) for example in examples)
        found = gradients(model)
        assert found.keys() == expected_gradients.keys()
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-3, atol=1e-5, msg=name)


def test_long_sequences_are_attended_to_alike(
    tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from learner.training import sharing

    losses = []
    for threshold in (sharing._LONG, 0):
        monkeypatch.setattr(sharing, "_LONG", threshold)
        model, tokenizer, examples = prepared(tiny("gemma3"), sft_lines[:5])
        trainer = stage.trainer("sft", model, tokenizer, examples, SETTINGS, str(tmp_path))
        trainer.course = Course(SETTINGS, examples, None, lambda _progress: None)
        losses.append(
            float(trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset))).detach())
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_weight_counts_an_example_that_often(
    tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    losses = []
    for lines in ([sft_lines[0], {**sft_lines[1], "weight": 2.0}], [sft_lines[0], sft_lines[1], sft_lines[1]]):
        model, tokenizer, examples = prepared(tiny("llama"), lines)
        trainer = stage.trainer("sft", model, tokenizer, examples, SETTINGS, str(tmp_path))
        trainer.course = Course(SETTINGS, examples, None, lambda _progress: None)
        losses.append(
            float(trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset))).detach())
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_model_that_sees_otherwise_is_left_to_its_own_attention(
    tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from learner.training import sharing

    def blind(tree: Any, groups: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
        return torch.zeros(groups * tree.places.shape[1], tree.places.shape[1])  # sees the future too

    model, tokenizer, examples = prepared(tiny("llama"), sft_lines[:4])
    monkeypatch.setattr(sharing.Tree, "bias", blind)
    trainer = stage.trainer("sft", model, tokenizer, examples, SETTINGS, str(tmp_path))
    assert not trainer.head.sharing
    assert model.config._attn_implementation != sharing.ATTENTION


def test_only_the_answer_and_its_end_are_trained(tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]]) -> None:
    for architecture, end in (("llama", "<|end|>"), ("gpt_neox", "</s>")):
        _, tokenizer, examples = prepared(tiny(architecture), sft_lines[:1])
        trained = [token for token in examples[0]["labels"] if token != -100]
        assert tokenizer.decode(trained) == sft_lines[0]["completion"] + end
        assert examples[0]["input_ids"][-len(trained) :] == trained
