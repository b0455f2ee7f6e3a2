"""A batch dealt among threads trains as the whole batch does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from learner.training import adapter, sft, stage
from learner.training.examples import Encoder
from learner.training.job import TrainingSettings
from learner.training.parts import deal, divisible
from learner.training.trainer import Course

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*")


def settings(threads: int) -> TrainingSettings:
    return TrainingSettings(rank=4, alpha=8, learning_rate=1e-2, epochs=2, batch_size=5, threads=threads)


def trainer(folder: Path, lines: list[dict[str, Any]], threads: int, scratch: Path) -> tuple[Any, list[dict[str, Any]]]:
    model, tokenizer = stage.load(str(folder))
    model = model.float()
    examples = sft.encode(Encoder(stage.Prompts(tokenizer, model.generation_config.eos_token_id), tokenizer), lines)
    model = adapter.attach(model, None, settings(threads))
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    made = stage.trainer("sft", model, tokenizer, examples, settings(threads), str(scratch))
    made.course = Course(settings(threads), examples, None, lambda _progress: None)
    return made, list(made.train_dataset)


def step(made: Any, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Gradients of one step on a batch."""
    made.model.zero_grad()
    made.current_gradient_accumulation_steps = 1  # as within `train()`
    loss = made.training_step(made.model, made.data_collator(batch))
    assert made.course.losses[-1] == float(loss)
    return {name: weight.grad for name, weight in made.model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt_neox"])
@pytest.mark.parametrize("sharing", [True, False])
def test_loss_and_gradients_are_those_of_the_whole(
    architecture: str,
    sharing: bool,
    tiny: Callable[[str], Path],
    sft_lines: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    lines = [{**line, "weight": 1.0 + number % 3} for number, line in enumerate(sft_lines)]
    lines[4]["completion"] = "No."  # parts with unequally many trained tokens
    whole, examples = trainer(tiny(architecture), lines, 1, tmp_path)
    assert whole.head.sharing
    if not sharing:
        whole.head.unshare()
    expected = step(whole, examples)
    for threads in (2, 3):
        dealt, _ = trainer(tiny(architecture), lines, threads, tmp_path)
        if not sharing:
            dealt.head.unshare()
        found = step(dealt, examples)
        assert dealt.course.losses == pytest.approx(whole.course.losses, rel=1e-5)
        assert dealt.course.tokens == whole.course.tokens == sum(len(each["input_ids"]) for each in examples)
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5, msg=name)


def test_a_training_comes_out_the_same_every_time(
    tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    courses, weights = [], []
    for threads in (3, 3, 1):
        made, examples = trainer(tiny("qwen3"), sft_lines, threads, tmp_path)
        course = Course(settings(threads), examples, None, lambda _progress: None)
        made.run_course(course)
        courses.append(course)
        weights.append([weight.detach().clone() for weight in made.model.parameters() if weight.requires_grad])
    again, whole = courses[1], courses[2]
    assert courses[0].losses == again.losses and all(map(torch.equal, weights[0], weights[1]))
    assert len(again.losses) == len(whole.losses) and again.tokens == whole.tokens
    assert again.losses == pytest.approx(whole.losses, rel=1e-3)


def test_each_part_has_a_core_and_a_single_example_has_all(
    tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        made, examples = trainer(tiny("llama"), sft_lines, 2, tmp_path)
        seen: list[int] = []
        made.model.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
        step(made, examples)
        assert seen == [1, 1] and torch.get_num_threads() == 2
        step(made, examples[:1])
        assert seen == [1, 1, 2]
    finally:
        torch.set_num_threads(before)


def test_a_model_with_dropout_is_not_divided(
    tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    model, _ = stage.load(str(tiny("llama")))
    assert divisible(model)
    model.config.attention_dropout = 0.1  # two threads would draw it in whatever order they come
    assert not divisible(model)
    model.config.attention_dropout = 0.0
    model.config.rope_parameters = {"rope_type": "longrope"}  # one thread would change the other's frequencies
    assert not divisible(model)
    assert trainer(tiny("llama"), sft_lines, 1, tmp_path)[0].parts is None


def test_parts_are_alike_and_keep_beginnings_together() -> None:
    one, other = list(range(40)), list(range(100, 140))
    sequences = [[*start, 200 + number, *range(number)] for number in range(4) for start in (one, other)]
    dealt = deal(sequences, 2, shared=True)
    assert sorted(map(sorted, dealt)) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    lengths = [9, 90, 10, 11, 88, 12, 13, 91]
    padded = deal([[number] * length for number, length in enumerate(lengths)], 2, shared=False)
    assert sorted(index for part in padded for index in part) == list(range(8))
    assert max(len(part) * max(lengths[index] for index in part) for part in padded) == 3 * 91


@pytest.mark.parametrize("parts", [1, 2, 3, 8, 20])
def test_every_example_is_in_one_part(parts: int) -> None:
    pick = torch.Generator().manual_seed(parts)
    for count in range(1, 12):
        sequences = [
            torch.randint(3, (int(length),), generator=pick).tolist()
            for length in torch.randint(1, 30, (count,), generator=pick)
        ]
        for shared in (True, False):
            dealt = deal(sequences, parts, shared=shared)
            assert 1 <= len(dealt) <= parts and all(dealt)
            assert sorted(index for part in dealt for index in part) == list(range(count))
