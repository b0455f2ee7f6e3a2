"""Replay: the base model's own answers among what it studies."""

from pathlib import Path

import pytest

from learner.engine.local import LocalEngine
from learner.exam.skills import skills
from learner.study import replay


def test_no_prompt_comes_twice_or_in_the_exam() -> None:
    prompts = replay.prompts()
    assert len(set(prompts)) == len(prompts) >= 60 and all(prompts)
    assert not set(prompts) & {one.prompt for one in skills()}


async def test_nothing_is_asked_where_nothing_is_wanted(tiny_engine: LocalEngine) -> None:
    assert await replay.rows(tiny_engine, 0) == []


@pytest.mark.slow
async def test_the_packaged_models_answers_are_whole(base_model: Path) -> None:
    engine = LocalEngine(base_model, memory_bytes=10**9, threads=2)
    rows = await replay.rows(engine, 30)
    assert len(rows) == 30
    for row in rows:  # which words, its batch may decide: bf16 sums in another order
        [message] = row["prompt"]
        assert message["content"] in replay.prompts() and row["completion"].strip()
    await engine.close()
