"""Replay: the base model's own answers among what it studies."""

import json
from pathlib import Path

import pytest

from learner.engine.local import LocalEngine
from learner.exam.skills import skills
from learner.study import replay


def test_no_prompt_comes_twice_or_in_the_exam() -> None:
    prompts = replay.prompts()
    assert len(set(prompts)) == len(prompts) >= 60 and all(prompts)
    assert not set(prompts) & {one.prompt for one in skills()}


async def test_nothing_is_asked_where_nothing_is_wanted(tiny_engine: LocalEngine, tmp_path: Path) -> None:
    assert await replay.rows(tiny_engine, 0, tmp_path) == []


async def test_what_was_answered_once_is_kept(
    tiny_engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "replay"
    first = await replay.rows(tiny_engine, 8, kept)
    [file] = kept.iterdir()
    with monkeypatch.context() as silent:
        silent.setattr(tiny_engine, "generate", None)
        assert await replay.rows(tiny_engine, 8, kept) == first
    file.write_text("{ damaged")
    await replay.rows(tiny_engine, 8, kept)
    assert len(json.loads(file.read_text())) == 8


@pytest.mark.slow
async def test_the_packaged_models_answers_are_whole(base_model: Path, tmp_path: Path) -> None:
    engine = LocalEngine(base_model, memory_bytes=10**9, threads=2)
    rows = await replay.rows(engine, 30, tmp_path)
    assert len(rows) == 30
    for row in rows:  # which words, its batch may decide: bf16 sums in another order
        [message] = row["prompt"]
        assert message["content"] in replay.prompts() and row["completion"].strip()
    await engine.close()
