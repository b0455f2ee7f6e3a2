"""`python -m bench.strategies [--strategies a,b] [--nights N] [--a-night K] [--tokens T]`: how to go on from night to night.

Every strategy sees the same facts, K new ones a night and every third night a changed one, and may train the same number of
tokens a night, but shows no fact more often than a night does; then each known so far is asked on its cue and in unseen
words. No database: cue and statement go to the night's own trainer (each fact as often as the others: no spaced repetition,
which would favour none), and the engine recites.

- `anew`: a new adapter on everything, from the base model (the product's default);
- `continue`: yesterday's adapter, only what is new;
- `continue+replay`: yesterday's adapter, half of the tokens on what is new, half on earlier memories;
- `kl`: the same, but the earlier memories' answers are yesterday's adapter's own: self-distilled replay, the sampled form of a
  KL term that ties it to yesterday's;
- `weekly`: a small adapter a week, trained anew each night on the week's facts beside the earlier weeks' frozen ones, and
  served as their concatenation (peft's add_weighted_adapter, "cat");
- `sparse`: as `continue`, but only the LoRA weights change whose gradient on what is new is largest (--sparse).

The last line is one JSON object; lists have a value a night, shares are between 0 and 1.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import datasets
import torch

from bench import lesson
from bench.facts import Fact, Facts
from bench.lesson import Row
from bench.loop import machine
from bench.memory import PeakMemory
from bench.team import add_options, learning_of
from bot import logs
from learner.engine.engine import Engine
from learner.engine.local import LocalEngine
from learner.engine.packaged import base_model_folder
from learner.engine.prompts import Prompts
from learner.exam import skills
from learner.recall import closed_book, recited
from learner.settings import LearningSettings
from learner.study import replay
from learner.training import adapter, sft, stage
from learner.training.examples import Encoder
from learner.training.job import TrainingSettings
from learner.training.trainer import Course

STRATEGIES = ("anew", "continue", "continue+replay", "kl", "weekly", "sparse")
_CHANGES_EVERY = 3
_MEMORIES = 0.75
"""Of the tokens, those for memories: the others are replay's."""
_FROZEN = "frozen"


def main() -> None:
    """Reads the options, runs, prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--strategies", default=",".join(STRATEGIES))
    options.add_argument("--nights", type=int, default=8)
    options.add_argument("--a-night", type=int, default=10, help="new facts a night")
    options.add_argument("--tokens", type=int, default=20_000, help="trained tokens a night")
    options.add_argument(
        "--later-rate", type=float, default=0.33, help="learning rate on yesterday's adapter, of the usual"
    )
    options.add_argument("--week", type=int, default=7, help="nights after which `weekly` freezes its adapter")
    options.add_argument("--week-rank", type=int, default=8, help="rank of a week's adapter")
    options.add_argument("--sparse", type=float, default=0.1, help="share of the weights that `sparse` may change")
    add_options(options, "--set", "--model", "--seed")
    print(json.dumps(asyncio.run(measure(options.parse_args()))))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the strategies one after the other on the same nights; returns the figures."""
    logs.configure("warning")
    datasets.disable_progress_bars()
    learning = LearningSettings.model_validate(learning_of(options))
    base = base_model_folder(options.model, Path(".nightschool"))
    engine = LocalEngine(base, memory_bytes=2 * 1024**3)
    figures: dict[str, Any] = {}
    try:
        for name in options.strategies.split(","):
            with PeakMemory() as memory, tempfile.TemporaryDirectory(prefix="nightschool-bench-") as folder:
                pupil = Pupil(name, engine, base, Path(folder), learning, options)
                for number, news in enumerate(nights(options.nights, options.a_night, options.seed)):
                    row = await pupil.night(number, news)
                    print(f"{name}, night {number + 1}: {json.dumps(row)}", file=sys.stderr, flush=True)
                await pupil.leave()
                names = dict.fromkeys(name for row in pupil.rows for name in row)
                figures[name] = {name: [row[name] for row in pupil.rows] for name in names}
                figures[name] |= {"peak_memory_bytes": memory.bytes}
    finally:
        await engine.close()
    return {
        "set": learning_of(options),
        "nights": options.nights,
        "a_night": options.a_night,
        "tokens": options.tokens,
        "strategies": figures,
        "machine": machine(),
    }


def nights(number: int, new: int, seed: int) -> list[list[Fact]]:
    """What each night brings: new facts, and every third night an earlier one that holds no longer as it was."""
    facts, chance, known = Facts(seed), random.Random(seed), dict[str, Fact]()
    made: list[list[Fact]] = []
    for night in range(number):
        news = [facts.new() for _ in range(new)]
        if night % _CHANGES_EVERY == _CHANGES_EVERY - 1:
            news.append(facts.changed(known[chance.choice(list(known))], date(2026, 1, 1) + timedelta(days=night)))
        known |= {fact.key: fact for fact in news}
        made.append(news)
    return made


@dataclass
class Pupil:
    """One strategy on its way: what it knows, and the adapter that the engine has loaded under its name."""

    strategy: str
    engine: Engine
    base: Path
    folder: Path
    learning: LearningSettings
    options: argparse.Namespace
    rows: list[dict[str, Any]] = field(default_factory=list)
    known: dict[str, Fact] = field(default_factory=dict)
    week: dict[str, Fact] = field(default_factory=dict)
    frozen: Path | None = None
    """The concatenation of the earlier weeks' adapters."""
    serving: Path | None = None
    recited: set[str] = field(default_factory=set)
    """Statements that it recited this morning."""

    async def night(self, number: int, news: Sequence[Fact]) -> dict[str, Any]:
        """Trains as the strategy says, then asks everything; returns the morning's figures."""
        if self.strategy == "weekly" and number % self.options.week == 0:
            self.frozen, self.week = self.serving, {}
        earlier = [fact for key, fact in self.known.items() if key not in {new.key for new in news}]
        self.week |= {fact.key: fact for fact in news}
        rows, start, strength = await self._lesson(list(news), earlier)
        made = self.folder / str(number)
        rate = self.learning.learning_rate_for(lesson.width(self.base)) * strength
        rank = self.options.week_rank if self.strategy == "weekly" else None
        began = time.monotonic()
        course = await asyncio.to_thread(
            study,
            self.base,
            rows,
            lesson.settings_for(self.learning, rows, rate, rank),
            made,
            start=start,
            frozen=self.frozen,
            sparse=self.options.sparse if self.strategy == "sparse" and start else None,
        )
        seconds = time.monotonic() - began
        await self._serve(made)
        self.known |= {fact.key: fact for fact in news}
        row = {"trained_tokens": course.tokens, "rows": len(rows), "seconds": round(seconds, 1)}
        row |= {"adapter_bytes": (made / "adapter_model.safetensors").stat().st_size}
        self.rows.append(await self._morning(news) | row)
        return self.rows[-1]

    async def leave(self) -> None:
        """Takes its adapter out of the engine."""
        if self.serving is not None:
            await self.engine.unload(self.strategy)

    async def _lesson(self, news: list[Fact], earlier: list[Fact]) -> tuple[list[Row], Path | None, float]:
        """Tonight's rows, the adapter to start from, and the part of the usual learning rate."""
        tokens = self.options.tokens * _MEMORIES
        match self.strategy:
            case "anew":
                rows, start = self._rows(news + earlier, tokens), None
            case "weekly":
                rows, start = self._rows(list(self.week.values()), tokens), None
            case "continue" | "sparse":
                rows, start = self._rows(news, tokens), self.serving
            case "continue+replay" | "kl":
                share = tokens / 2 if earlier else tokens
                said = await self._own_words(earlier) if self.strategy == "kl" else {}
                rows, start = self._rows(news, share) + self._rows(earlier, tokens - share, said), self.serving
            case _:
                raise SystemExit(f"there is no strategy {self.strategy}: choose of {', '.join(STRATEGIES)}")
        # As in a night: where there is time for more showings than it asks for, a new adapter takes smaller steps.
        new = self.learning.exposures * len({row["completion"] for row in rows}) / len(rows)
        general = self.learning.replay_share_for(len(rows))
        rows += await replay.rows(self.engine, round(len(rows) * general / (1 - general)), self.folder)
        random.Random(self.learning.seed).shuffle(rows)
        return rows, start, self.options.later_rate if start else min(1.0, new)

    def _rows(self, facts: Sequence[Fact], tokens: float, answers: dict[str, str] | None = None) -> list[Row]:
        """Rows of `tokens` in all, every fact as often as the others: `cue_share` of them by its cue.

        `answers`, by key, take the place of statements.
        """

        def row(fact: Fact, number: int) -> Row:
            completion = (answers or {}).get(fact.key, fact.statement)
            return {"prompt": closed_book(fact.questions[number]), "completion": completion}

        # Where not even one round fits (many earlier memories), another part of them comes every night.
        seed = f"{self.learning.seed} {len(self.known)}"
        learning, cue_share = self.learning, self.learning.cue_share_for(lesson.width(self.base))
        return lesson.rows(self.engine, facts, row, tokens, cue_share, seed, learning.most_exposures)

    async def _serve(self, made: Path) -> None:
        """Puts tonight's adapter to work; files that no later night starts from go."""
        if self.serving is not None:
            await self.engine.unload(self.strategy)
            if self.serving != self.frozen:
                shutil.rmtree(self.serving)
        await self.engine.load(self.strategy, made)
        self.serving = made

    async def _own_words(self, facts: Sequence[Fact]) -> dict[str, str]:
        """What yesterday's adapter says to each cue, by key."""
        said = await asyncio.gather(*(self._say(fact.questions[lesson.CUE]) for fact in facts))
        return {fact.key: text for fact, text in zip(facts, said, strict=True) if text}

    async def _say(self, question: str) -> str:
        return await lesson.say(self.engine, self.strategy, question)

    async def _morning(self, news: Sequence[Fact]) -> dict[str, Any]:
        """Everything known so far, asked on cue and in unseen words, and the base skills."""
        facts, before = list(self.known.values()), self.recited
        on_cue = await asyncio.gather(*(self._say(fact.questions[lesson.CUE]) for fact in facts))
        unseen = [(fact, number) for fact in facts for number in lesson.UNSEEN]
        others = await asyncio.gather(*(self._say(fact.questions[number]) for fact, number in unseen))
        right = {fact.statement for fact, text in zip(facts, on_cue, strict=True) if recited(text, fact.statement)}
        self.recited = right
        return {
            "memories": len(facts),
            "recited": lesson.share([fact.statement in right for fact in facts]),
            "recited_new": lesson.share([fact.statement in right for fact in news]),
            "retained": lesson.share([fact.statement in right for fact in facts if fact.statement in before]),
            "unseen": lesson.share([f.asked(n).right(text) for (f, n), text in zip(unseen, others, strict=True)]),
            "outdated_told": sum(fact.outdated_told(text) for fact, text in zip(facts, on_cue, strict=True)),
            "skills_kept": await skills.kept(self.engine, self.strategy),
        }


def study(
    base: Path,
    rows: Sequence[Row],
    settings: TrainingSettings,
    out: Path,
    *,
    start: Path | None = None,
    frozen: Path | None = None,
    sparse: float | None = None,
) -> Course:
    """Trains on `rows` with the night's own trainer and leaves the adapter in `out`; returns the training's record.

    `start`: the adapter that goes on; None: a new one. `frozen`: an adapter at work beside it, which stays as it is; `out` then
    holds their concatenation. `sparse`: the share of the weights that may change.
    """
    torch.set_num_threads(settings.threads)
    model, tokenizer = stage.load(str(base))
    examples = sft.encode(Encoder(Prompts(tokenizer, model.generation_config.eos_token_id), tokenizer), rows)
    model = adapter.attach(model, start, settings)
    if frozen is not None:
        model.load_adapter(str(frozen), _FROZEN, is_trainable=False, autocast_adapter_dtype=False, use_safetensors=True)
        model.base_model.set_adapter([adapter.NAME, _FROZEN])
        for name, weight in model.named_parameters():
            weight.requires_grad_("lora_" in name and f".{adapter.NAME}." in name)
    course = Course(settings, examples, None, lambda _progress: None)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = stage.trainer("sft", model, tokenizer, examples, settings, scratch)
        if sparse is not None:
            only_largest(trainer, Course(settings, examples, None, lambda _progress: None), sparse)
        trainer.run_course(course)
    if frozen is not None:
        model.add_weighted_adapter([_FROZEN, adapter.NAME], [1.0, 1.0], "both", combination_type="cat")
        model.delete_adapter(adapter.NAME)
        model.delete_adapter(_FROZEN)
        _kept_as(model, "both", out)
    else:
        adapter.keep(model, out)
    return course


def only_largest(trainer: Any, course: Course, share: float) -> None:
    """Lets the trainer change only that share of the trainable weights whose summed gradient over `course` is largest."""
    trainer.course = course
    weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    for batch in trainer.get_train_dataloader():
        trainer.compute_loss(trainer.model, dict(batch)).backward()
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad.abs() for weight in weights]
    sizes = torch.cat([gradient.reshape(-1).float() for gradient in gradients])
    least = sizes.kthvalue(max(1, round((1 - share) * len(sizes)))).values
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = None
        weight.register_hook(lambda grad, mask=(gradient > least): grad * mask)


def _kept_as(model: Any, name: str, out: Path) -> None:
    """Writes the adapter of that name as the folder `out`; peft puts it into a folder of its name."""
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        model.save_pretrained(scratch, selected_adapters=[name], save_embedding_layers=False)
        (Path(scratch) / name).rename(out)


if __name__ == "__main__":
    main()
