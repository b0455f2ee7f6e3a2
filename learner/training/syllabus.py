"""What is studied next: each topic as often as it needs, spaced out, while the base model's own skills are rehearsed beside.

Topics that are not known yet come back every round; one that is known rests twice as long each time (the expanding intervals
of spaced repetition: Leitner, "So lernt man lernen", 1972; for deep networks, arXiv 1905.03071).
"""

import random
from collections.abc import Hashable, Iterator, Sequence
from itertools import cycle

SURE = 0.5
"""A row is known where each token of its answer has at least this probability: greedy decoding then writes it word for word."""

_LONGEST_REST = 8.0
"""Rounds after which a known topic is asked again at the latest."""
_SURELY = 2
"""So many showings in a row must have found a topic known before it counts as learnt."""


class Syllabus:
    """Batches of row indices, each decided when the training asks for it; tell it with `heard` what a row's loss said.

    `topics[n]` is what row n teaches, None for general rows (replay, reading), which make up `general_share` of the rows shown
    at all times. A topic's rows take turns; each topic is shown `showings` times at most on average.
    """

    def __init__(
        self, topics: Sequence[Hashable], *, batch_size: int, showings: int, general_share: float, seed: int
    ) -> None:
        self._order = random.Random(seed)
        self._topics = list(topics)
        rows: dict[Hashable, list[int]] = {}
        for index, topic in enumerate(topics):
            rows.setdefault(topic, []).append(index)
        general = rows.pop(None, [])
        self._order.shuffle(general)
        self._general = cycle(general)
        self._rows = {topic: cycle(own) for topic, own in rows.items()}
        self._due = {topic: self._order.random() for topic in rows}
        self._rest = dict.fromkeys(rows, 1.0)
        self._streak = dict.fromkeys(rows, 0)
        self._shown = 0
        self._batch_size = batch_size
        self._general_share = general_share if general else 0.0
        wanted = len(rows) * showings / (1 - self._general_share)
        self._batches = max(1, round(wanted / batch_size))

    def __len__(self) -> int:
        """Batches planned in all."""
        return self._batches

    def showings(self, batches: int) -> float:
        """How often a topic is shown in so many batches, on average."""
        return batches * self._batch_size * (1 - self._general_share) / len(self._due)

    def __iter__(self) -> Iterator[list[int]]:
        owed = 0.0
        for _ in range(self._batches):
            owed += self._batch_size * self._general_share
            general = [next(self._general) for _ in range(int(owed))]
            owed -= len(general)
            topics = sorted(self._due, key=self._due.__getitem__)[: self._batch_size - len(general)]
            self._shown += len(topics)
            for topic in topics:
                # Until its loss is heard; a little chance lets the company change in which a topic comes.
                self._due[topic] = self._round + self._rest[topic] + 0.25 * self._order.random()
            yield [next(self._rows[topic]) for topic in topics] + general

    def heard(self, row: int, least: float) -> None:
        """Row `row` was just shown; `least` is the probability (0 to 1) of its answer's least likely token before that."""
        topic = self._topics[row]
        if topic is None:
            return
        known = least >= SURE
        self._streak[topic] = self._streak[topic] + 1 if known else 0
        rest = min(_LONGEST_REST, 2 * self._rest[topic]) if known else 1.0
        self._due[topic] += rest - self._rest[topic]
        self._rest[topic] = rest

    @property
    def learnt(self) -> bool:
        """True once every topic was known at its last showings."""
        return bool(self._streak) and min(self._streak.values()) >= _SURELY

    @property
    def _round(self) -> float:
        """How often all topics were shown so far, on average."""
        return self._shown / max(1, len(self._due))
