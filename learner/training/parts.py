"""A batch dealt among the cores: each thread runs the model on a part of it, with all of its arithmetic to itself.

Threads that share one product wait for each other at its end, and a small model has hundreds of small products a step: two
are hardly faster than one. A part needs nothing of the others before its gradients are summed.
"""

import functools
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_UNDIVIDED = re.compile(r'"\w*drop\w*": 0\.\d*[1-9]|"rope_type": "(longrope|\w*dynamic\w*)"')
"""In a model's configuration: dropout, which would be drawn in the order in which the threads come, and rotary frequencies
that a pass sets in the model for its own length."""


class Parts:
    """Threads for the parts of a batch, and the trained `weights` that they share."""

    def __init__(self, threads: int, weights: Sequence[torch.nn.Parameter]) -> None:
        self.threads = threads
        self.weights = weights
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="part")

    def backward(self, losses: Sequence[Callable[[], torch.Tensor]]) -> torch.Tensor:
        """Each part's forward and backward in a thread; gives the losses' sum and sets the weights' gradients to theirs.

        What the threads bring is added in the order of `losses`, so it is the same at every run.
        """
        alone = functools.partial(self._alone, max(1, self.threads // len(losses)))
        done = list(self._pool.map(alone, losses))
        for weight, *gradients in zip(self.weights, *(gradients for _, gradients in done), strict=True):
            weight.grad = functools.reduce(torch.add, gradients)
        return torch.stack([loss for loss, _ in done]).sum()

    def _alone(self, threads: int, part: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        # Under OpenMP the number is the calling thread's own. It must be read before it is set: the first reading sets it.
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        loss = part()
        # On the CPU it runs in this thread. `.backward()` would let the parts add to the same gradients in any order.
        return loss.detach(), torch.autograd.grad(loss, self.weights, allow_unused=True, materialize_grads=True)


def divisible(model: Any) -> bool:
    """Whether parts of a batch that run at the same time come to what the whole batch does, and in less time."""
    return (
        model.device.type == "cpu"
        and "backend: OpenMP" in torch.__config__.parallel_info()
        and not _UNDIVIDED.search(model.config.to_json_string(use_diff=False))
    )


def deal(sequences: Sequence[Sequence[int]], parts: int, *, shared: bool) -> list[list[int]]:
    """Indices of `sequences` in at most `parts` groups, so that the costliest costs as little as it can.

    A group costs the tokens of its tree, in which equal beginnings come once (`shared`), or of its rows padded to the
    longest. Neighbours, by their tokens or by their length, stay together.
    """
    rank: Sequence[Any] = sequences if shared else [len(sequence) for sequence in sequences]
    order = sorted(range(len(sequences)), key=rank.__getitem__)
    rows = [sequences[index] for index in order]
    fresh = [len(row) - _common(before, row) for before, row in zip(([], *rows), rows, strict=False)]

    def groups(limit: int) -> list[list[int]]:
        made: list[list[int]] = []
        cost = 0
        for index, row, new in zip(order, rows, fresh, strict=True):
            cost = cost + new if shared else len(row) * (len(made[-1]) + 1 if made else 1)
            if not made or cost > limit:
                made.append([])
                cost = len(row)
            made[-1].append(index)
        return made

    most = sum(map(len, rows)) if shared else len(rows[-1]) * len(rows)
    return groups(bisect_left(range(most), -parts, key=lambda limit: -len(groups(limit))))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def take(batch: dict[str, torch.Tensor], rows: Sequence[int]) -> dict[str, torch.Tensor]:
    """These rows of a batch that is padded on the right, no wider than the longest of them."""
    width = int(batch["attention_mask"][rows].sum(1).max())
    return {key: values[rows] if values.dim() == 1 else values[rows, :width] for key, values in batch.items()}
