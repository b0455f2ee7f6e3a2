"""One stage of training from a job to an adapter folder."""

import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from learner.training import adapter, dpo, sft
from learner.training.errors import TrainingStopped
from learner.training.examples import Encoder, read
from learner.training.job import TrainingJob, TrainingProgress, TrainingSettings
from learner.training.trainer import Course, deadline_of


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of a stage: its record, and how many examples were too long for the model."""

    course: Course
    skipped: int


def run(folder: Path, job: TrainingJob, report: Callable[[TrainingProgress], None], process_started: float) -> Finished:
    """Train as `job` says and leave the adapter in folder/job.out; raises TrainingStopped."""
    torch.set_num_threads(job.settings.threads)
    lines = list(read(folder / job.data))
    if not lines:
        raise TrainingStopped(f"{folder / job.data} holds no examples, so there is nothing to train.")
    model, tokenizer = load(job.base)
    encoder = Encoder(tokenizer, end_ids(model, tokenizer))
    stage = sft if job.stage == "sft" else dpo
    examples = stage.encode(encoder, lines)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    fitting = [example for example in examples if length(example) <= context]
    if not fitting:
        raise TrainingStopped(f"no example of {folder / job.data} fits the model's {context} tokens. Shorten them.")
    course = Course(
        job.settings,
        [length(example) for example in fitting],
        deadline_of(job.budget_seconds, process_started),
        report,
    )
    model = adapter.attach(model, folder / job.start if job.start else None, job.settings)
    with tempfile.TemporaryDirectory() as scratch:
        trainer(job.stage, model, tokenizer, fitting, job.settings, scratch).run_course(course)
    adapter.keep(model, folder / job.out)
    return Finished(course, len(examples) - len(fitting))


def load(base: str) -> tuple[Any, Any]:
    """The base model in bf16 where its weights are, with its tokenizer; raises TrainingStopped if it is not there."""
    try:
        return AutoModelForCausalLM.from_pretrained(base, dtype="auto"), AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as error:
        raise TrainingStopped(f"the base model {base} could not be loaded: {error}") from error


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """Token ids that may end a turn, by the generation configuration and the tokenizer."""
    found = getattr(model.generation_config, "eos_token_id", None)
    ids = [] if found is None else [found] if isinstance(found, int) else list(found)
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    return ids


def trainer(
    stage: str, model: Any, tokenizer: Any, examples: list[dict[str, Any]], settings: TrainingSettings, scratch: str
) -> Any:
    """The stage's trainer for `model` with its adapter; `scratch` is a folder for what TRL may write."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    tokenizer.padding_side = "right"
    args = {
        "output_dir": scratch,
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
    }
    if stage == "sft":
        return sft.AnswerTrainer(model, tokenizer, examples, args)
    return dpo.PreferenceTrainer(model, tokenizer, examples, settings, args)


def length(example: dict[str, Any]) -> int:
    """Tokens of an encoded example (of the longer sequence of a pair)."""
    if "input_ids" in example:
        return len(example["input_ids"])
    return len(example["prompt_ids"]) + max(len(example["chosen_ids"]), len(example["rejected_ids"]))


def peak_memory_bytes() -> int:
    """The process's largest resident size so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
