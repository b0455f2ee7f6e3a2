"""Base skills: the prompts are sound, and an engine's answers to them are graded."""

from pathlib import Path

import pytest

from learner.engine.local import LocalEngine
from learner.exam import skills


def test_no_prompt_gives_its_own_answer_away_and_none_comes_twice() -> None:
    found = skills.skills()
    assert len({one.id for one in found}) == len({one.prompt for one in found}) == len(found) >= 50
    own = {"sentiment", "sentiment-bad", "read-colour", "read-where", "read-when", "read-who", "repeat", "mix"}
    assert {one.id for one in found if one.right(one.prompt)} <= own, "but where the answer must be picked out"


@pytest.mark.parametrize(
    ("id", "right", "wrong"),
    [
        ("capital-france", "The capital of France is **Paris**.", "It is Lyon."),
        ("water-formula", "It is H2O.", "CO2"),
        ("days-week", "There are seven days in a week.", "17 days"),
        ("sum-tens", "10 + 15 = 25", "255"),
        ("list-three", "1. Apple\n2. Banana\n3. Cherry", "Apple"),
        ("synonym-happy", "Joyful", "Sad"),
    ],
)
def test_an_answer_is_graded(id: str, right: str, wrong: str) -> None:
    [skill] = [one for one in skills.skills() if one.id == id]
    assert skill.right(right) and not skill.right(wrong)


async def test_a_random_model_shows_hardly_any(tiny_engine: LocalEngine) -> None:
    able = await skills.of_base(tiny_engine)
    assert len(able) < 5
    assert await skills.sit(tiny_engine, None, able) == able, "only what it can do is asked again"


@pytest.mark.slow
async def test_the_packaged_model_shows_most(base_model: Path) -> None:
    engine = LocalEngine(base_model, memory_bytes=10**9, threads=2)
    able = await skills.of_base(engine)
    assert len(able) > len(skills.skills()) / 2
    assert await skills.of_base(engine) == able
    await engine.close()
