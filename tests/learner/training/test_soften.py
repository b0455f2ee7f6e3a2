"""An adapter is made no stronger than what it learnt needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from learner.training import adapter, soften, stage
from learner.training.job import TrainingSettings

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*")


def grown(base: Path) -> tuple[Any, list[torch.Tensor]]:
    model, _ = stage.load(str(base))
    model = adapter.attach(model, None, TrainingSettings(rank=4, alpha=4, learning_rate=1e-2, batch_size=4))
    ups = [module.lora_B[adapter.NAME].weight for module in model.modules() if hasattr(module, "lora_B")]
    for up in ups:
        torch.nn.init.normal_(up)
    return model, ups


def test_it_goes_back_as_far_as_all_is_still_known(tiny: Callable[[str], Path]) -> None:
    model, ups = grown(tiny("llama"))
    before = [up.detach().clone() for up in ups]
    scale = soften.soften(model, lambda: 10 if bool((ups[0].abs() >= 0.84 * before[0].abs()).all()) else 9)
    assert scale == 0.85
    assert all(torch.allclose(up, 0.85 * whole) for up, whole in zip(ups, before, strict=True))


@pytest.mark.parametrize(
    ("known", "scale"), [([100, 99, 98], 0.95), ([7, 6], 1.0), ([0], 1.0), ([5] * 9, soften.LEAST)]
)
def test_one_of_a_hundred_may_go_and_the_weakest_is_an_end(
    tiny: Callable[[str], Path], known: list[int], scale: float
) -> None:
    model, ups = grown(tiny("llama"))
    before = ups[-1].detach().clone()
    answers = iter(known)
    assert soften.soften(model, lambda: next(answers)) == scale
    assert torch.allclose(ups[-1], before * scale)


def test_each_topic_is_asked_once_by_its_first_row() -> None:
    topics = [None, 4, 4, 2, None, 2, 9]
    assert soften.sample(topics, seed=0) == [1, 3, 6]
    many = soften.sample(range(1000), seed=1)
    assert len(many) == len(set(many)) == 128 and many != soften.sample(range(1000), seed=2)
