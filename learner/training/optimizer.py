"""AdamW for weights in bf16: the arithmetic happens on an fp32 master copy."""

from collections.abc import Callable, Iterable

import torch

from learner.training.errors import TrainingStopped


class MasterAdamW(torch.optim.Optimizer):
    """AdamW that keeps an fp32 master of all weights in one flat tensor, and clips gradients itself.

    A step of 1e-5 on a weight of 1.0 is lost in bf16 (which has 8 bits) and kept in the master. The model's weights
    become views into one flat tensor, so that a step is a handful of operations, whatever the number of weights. They
    must share one dtype and device. Raises TrainingStopped at a gradient that is not finite.
    """

    def __init__(
        self, weights: Iterable[torch.nn.Parameter], *, lr: float, weight_decay: float, max_grad_norm: float
    ) -> None:
        self.weights = list(weights)
        super().__init__(self.weights, {"lr": lr, "weight_decay": weight_decay})
        self.max_grad_norm = max_grad_norm
        self.flat = torch.cat([weight.data.reshape(-1) for weight in self.weights])
        at = 0
        for weight in self.weights:
            weight.data = self.flat[at : at + weight.numel()].view_as(weight)
            at += weight.numel()
        self.master = torch.nn.Parameter(self.flat.float())
        self.inner = torch.optim.AdamW(
            [self.master], lr=lr, weight_decay=weight_decay, fused=self.master.device.type in ("cpu", "cuda")
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every weight from its gradient, at the group's current rate."""
        gradient = torch.cat(
            [
                torch.zeros_like(weight).reshape(-1) if weight.grad is None else weight.grad.reshape(-1)
                for weight in self.weights
            ]
        ).float()
        length = float(torch.linalg.vector_norm(gradient))
        if not length < float("inf"):
            raise TrainingStopped(
                "the gradient is not a finite number, so the training was stopped and nothing was kept. "
                "Lower the learning rate, or check the base model's weights."
            )
        if 0 < self.max_grad_norm < length:
            gradient.mul_(self.max_grad_norm / length)
        self.master.grad = gradient
        self.inner.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        self.inner.step()
        self.master.grad = None
        self.flat.copy_(self.master)
