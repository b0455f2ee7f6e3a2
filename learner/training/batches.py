"""Which examples are seen together, and when."""

import random
from collections import Counter
from collections.abc import Hashable, Sequence

POOL = 16
"""Batches sorted by length together: large enough that little padding is left, small enough that order stays random."""


def length_grouped(
    lengths: Sequence[int], batch_size: int, epochs: float, seed: int, kinds: Sequence[Hashable] | None = None
) -> list[list[int]]:
    """Batches of indices into `lengths`, over all epochs.

    `kinds` tells equal examples (a line that the data repeats); None: all differ. Equal ones are spread evenly over an
    epoch, so that at any moment every kind was seen its share, and come into one batch only where there are more of them
    than batches. Examples of like length come together. A last, partial epoch takes the first of a full one.
    """
    order = random.Random(seed)
    kinds = range(len(lengths)) if kinds is None else kinds
    batches: list[list[int]] = []
    wanted = max(1, round(epochs * len(lengths)))
    while wanted > 0:
        epoch = _spread(kinds, order)[:wanted]
        wanted -= len(epoch)
        for start in range(0, len(epoch), batch_size * POOL):
            pool = epoch[start : start + batch_size * POOL]
            pool.sort(key=lengths.__getitem__)
            grouped = _deal(pool, kinds, batch_size)
            order.shuffle(grouped)
            batches += grouped
    return batches


def _spread(kinds: Sequence[Hashable], order: random.Random) -> list[int]:
    """All indices in a random order in which the n-th of k equal examples stands in the n-th k-th."""
    shuffled = list(range(len(kinds)))
    order.shuffle(shuffled)
    totals, seen = Counter(kinds), Counter[Hashable]()
    places: dict[int, float] = {}
    for index in shuffled:
        kind = kinds[index]
        places[index] = (seen[kind] + order.random()) / totals[kind]
        seen[kind] += 1
    return sorted(shuffled, key=places.__getitem__)


def _deal(pool: Sequence[int], kinds: Sequence[Hashable], batch_size: int) -> list[list[int]]:
    """Batches of neighbours in `pool`, with no kind twice in one as long as that can be."""
    batches: list[list[int]] = [[] for _ in range(-(-len(pool) // batch_size))]

    def holds(batch: list[int], kind: Hashable) -> bool:
        return any(kinds[each] == kind for each in batch)

    for index in pool:
        room = [batch for batch in batches if len(batch) < batch_size]
        batch = next((batch for batch in room if not holds(batch, kinds[index])), room[0])
        for other in batches if holds(batch, kinds[index]) else ():
            # All that have room hold one already: a full batch without it gives something else away.
            swapped = next((each for each in other if not holds(batch, kinds[each])), None)
            if swapped is not None and not holds(other, kinds[index]):
                other[other.index(swapped)] = index
                index = swapped
                break
        batch.append(index)
    return batches
