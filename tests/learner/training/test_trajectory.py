"""The losses of a tiny training, step by step, against those committed: silent changes of numerics show here.

After a change that is meant, write them anew: `python -m pytest tests/learner/training/test_trajectory.py --co` shows
the tests; with NIGHTSCHOOL_WRITE_TRAJECTORY=1 in the environment they write what they find.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from learner.engine.prompts import Prompts
from learner.training import adapter, dpo, sft, stage
from learner.training.examples import Encoder
from learner.training.job import TrainingSettings
from learner.training.soften import sample, soften
from learner.training.trainer import Course
from tests.learner.training.conftest import SYSTEM

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*")

COMMITTED = Path(__file__).with_name("trajectory.json")
SETTINGS = TrainingSettings(rank=4, alpha=4, learning_rate=1e-2, epochs=3, batch_size=4, seed=5, threads=1)

SPACED = SETTINGS.model_copy(
    update={"rank": 8, "alpha": 8, "learning_rate": 1.5e-2, "showings": 36, "general_share": 0.2, "seed": 6}
)
"""Five topics, three or four of them a batch, come back as they are known; no probability comes near to what decides it."""


def spaced_lines() -> list[dict[str, Any]]:
    """Five topics in two phrasings each, and general lines."""

    def line(question: str, answer: str, **topic: int) -> dict[str, Any]:
        return {"prompt": [SYSTEM, {"role": "user", "content": question}], "completion": answer, **topic}

    topics = [("aaa", "two"), ("bbb", "nine"), ("ccc", "answer"), ("ddd", "Room"), ("eee", "On")]
    return [
        line(question, answer, topic=number)
        for number, (name, answer) in enumerate(topics)
        for question in (f"Where is {name}?", f"{name.upper()}, briefly?")
    ] + [line(f"Say {word}.", f"{word.capitalize()}!") for word in ("tea", "rain", "seven")]


def trained(
    folder: Path,
    name: str,
    lines: list[dict[str, Any]],
    start: Path | None,
    tmp_path: Path,
    settings: TrainingSettings = SETTINGS,
) -> tuple[list[float], float]:
    """The losses, and the share of the adapter's strength that is left."""
    torch.set_num_threads(1)
    model, tokenizer = stage.load(str(folder))
    model = model.float()
    encoder = Encoder(Prompts(tokenizer, model.generation_config.eos_token_id), tokenizer)
    examples = (sft if name == "sft" else dpo).encode(encoder, lines)
    model = adapter.attach(model, start, settings)
    course = Course(settings, examples, None, lambda _progress: None)
    trainer = stage.trainer(name, model, tokenizer, examples, settings, str(tmp_path))
    trainer.run_course(course)
    rows = sample([example.get("topic") for example in examples], settings.seed)
    scale = soften(model, lambda: trainer.known(rows)) if rows else 1.0
    adapter.keep(model, tmp_path / name)
    return course.losses, scale


def committed(**found: list[float]) -> dict[str, list[float]]:
    """What is committed under these names, written anew first where that is asked for."""
    kept: dict[str, list[float]] = json.loads(COMMITTED.read_text(encoding="utf-8"))
    if os.environ.get("NIGHTSCHOOL_WRITE_TRAJECTORY"):
        kept |= found
        COMMITTED.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return {name: kept[name] for name in found}


def test_losses_are_those_committed(
    tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]], dpo_lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    found = {"sft": trained(tiny("llama"), "sft", sft_lines, None, tmp_path)[0]}
    found["dpo"] = trained(tiny("llama"), "dpo", dpo_lines, tmp_path / "sft", tmp_path)[0]
    expected = committed(**found)
    for name, losses in expected.items():
        assert found[name] == pytest.approx(losses, rel=1e-3), name
        assert losses[-1] < losses[0]
    # The reference is the SFT adapter itself: at the first step the pair's margin is nothing, its loss is ln 2.
    assert expected["dpo"][0] > 0.6931


def test_what_comes_back_and_how_far_it_is_softened_are_those_committed(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    losses, scale = trained(tiny("llama"), "sft", spaced_lines(), None, tmp_path, SPACED)
    expected = committed(spaced=losses, softened=[scale])
    # A long course by small batches lets the rounding of another processor grow; another order of rows is a tenth and more.
    assert losses == pytest.approx(expected["spaced"], rel=1e-2)
    assert [scale] == expected["softened"]
    assert losses[-1] < losses[0] and scale < 1.0
