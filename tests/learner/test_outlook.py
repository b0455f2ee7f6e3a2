"""What a night may be expected to teach: nights that were measured come out like that, and advice that is followed holds."""

from pathlib import Path
from typing import Any

import pytest

from learner import outlook
from learner.engine.packaged import parameters
from learner.outlook import Outlook, foresee
from learner.settings import LearningSettings

M135, HALF_B = 134_515_008, 494_032_768
GB = 10**9


def ahead(memories: int, **others: Any) -> Outlook:
    """On two cores and 24 GB, half an hour, statements of 60 tokens."""
    given = {
        "tokens": 60.0,
        "speed": 500.0,
        "parameters": M135,
        "memory_bytes": 24 * GB,
    } | others
    return foresee(memories, learning=rules(**given.pop("learning", {})), **given)


def rules(**others: Any) -> LearningSettings:
    rule = {
        "night_minutes": 30.0,
        "exposures": 7,
        "most_exposures": 20,
        "replay_share": 0.12,
        "reading_share": 0.03,
        "max_memories": 4000,
    }
    return LearningSettings(**(rule | others))


@pytest.mark.parametrize(
    ("memories", "showings", "share", "skills"),
    [(20, 14, 1.0, 0.95), (160, 7, 0.96, 0.932), (400, 7, 0.96, 0.89), (1191, 8, 0.83, 0.76), (1564, 4, 0.26, 0.76)],
)
def test_nights_like_the_measured_ones_come_out_like_them(
    memories: int, showings: int, share: float, skills: float
) -> None:
    # Of few memories more than 0.15 of what is shown is replay.
    tokens = memories * showings * (60 + rules().general_tokens_for(memories * 7))
    night = ahead(memories, speed=1.001 * tokens / 1800, learning={"exposures": min(showings, 7)})
    assert (night.fit, night.showings) == (memories, showings)
    assert night.recited / memories == pytest.approx(share, abs=0.01)
    assert night.skills == pytest.approx(skills, abs=0.01)
    assert night.measured == (memories <= 1200)


def test_few_memories_are_shown_often_and_the_night_is_short() -> None:
    night = ahead(20)
    assert (night.fit, night.showings, night.recited) == (20, 20, 20)
    assert night.minutes < 1.5 and not night.change


def test_what_does_not_fit_is_told_with_the_minutes_that_it_needs() -> None:
    night = ahead(3200)
    assert night.fit == 1556 and night.change
    assert night.recommendation.startswith(
        "1,556 of 3,200 memories fit into 30 minutes; all of them need 62: set learning.night_minutes to 65."
    )
    followed = ahead(3200, learning={"night_minutes": 65})
    assert followed.fit == 3200 and not followed.change


@pytest.mark.parametrize("memories", [1900, 2345, 3300])
@pytest.mark.parametrize("speed", [100.0, 157.0, 412.0])
def test_minutes_that_are_advised_suffice(memories: int, speed: float) -> None:
    words = ahead(memories, speed=speed).recommendation
    minutes = int(words.split("set learning.night_minutes to ")[1].split(".")[0])
    assert ahead(memories, speed=speed, learning={"night_minutes": minutes}).fit == memories
    assert minutes < 1.05 * ahead(memories, speed=speed).minutes_for_all + 5


def test_no_night_is_advised_that_goes_on_into_the_day() -> None:
    night = ahead(3200, speed=20.0)
    assert night.change and "all of them need 26 hours: that wants a GPU" in night.recommendation
    assert "night_minutes" not in night.recommendation and "0.5B" not in night.recommendation


def test_the_weights_hold_no_more_than_they_may() -> None:
    night = ahead(3200, learning={"max_memories": 1000})
    assert (night.wanted, night.fit) == (1000, 1000) and not night.change


def test_a_larger_model_is_named_where_memory_and_minutes_are_there() -> None:
    few = ahead(300)
    assert few.larger and outlook.size(few.larger.parameters) == "0.5B"
    assert few.larger.speed == pytest.approx(136, abs=1) and few.larger.fit == 300
    assert "0.5B" in few.recommendation and "all 300" in few.recommendation and not few.change
    many = ahead(1500)
    assert many.larger and many.larger.fit == 423 and "it would study 423" in many.recommendation
    assert ahead(300, memory_bytes=7 * GB).larger is None
    assert ahead(300, memory_bytes=7 * GB).recommendation == ""


def test_a_fast_machine_with_much_memory_is_told_the_largest_that_has_time_for_all() -> None:
    night = ahead(500, speed=20_000.0, memory_bytes=140 * GB)
    assert night.larger and outlook.size(night.larger.parameters) == "7.6B" and night.larger.fit == 500
    smaller = ahead(500, speed=20_000.0, memory_bytes=20 * GB)
    assert smaller.larger and outlook.size(smaller.larger.parameters) == "1.7B"


def test_a_model_that_is_too_large_for_the_machine_or_a_rank_too_low_is_told() -> None:
    night = ahead(100, parameters=7_600_000_000, speed=outlook.speed_of(7.6e9))
    assert night.change and "7.6B model needs about 65 GB" in night.recommendation
    low = ahead(100, learning={"rank": 8})
    assert low.change and "learning.rank to 32" in low.recommendation
    assert not ahead(40, learning={"rank": 16}).change


def test_speed_and_memory_agree_with_what_was_measured() -> None:
    assert 500 <= outlook.speed_of(M135) <= 550
    assert outlook.speed_of(HALF_B) == pytest.approx(157, rel=0.1)
    assert outlook.needed_bytes(M135, 40) == pytest.approx(5.3 * GB, rel=0.01)
    assert outlook.needed_bytes(M135, 1191) == pytest.approx(8.0 * GB, rel=0.01)


def test_where_there_is_nothing_to_study_nothing_is_advised() -> None:
    night = ahead(0)
    assert (night.fit, night.showings, night.recited, night.minutes) == (0, 0, 0, 0.0)
    assert night.recommendation == "" and not night.change


def test_the_packaged_model_is_as_large_as_its_name_says(base_model: Path) -> None:
    assert parameters(base_model) == M135
    assert outlook.size(M135) == "135M"
