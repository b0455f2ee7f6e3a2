"""The learning rate over steps and time, and when to stop."""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

_TELLING = 3
"""Steps after which their number within the budget can be told."""


class Pace:
    """How far a training has come, by its steps or by its budget: whichever is nearer the end.

    `steps` are planned; `budget` is in seconds from the first step on, by `clock` (None: no limit).
    """

    def __init__(
        self,
        steps: int,
        budget: float | None,
        *,
        schedule: Literal["cosine", "linear", "constant"],
        warmup_share: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.planned = steps
        self.budget = budget
        self.schedule = schedule
        self.warmup_share = warmup_share
        self.clock = clock
        self.step = 0
        self._tail: tuple[int, float] | None = None  # the step and share of the course at which `finish` was called
        self.started = clock()
        self._last = self.started
        # The first steps are slower (allocators, kernels chosen): a short memory forgets them.
        self._durations: deque[float] = deque(maxlen=8)

    def start(self) -> None:
        """The first step begins now."""
        self.started = self._last = self.clock()

    def finish(self, steps: int) -> None:
        """The training ends after `steps` more, the rate falling to nothing over them; sooner where so few were planned."""
        if self._tail is None and self.step + steps < self.planned:
            self._tail = self.step, self._share()
            self.planned = self.step + steps

    def advance(self) -> None:
        """A step is done."""
        now = self.clock()
        self._durations.append(now - self._last)
        self._last = now
        self.step += 1

    @property
    def seconds(self) -> float:
        """Since the first step began."""
        return self._last - self.started

    @property
    def expected(self) -> int:
        """How many steps there will be in all, as far as can be told now."""
        if self.budget is None or not self._durations:
            return self.planned
        typical = sum(self._durations) / len(self._durations)
        left = max(0, int((self.budget - self.seconds) / typical))
        return min(self.planned, self.step + left)

    @property
    def over(self) -> bool:
        """Whether another step would not end within the budget."""
        return self.step > 0 and self.step >= self.expected

    @property
    def begins(self) -> bool:
        """Whether the rate still rises, or nothing can be told yet of the steps to come."""
        return len(self._durations) < _TELLING or self._share() < self.warmup_share

    def _share(self) -> float:
        """How much of the course lies behind the next step, 0 to 1."""
        begun, before = self._tail or (0, 0.0)
        share = before + (1 - before) * (self.step + 1 - begun) / (self.planned + 1 - begun)
        if self.budget is not None:
            share = max(share, min(1.0, (self.clock() - self.started) / self.budget))
        return share

    def rate(self) -> float:
        """The share of the peak learning rate for the next step, 0 to 1."""
        share = self._share()
        if share < self.warmup_share:
            return share / self.warmup_share
        falling = (share - self.warmup_share) / (1 - self.warmup_share)
        match self.schedule:
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * falling))
            case "linear":
                return 1 - falling
            case "constant":
                return 1.0
