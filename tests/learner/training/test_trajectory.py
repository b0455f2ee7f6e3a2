"""The losses of a tiny training, step by step, against those committed: silent changes of numerics show here.

After a change that is meant, write them anew: `python -m pytest tests/learner/training/test_trajectory.py --co` shows
the tests; with NIGHTSCHOOL_WRITE_TRAJECTORY=1 in the environment they write what they find.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from learner.training import adapter, dpo, sft, stage
from learner.training.examples import Encoder
from learner.training.job import TrainingSettings
from learner.training.trainer import Course

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*")

COMMITTED = Path(__file__).with_name("trajectory.json")
SETTINGS = TrainingSettings(rank=4, alpha=4, learning_rate=1e-2, epochs=3, batch_size=4, seed=5, threads=1)
SPACED = SETTINGS.model_copy(update={"learning_rate": 3e-2, "showings": 30, "general_share": 0.25, "exposures": 20})


def trained(
    folder: Path,
    name: Literal["sft", "dpo"],
    lines: list[dict[str, Any]],
    start: Path | None,
    tmp_path: Path,
    settings: TrainingSettings = SETTINGS,
) -> list[float]:
    model, tokenizer = stage.load(str(folder))
    model = model.float()
    encoder = Encoder(stage.Prompts(tokenizer, model.generation_config.eos_token_id), tokenizer)
    examples = (sft if name == "sft" else dpo).encode(encoder, lines)
    model = adapter.attach(model, start, settings)
    course = Course(settings, examples, None, lambda _progress: None)
    stage.trainer(name, model, tokenizer, examples, settings, str(tmp_path)).run_course(course)
    adapter.keep(model, tmp_path / name)
    return course.losses


def test_losses_are_those_committed(
    tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]], dpo_lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    found = {"sft": trained(tiny("llama"), "sft", sft_lines, None, tmp_path)}
    found["dpo"] = trained(tiny("llama"), "dpo", dpo_lines, tmp_path / "sft", tmp_path)
    # As a night studies: what is known rests, a quarter is replay, and the rate is that of a longer training.
    topics = [line | {"topic": number} if number < 3 else line for number, line in enumerate(sft_lines)]
    found["spaced"] = trained(tiny("llama"), "sft", topics, None, tmp_path / "spaced", SPACED)
    if os.environ.get("NIGHTSCHOOL_WRITE_TRAJECTORY"):
        COMMITTED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    for name, losses in committed.items():
        assert found[name] == pytest.approx(losses, rel=1e-3), name
        assert losses[-1] < losses[0]
    # The reference is the SFT adapter itself: at the first step the pair's margin is nothing, its loss is ln 2.
    assert committed["dpo"][0] > 0.6931
