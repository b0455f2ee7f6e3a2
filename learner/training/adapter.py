"""Adapters on their way in and out: a LoRA on a base model, and the folder that it is kept in."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError

from learner.training import lora
from learner.training.errors import TrainingStopped
from learner.training.job import TrainingSettings

NAME = "default"
"""TRL's DPO trainer takes the adapter of this name for the reference."""


def attach(model: Any, start: Path | None, settings: TrainingSettings) -> Any:
    """A trainable adapter on `model`: a new one, or a copy of that in the folder `start`; in the model's own dtype."""
    if start is None:
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(settings.seed)
        adapted = get_peft_model(model, config, adapter_name=NAME, autocast_adapter_dtype=False)
        lora.fuse(adapted)
        return adapted
    if not (start / "adapter_model.safetensors").is_file():
        raise TrainingStopped(f"there is no adapter in {start} to start from. Train it first, or start from none.")
    adapted = PeftModel.from_pretrained(
        model, start, adapter_name=NAME, is_trainable=True, autocast_adapter_dtype=False, use_safetensors=True
    )
    lora.fuse(adapted)
    return adapted


def keep(model: Any, folder: Path) -> None:
    """Write the adapter as `folder` (weights and configuration), which appears complete or not at all.

    Raises TrainingStopped where the disk will not take it.
    """
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model.save_pretrained(staged, selected_adapters=[NAME], save_embedding_layers=False)
        for file in staged.iterdir():
            if file.name not in ("adapter_model.safetensors", "adapter_config.json"):
                file.unlink()
                continue
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        staged.rename(folder)
        parent = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    except (OSError, SafetensorError) as error:
        raise TrainingStopped(
            f"the adapter could not be written to {folder}: {error}. Free some disk space."
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
