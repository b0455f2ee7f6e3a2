"""How the night's minutes are shared between asking and training."""

from typing import Any
from unittest.mock import Mock

import pytest

from learner.settings import LearningSettings
from learner.work import Work


def work(asked: float = 0.0, **others: Any) -> Work:
    """Half an hour; 1,000 memories of 60 tokens were selected at 400 tokens a second, a fifth of them for general rows."""
    selected = {"chosen": list(range(1000)), "tokens": 60_000, "budget_tokens": 400 * 0.8 * 1800}
    given = dict.fromkeys(Work.__dataclass_fields__, Mock()) | {
        "learning": LearningSettings(night_minutes=30, asking_share=0.25, **others),
        "results": {"select": selected, "synthesize": {"seconds": asked}},
    }
    return Work(**given)


def test_questions_take_their_share_beside_the_training_and_more_at_its_expense() -> None:
    assert work(asked=450).training_seconds == 1800
    assert work(asked=750).training_seconds == 1500
    assert work(asked=5000).training_seconds == 450, "a quarter is always left"


def test_room_is_what_the_seconds_allow() -> None:
    assert work().showing_seconds == pytest.approx(0.1875)
    assert work().room(1000) == pytest.approx(9.6)
    assert work(asked=1350).room(1000) == pytest.approx(4.8)
    assert work().room(10) == 20 and work().room(10**6) == 1


def test_what_is_needed_is_less_than_what_few_memories_have_room_for() -> None:
    assert work().needed(10) == 70 and work().needed(1000) == 7000
    assert work(asked=1350).needed(1000) == pytest.approx(4800, abs=1), "never more than there is room for"
