"""What anybody would try first: plain TRL SFT of a LoRA on the passages as they stand, for benches to set beside a night."""

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import datasets
import torch
from peft import LoraConfig
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from bench.arms import PLAIN, Arms, Said, asked
from bot.quiz import Question
from learner.training import adapter, stage

_RATE = 2e-4
"""What TRL's documentation proposes for LoRA."""
_RANK = 32


async def answers(
    arms: Arms, base: Path, seconds: float, seed: int, questions: Sequence[Question]
) -> tuple[list[tuple[Question, Said]], dict[str, Any]]:
    """Trains on the team's passages for `seconds`; gives what the adapter then says to the questions, and what it cost."""
    texts = await arms.texts()
    with tempfile.TemporaryDirectory(prefix="nightschool-bench-") as folder:
        cost = await asyncio.to_thread(train, base, texts, seconds, Path(folder), seed)
        await arms.engine.load(PLAIN, Path(folder) / PLAIN)
        try:
            return await asked(arms.plain, questions), cost
        finally:
            await arms.engine.unload(PLAIN)


def train(base: Path, texts: Sequence[str], seconds: float, folder: Path, seed: int) -> dict[str, Any]:
    """Leaves an adapter in folder/plain, trained on `texts` as language for `seconds`; returns passes, tokens and seconds."""
    torch.set_num_threads(os.cpu_count() or 1)
    datasets.disable_progress_bars()
    model, tokenizer = stage.load(str(base))
    over = _Over(seconds)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder / "scratch"),
            per_device_train_batch_size=8,
            learning_rate=_RATE,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=10,
            num_train_epochs=1000,
            activation_checkpointing=False,
            use_cpu=not torch.cuda.is_available(),
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            seed=seed,
        ),
        train_dataset=datasets.Dataset.from_list(
            [{"text": text} for text in random.Random(seed).sample(texts, len(texts))]
        ),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=_RANK, lora_alpha=_RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[over],
    )
    trainer.remove_callback(PrinterCallback)
    began = time.monotonic()
    trainer.train()
    adapter.keep(trainer.model, folder / PLAIN)
    return {
        "passages": len(texts),
        "passes": round(float(trainer.state.epoch or 0), 1),
        "tokens": int(trainer._total_train_tokens),
        "seconds": round(time.monotonic() - began, 1),
    }


class _Over(TrainerCallback):  # type: ignore[misc]
    """Ends the training after so many seconds, and two steps at least."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Never after the first: its rate is nil, the warm-up begins there, and an adapter that changes nothing cannot be asked.
        control.should_training_stop = state.global_step > 1 and time.monotonic() - self.began > self.seconds
