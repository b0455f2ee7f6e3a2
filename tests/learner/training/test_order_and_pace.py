"""The order of the examples, and the learning rate over steps and time."""

import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from learner.training.batches import length_grouped
from learner.training.job import TrainingSettings
from learner.training.pacing import Pace
from learner.training.syllabus import Syllabus
from learner.training.trainer import Course


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
    pace = Pace(1000, 60.0, schedule=schedule, warmup_share=0.05, clock=clock)
    rates = walk(pace, clock, lambda step: 4.0 if step == 0 else 1.0)
    assert 50 <= len(rates) <= 58 and clock.now <= 160
    assert rates[-1] < 0.06 and pace.over


def test_a_machine_that_slows_down_shortens_the_course_not_the_fall() -> None:
    clock = Clock()
    pace = Pace(60, 60.0, schedule="cosine", warmup_share=0.05, clock=clock)
    rates = walk(pace, clock, lambda step: 0.9 if step < 20 else 3.0)
    assert clock.now <= 160 and len(rates) < 40 and rates[-1] < 0.05
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_step_is_made_whatever_the_budget() -> None:
    clock = Clock()
    pace = Pace(10, 0.001, schedule="constant", warmup_share=0.0, clock=clock)
    assert walk(pace, clock, lambda _: 5.0) == [1.0]


def test_what_ends_early_falls_to_nothing_from_where_it_stood() -> None:
    clock = Clock()
    pace = Pace(100, None, schedule="cosine", warmup_share=0.05, clock=clock)
    pace.start()
    rates = []
    while pace.step < pace.planned:
        rates.append(pace.rate())
        pace.advance()
        if pace.step == 40:
            pace.finish(10)
    assert len(rates) == 50 and rates[39] > 0.6 and rates[-1] < 0.05
    assert rates[20:] == sorted(rates[20:], reverse=True)


@pytest.mark.parametrize(("seconds", "peak"), [(0.5, 0.5), (1.0, 1.0), (3.0, 1.0)])
def test_the_rate_is_lower_where_more_showings_come_than_it_is_meant_for(seconds: float, peak: float) -> None:
    """80 topics in batches of 8 are shown 10 times in 100 steps."""
    settings = TrainingSettings(
        rank=1, alpha=1, learning_rate=1, batch_size=8, showings=1000, exposures=10, warmup_share=0.1
    )
    clock = Clock()
    course = Course(settings, [{"topic": n} for n in range(80)], 100.0, lambda _: None)
    course.pace = pace = Pace(course.pace.planned, 100.0, schedule="cosine", warmup_share=0.1, clock=clock)
    rates = []
    pace.start()
    while not pace.over:
        rates.append(course.rate())
        clock.now += seconds if pace.step < 40 else 1.0  # its slowing down later changes nothing
        pace.advance()
    assert max(rates) == pytest.approx(peak, rel=0.06)
    assert rates[22:] == sorted(rates[22:], reverse=True) and rates[-1] < 0.06 * peak


def studied(syllabus: Syllabus, knows: Callable[[int, int], bool]) -> Counter[int]:
    """How often each row came, where a row is known after `knows(row, showings before)`."""
    seen: Counter[int] = Counter()
    for batch in syllabus:
        for row in batch:
            syllabus.heard(row, 0.9 if knows(row, seen[row]) else 0.1)
            seen[row] += 1
    return seen


def test_what_is_not_known_comes_back_more_often() -> None:
    seen = studied(
        Syllabus(list(range(40)), batch_size=8, showings=10, general_share=0.0, seed=1),
        lambda row, before: row >= 10 and before >= 3,
    )
    assert sum(seen.values()) == 400 and min(seen.values()) >= 4
    assert min(seen[row] for row in range(10)) > 1.5 * max(seen[row] for row in range(10, 40))


def test_everything_comes_before_anything_comes_a_third_time() -> None:
    syllabus = Syllabus(list(range(100)), batch_size=8, showings=3, general_share=0.0, seed=1)
    seen: Counter[int] = Counter()
    for batch in syllabus:
        assert len(set(batch)) == len(batch)
        seen.update(batch)
        if len(seen) < 100:
            assert max(seen.values()) <= 2
    assert len(seen) == 100


def test_general_rows_keep_their_share_and_a_topics_phrasings_take_turns() -> None:
    topics = [n // 2 for n in range(20)] + [None] * 5
    syllabus = Syllabus(topics, batch_size=8, showings=12, general_share=0.25, seed=2)
    seen = studied(syllabus, lambda row, before: False)
    general = sum(seen[row] for row in range(20, 25))
    assert general == pytest.approx(0.25 * sum(seen.values()), abs=2)
    assert max(seen[row] for row in range(20, 25)) - min(seen[row] for row in range(20, 25)) <= 1
    assert all(abs(seen[2 * n] - seen[2 * n + 1]) <= 1 for n in range(10))
    assert not syllabus.learnt


def test_it_is_learnt_when_every_topic_was_known_twice() -> None:
    syllabus = Syllabus([7, 8, None], batch_size=2, showings=50, general_share=0.3, seed=0)
    said = []
    for batch in itertools.islice(syllabus, 12):
        for row in batch:
            syllabus.heard(row, 0.6)
        said.append(syllabus.learnt)
    assert said[0] is False and said[-1] is True
