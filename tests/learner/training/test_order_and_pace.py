"""The order of the examples, and the learning rate over steps and time."""

import random
from collections import Counter
from typing import Any

import pytest

from learner.training.batches import length_grouped
from learner.training.pacing import Pace


def test_every_example_comes_once_an_epoch_and_like_lengths_together() -> None:
    lengths = [random.Random(1).randint(20, 90) for _ in range(203)]
    batches = length_grouped(lengths, 8, 2.5, seed=3)
    counts = Counter(index for batch in batches for index in batch)
    assert set(counts.values()) == {2, 3}
    assert sum(counts.values()) == round(2.5 * 203)
    padded = sum(max(lengths[index] for index in batch) * len(batch) for batch in batches)
    assert sum(lengths[index] for batch in batches for index in batch) / padded > 0.9
    assert batches == length_grouped(lengths, 8, 2.5, seed=3)
    assert batches != length_grouped(lengths, 8, 2.5, seed=4)


def test_repeated_examples_are_spread_and_do_not_share_a_batch() -> None:
    kinds = [number % 20 for number in range(400)]  # twenty lines, twenty times each, as a night repeats a memory
    batches = length_grouped([30 + kind for kind in kinds], 8, 1, seed=0, kinds=kinds)
    assert all(len({kinds[index] for index in batch}) == len(batch) for batch in batches)
    half = Counter(kinds[index] for batch in batches[: len(batches) // 2] for index in batch)
    assert min(half.values()) >= 7 and max(half.values()) <= 13  # of 10


def test_more_copies_than_batches_still_come() -> None:
    batches = length_grouped([5] * 10, 4, 1, seed=0, kinds=["same"] * 10)
    assert sorted(index for batch in batches for index in batch) == list(range(10))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def walk(pace: Pace, clock: Clock, seconds: Any) -> list[float]:
    pace.start()
    rates = []
    while pace.step < pace.planned and not pace.over:
        rates.append(pace.rate())
        clock.now += seconds(pace.step)
        pace.advance()
    return rates


def test_by_steps_the_rate_rises_and_falls_to_nothing() -> None:
    clock = Clock()
    rates = walk(Pace(100, None, schedule="cosine", warmup_share=0.1, clock=clock), clock, lambda _: 1.0)
    assert len(rates) == 100
    assert rates[0] == pytest.approx(0.1, abs=0.02) and max(rates) > 0.99 and rates[-1] < 0.01
    assert rates.index(max(rates)) in range(8, 13)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_by_the_budget_the_rate_has_fallen_when_time_is_up(schedule: Any) -> None:
    clock = Clock()
    pace = Pace(1000, clock.now + 60, schedule=schedule, warmup_share=0.05, clock=clock)
    rates = walk(pace, clock, lambda step: 4.0 if step == 0 else 1.0)
    assert 50 <= len(rates) <= 58 and clock.now <= 160
    assert rates[-1] < 0.06 and pace.over


def test_a_machine_that_slows_down_shortens_the_course_not_the_fall() -> None:
    clock = Clock()
    pace = Pace(60, clock.now + 60, schedule="cosine", warmup_share=0.05, clock=clock)
    rates = walk(pace, clock, lambda step: 0.9 if step < 20 else 3.0)
    assert clock.now <= 160 and len(rates) < 40 and rates[-1] < 0.05
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_step_is_made_whatever_the_budget() -> None:
    clock = Clock()
    pace = Pace(10, clock.now + 0.001, schedule="constant", warmup_share=0.0, clock=clock)
    assert walk(pace, clock, lambda _: 5.0) == [1.0]
