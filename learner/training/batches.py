"""Which examples are seen together, and when."""

import random
from collections.abc import Sequence

POOL = 16
"""Batches sorted by length together: large enough that little padding is left, small enough that order stays random."""


def length_grouped(lengths: Sequence[int], batch_size: int, epochs: float, seed: int) -> list[list[int]]:
    """Batches of indices into `lengths`, over all epochs.

    Every example comes once an epoch (a last, partial epoch takes a random share), never twice in one batch; examples
    of like length come together, so that hardly any padding is computed.
    """
    order = random.Random(seed)
    batches: list[list[int]] = []
    wanted = max(1, round(epochs * len(lengths)))
    while wanted > 0:
        epoch = list(range(len(lengths)))
        order.shuffle(epoch)
        epoch = epoch[:wanted]
        wanted -= len(epoch)
        count = -(-len(epoch) // batch_size)
        grouped: list[list[int]] = []
        for start in range(0, len(epoch), batch_size * POOL):
            pool = sorted(epoch[start : start + batch_size * POOL], key=lengths.__getitem__)
            grouped += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
        assert len(grouped) == count
        order.shuffle(grouped)
        batches += grouped
    return batches
