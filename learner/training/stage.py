"""One stage of training from a job to an adapter folder."""

import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from learner.engine.device import best_device, best_dtype
from learner.engine.prompts import Prompts, load_tokenizer
from learner.training import adapter, dpo, sft
from learner.training.errors import TrainingStopped
from learner.training.examples import Encoder, read
from learner.training.job import TrainingJob, TrainingProgress, TrainingSettings
from learner.training.soften import sample, soften
from learner.training.trainer import Course, sequences


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of a stage: its record, how many examples were too long for the model, the share of its strength that is left."""

    course: Course
    skipped: int
    scale: float


def run(folder: Path, job: TrainingJob, report: Callable[[TrainingProgress], None]) -> Finished:
    """Train as `job` says and leave the adapter in folder/job.out; raises TrainingStopped."""
    torch.set_num_threads(job.settings.threads)
    lines = list(read(folder / job.data))
    if not lines:
        raise TrainingStopped(f"{folder / job.data} holds no examples, so there is nothing to train.")
    model, tokenizer = load(job.base)
    encoder = Encoder(Prompts(tokenizer, model.generation_config.eos_token_id), tokenizer)
    stage = sft if job.stage == "sft" else dpo
    examples = stage.encode(encoder, lines)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    fitting = [example for example in examples if all(len(each) <= context for each in sequences(example))]
    if not fitting:
        raise TrainingStopped(f"no example of {folder / job.data} fits the model's {context} tokens. Shorten them.")
    course = Course(job.settings, fitting, job.budget_seconds, report)
    model = adapter.attach(model, folder / job.start if job.start else None, job.settings)
    with tempfile.TemporaryDirectory() as scratch:
        taught = trainer(job.stage, model, tokenizer, fitting, job.settings, scratch)
        taught.run_course(course)
        rows = sample([example.get("topic") for example in fitting], job.settings.seed)
        scale = soften(model, lambda: taught.known(rows)) if rows else 1.0
    adapter.keep(model, folder / job.out)
    return Finished(course, len(examples) - len(fitting), scale)


def load(base: str) -> tuple[Any, Any]:
    """The base model as the engine serves it, and its tokenizer; raises TrainingStopped if they are not there."""
    folder = Path(base)
    if not folder.is_dir():
        raise TrainingStopped(f"there is no base model in {base}. Correct the path.")
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=best_dtype(best_device()), local_files_only=True)
        return model, load_tokenizer(folder)
    except (OSError, ValueError) as error:
        raise TrainingStopped(f"the base model in {base} could not be loaded: {error}") from error


def trainer(
    stage: str, model: Any, tokenizer: Any, examples: list[dict[str, Any]], settings: TrainingSettings, scratch: str
) -> Any:
    """The stage's trainer for `model` with its adapter; `scratch` is a folder for what TRL may write."""
    args = arguments(tokenizer, settings, scratch)
    if stage == "sft":
        return sft.AnswerTrainer(model, tokenizer, examples, args, settings.threads)
    return dpo.PreferenceTrainer(model, tokenizer, examples, settings, args)


def arguments(tokenizer: Any, settings: TrainingSettings, scratch: str) -> dict[str, Any]:
    """What any of TRL's trainers is given; `scratch` is a folder for what it may write. The tokenizer will pad as they need."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    tokenizer.padding_side = "right"
    return {
        "output_dir": scratch,
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
    }


def peak_memory_bytes() -> int:
    """The process's largest resident size so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
