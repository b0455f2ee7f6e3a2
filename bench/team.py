"""The fresh team that a benchmark of the learning loop teaches."""

from pathlib import Path
from typing import Any

from bot.settings import Settings
from learner.engine.packaged import base_model_folder, embedder_folder

_CACHE = Path(".nightschool")


def settings_of(
    folder: str, learning: dict[str, Any], *, model: str = "packaged", embedder: str = "packaged"
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
    )
