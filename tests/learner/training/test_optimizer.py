"""The optimizer's arithmetic is fp32's, whatever the weights'."""

import pytest
import torch

from learner.training.errors import TrainingStopped
from learner.training.optimizer import MasterAdamW


def test_updates_too_small_for_bf16_add_up() -> None:
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    lost = weight.detach() - torch.tensor(1e-5, dtype=torch.bfloat16)
    assert torch.equal(lost, weight.detach())  # what a plain bf16 optimizer would do, at every step
    optimizer = MasterAdamW([weight], lr=1e-5, weight_decay=0.0, max_grad_norm=0.0)
    for _ in range(1000):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert optimizer.master.detach() == pytest.approx(torch.full((4,), 1 - 1000 * 1e-5), abs=1e-4)
    assert weight.detach().float() == pytest.approx(torch.full((4,), 0.99), abs=4e-3)


def test_fp32_weights_are_trained_as_by_adamw() -> None:
    torch.manual_seed(0)
    start = [torch.randn(3, 2), torch.randn(5)]
    mine = [torch.nn.Parameter(each.clone()) for each in start]
    theirs = [torch.nn.Parameter(each.clone()) for each in start]
    optimizer = MasterAdamW(mine, lr=1e-2, weight_decay=0.1, max_grad_norm=0.5)
    reference = torch.optim.AdamW(theirs, lr=1e-2, weight_decay=0.1)
    for _ in range(5):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        torch.nn.utils.clip_grad_norm_(theirs, 0.5)
        optimizer.step()
        reference.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=1e-5, atol=1e-6)


def test_a_weight_without_gradient_stays() -> None:
    weights = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = MasterAdamW(weights, lr=0.1, weight_decay=0.0, max_grad_norm=1.0)
    weights[0].grad = torch.ones(2)
    optimizer.step()
    assert weights[0].detach().tolist() == pytest.approx([0.9, 0.9])
    assert weights[1].detach().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_stops_the_training(bad: float) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = MasterAdamW([weight], lr=0.1, weight_decay=0.0, max_grad_norm=1.0)
    weight.grad = torch.tensor([bad, 1.0])
    with pytest.raises(TrainingStopped, match="not a finite number"):
        optimizer.step()
    assert weight.detach().tolist() == [1.0, 1.0]
