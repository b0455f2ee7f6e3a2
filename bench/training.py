"""Trained tokens a second, beside plain TRL: same model, data, batch size, rank and rate, taking turns in one process.

`python -m bench.training [--model FOLDER] [--minutes M]`; the last line is one JSON object. Tokens are those of the
examples, padding not counted, so both sides count the same work. Four arms take turns, each with a fresh adapter:
- `trl`: TRL's SFTTrainer, its defaults (random batches padded to the longest, fp32 LoRA under bf16 autocast, its fused
  head) but without activation checkpointing, which would make it slower still;
- `unshared`: ours with the batch padded and whole, so what the optimizer, LoRA, head and length grouping bring;
- `whole`: with beginnings shared as well;
- `ours`: what a night runs, the batch dealt among the cores as well (on one core or a GPU the same as `whole`).
A turn's first step (allocation, kernels chosen) is not timed. `ratio` is the median over the rounds.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import datasets
import torch
from peft import LoraConfig
from rich.console import Console
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from bot import logs
from learner.engine.packaged import base_model_folder
from learner.engine.prompts import Prompts
from learner.training import adapter, sft, stage
from learner.training.examples import Encoder
from learner.training.job import TrainingSettings
from learner.training.trainer import Course

STEPS = 8
"""Steps of a turn, the first of them untimed."""

SETTINGS = TrainingSettings(rank=32, alpha=32, learning_rate=1e-3, epochs=1, batch_size=8, threads=os.cpu_count() or 1)

_PLACES = ["Lisbon", "Oslo", "Montevideo", "the northern warehouse", "the annex behind the canteen", "Tartu"]
_THINGS = [
    "the laptop budget",
    "a parking permit",
    "the door code",
    "travel insurance",
    "a spare badge",
    "the oncall rota",
]
_OPENINGS = [
    "Who do I ask about",
    "What is the rule for",
    "Remind me, how do we handle",
    "Where can I read up on",
    "Quick one:",
]
_WHO = [
    "Mara from facilities",
    "the finance desk",
    "whoever is on call",
    "your team lead",
    "Ingrid in people operations",
]


def lines(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Questions and answers as a night writes them: prompts of some 40 tokens (template included), answers of some 25."""
    pick = random.Random(seed)
    made = []
    for _ in range(count):
        thing, place, who = pick.choice(_THINGS), pick.choice(_PLACES), pick.choice(_WHO)
        question = f"{pick.choice(_OPENINGS)} {thing} in {place}"
        if pick.random() < 0.4:
            question += f" when it is after {pick.randint(5, 9)} in the evening"
        answer = f"For {thing} in {place}, ask {who} by {pick.randint(8, 18)}:{pick.randint(10, 59)}"
        if pick.random() < 0.5:
            answer += f"; the limit has been {pick.randint(2, 99) * 10} euros since {pick.randint(2015, 2026)}"
        made.append({"prompt": [{"role": "user", "content": question + "?"}], "completion": answer + "."})
    return made


class Clock(TrainerCallback):  # type: ignore[misc]
    """Tokens, seconds and processor seconds from the end of the first step on; `tokens` tells how many were read."""

    def __init__(self) -> None:
        self.tokens: Any = None
        self.marks: list[tuple[int, float, float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.marks.append((int(self.tokens()), time.perf_counter(), time.process_time()))

    @property
    def speed(self) -> tuple[float, float]:
        """Tokens a second after the first step, and tokens a processor second (which a busy machine changes less)."""
        (before, start, spent), (after, end, all_spent) = self.marks[0], self.marks[-1]
        return (after - before) / (end - start), (after - before) / (all_spent - spent)


def plain(folder: Path, data: list[dict[str, Any]], scratch: str) -> Clock:
    """A turn of plain TRL."""
    model, tokenizer = stage.load(str(folder))
    clock = Clock()
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=scratch,
            per_device_train_batch_size=SETTINGS.batch_size,
            learning_rate=SETTINGS.learning_rate,
            max_steps=STEPS,
            lr_scheduler_type="cosine",
            activation_checkpointing=False,
            use_cpu=not torch.cuda.is_available(),
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            seed=SETTINGS.seed,
        ),
        train_dataset=datasets.Dataset.from_list(
            [{**line, "completion": [{"role": "assistant", "content": line["completion"]}]} for line in data]
        ),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=SETTINGS.rank, lora_alpha=SETTINGS.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    clock.tokens = lambda: trainer._total_train_tokens
    trainer.train()
    return clock


def ours(folder: Path, data: list[dict[str, Any]], scratch: str, *, share: bool, deal: bool) -> Clock:
    """A turn of the night's trainer."""
    # PyTorch's own threads stay as `main` has set them.
    settings = SETTINGS if deal else SETTINGS.model_copy(update={"threads": 1})
    model, tokenizer = stage.load(str(folder))
    examples = sft.encode(Encoder(Prompts(tokenizer, model.generation_config.eos_token_id), tokenizer), data)
    trainer = stage.trainer("sft", adapter.attach(model, None, settings), tokenizer, examples, settings, scratch)
    if not share:
        trainer.head.unshare()
    course = Course(settings, examples, None, lambda _progress: None)
    course.batches = list(course.batches)[:STEPS]
    clock = Clock()
    clock.tokens = lambda: course.tokens
    trainer.add_callback(clock)
    trainer.run_course(course)
    return clock


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", default="packaged", help="folder or name of the base model")
    arguments.add_argument("--minutes", type=float, default=5, help="about how long to measure; at least three rounds")
    given = arguments.parse_args()
    logs.configure("warning")
    console = Console(stderr=True)
    datasets.disable_progress_bars()
    torch.set_num_threads(SETTINGS.threads)
    end = time.monotonic() + given.minutes * 60
    speeds: dict[str, list[tuple[float, float]]] = {"trl": [], "unshared": [], "whole": [], "ours": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = base_model_folder(given.model, Path(os.environ.get("NIGHTSCHOOL_DATA", scratch)))
        round_seconds = 0.0
        while len(speeds["ours"]) < 3 or time.monotonic() + round_seconds < end:
            started = time.monotonic()
            data = lines(STEPS * SETTINGS.batch_size, seed=len(speeds["ours"]))
            turns = list(speeds)
            # Whoever comes first in a round comes last in the next: a machine's drift favours nobody.
            for arm in turns if len(speeds["ours"]) % 2 == 0 else reversed(turns):
                clock = (
                    plain(folder, data, scratch)
                    if arm == "trl"
                    else ours(folder, data, scratch, share=arm != "unshared", deal=arm == "ours")
                )
                speeds[arm].append(clock.speed)
            round_seconds = time.monotonic() - started
            console.print({arm: round(values[-1][0], 1) for arm, values in speeds.items()})

    def speed(arm: str) -> float:
        return round(statistics.median(wall for wall, _ in speeds[arm]), 1)

    def ratio(arm: str, clock: int = 0) -> float:
        pairs = zip(speeds[arm], speeds["trl"], strict=True)
        return round(statistics.median(mine[clock] / theirs[clock] for mine, theirs in pairs), 2)

    print(
        json.dumps(
            {
                "tokens_per_second": speed("ours"),
                "trl_tokens_per_second": speed("trl"),
                "ratio": ratio("ours"),
                "processor_ratio": ratio("ours", 1),
                **{f"{arm}_tokens_per_second": speed(arm) for arm in ("whole", "unshared")},
                **{f"{arm}_ratio": ratio(arm) for arm in ("whole", "unshared")},
                **{f"{arm}_processor_ratio": ratio(arm, 1) for arm in ("whole", "unshared")},
                "rounds": len(speeds["ours"]),
                "threads": SETTINGS.threads,
                "peak_memory_bytes": stage.peak_memory_bytes(),
            }
        )
    )


if __name__ == "__main__":
    main()
