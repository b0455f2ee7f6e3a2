"""The fresh team that a benchmark of the learning loop teaches, and the options that such benchmarks share."""

import argparse
from pathlib import Path
from typing import Any

from bot.settings import Settings
from learner.engine.packaged import base_model_folder, embedder_folder
from learner.work import AGAIN
from storage.nights import Night

_CACHE = Path(".nightschool")
_OPTIONS: dict[str, dict[str, Any]] = {
    "--model": {"default": "packaged", "help": "the base model: `packaged`, or a folder"},
    "--embedder": {"default": "packaged", "help": "the embedder: `packaged`, or a folder"},
    "--seed": {"type": int, "default": 0},
    "--set": {
        "action": "append", "default": [], "metavar": "NAME=VALUE", "help": "a setting of the learning loop; may be repeated",
    },
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Adds shared options to a benchmark's own."""
    for name in names:
        parser.add_argument(name, **_OPTIONS[name])


def learning_of(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of the learning loop that `--seed` and `--set` chose, as they were written."""
    return {"seed": options.seed} | dict(one.split("=", 1) for one in options.set)


def settings_of(
    folder: str,
    learning: dict[str, Any],
    *,
    model: str = "packaged",
    embedder: str = "packaged",
    database_url: str | None = None,
) -> Settings:
    """Settings of a team of its own whose data lie in `folder`. Raises BadSettings."""
    return Settings.load(
        overrides={
            "data_folder": folder,
            "team": "bench",
            "model": str(base_model_folder(model, _CACHE)),
            "embedder": str(embedder_folder(embedder, _CACHE)),
            "log_level": "warning",
            "learning": learning,
        }
        | ({"database_url": database_url} if database_url else {})
    )


def result_of(night: Night, step: str) -> dict[str, Any]:
    """What a step of a night left, in its second try where there was one; empty where it was not come to."""
    found = night.steps.get(step + AGAIN) or night.steps.get(step)
    return found.result if found else {}
