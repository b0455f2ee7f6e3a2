"""`python -m bench.thumbs [--arms a,b] [--facts N] [--up U] [--down D] [--tokens T]`: what lone thumbs can teach.

An adapter learns facts by SFT, some of them wrongly, and is asked; right answers get thumbs up, wrong ones thumbs down, the
rest is left alone. A wrong answer is another fact's statement, an old value, or what a vague question brought about while
another fact was meant. Each arm then makes what it can of the thumbs:

- `none`: nothing (the product's default);
- `kto`: KTO (arXiv 2402.01306) by TRL's trainer, on the adapter;
- `bco`: BCO (arXiv 2404.04656), whose trainer TRL no longer has: its loss in TRL's KTO trainer, without the density ratio;
- `dpo`: the night's DPO with what would have been right, which a lone thumb does not say: the upper bound;
- `sft+up`: SFT anew, the upvoted answers as further rows, for the same number of tokens.

An arm may name its learning rate, as in `kto@1e-4`; the passes and beta are the settings dpo_epochs and dpo_beta. The last line
is one JSON object; shares are between 0 and 1, seconds include loading the model.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import datasets
import torch

from bench import lesson, strategies, unpaired
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
from learner.training import adapter, dpo, stage
from learner.training.examples import Encoder
from learner.training.job import TrainingSettings
from learner.training.trainer import Course

ARMS = ("none", "kto", "bco", "dpo", "sft+up")
_KINDS = ("other", "old", "vague")
_VAGUE = ("What about “{h}”?", "How is it with “{h}” here?", "Tell me about “{h}”.", "“{h}”: what do I need to know?")
_PAIRS = 4
"""Rows a step of everything but SFT, as in the night's DPO."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question in several wordings and the fact that answers it; `said` is what the adapter answered to the first."""

    fact: Fact
    kind: str
    questions: tuple[str, ...]
    said: str = ""

    def right(self, text: str) -> bool:
        """True where `text` tells the fact."""
        return self.fact.asked(0).right(text)

    def still(self, text: str) -> bool:
        """True where `text` says again what was said."""
        return text == self.said or recited(text, self.said)


def main() -> None:
    """Reads the options, runs, prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--arms", default=",".join(ARMS))
    options.add_argument("--facts", type=int, default=60, help="facts in all; thumbs leave the rest alone")
    options.add_argument("--up", type=int, default=20, help="facts that get a thumb up where the answer is right")
    options.add_argument("--down", type=int, default=18, help="facts whose answer is made wrong and gets a thumb down")
    options.add_argument("--tokens", type=int, default=30_000, help="trained tokens of the SFT")
    add_options(options, "--set", "--model", "--seed")
    print(json.dumps(asyncio.run(measure(options.parse_args()))))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Teaches, takes thumbs, runs the arms one after the other; returns the figures."""
    logs.configure("warning")
    datasets.disable_progress_bars()
    if unknown := [name for name in options.arms.split(",") if name.partition("@")[0] not in ARMS]:
        raise SystemExit(f"there is no arm {unknown[0]}: choose of {', '.join(ARMS)}")
    if options.up + options.down >= options.facts:
        raise SystemExit("some facts must be left without a thumb: more --facts, or fewer --up and --down")
    base = base_model_folder(options.model, Path(".nightschool"))
    learning = LearningSettings.model_validate(learning_of(options))
    engine = LocalEngine(base, memory_bytes=2 * 1024**3)
    try:
        with tempfile.TemporaryDirectory(prefix="nightschool-bench-") as folder:
            team = Team(engine, base, Path(folder), learning, options)
            learnt = await team.learn()
            print(f"learnt: {json.dumps(learnt)}", file=sys.stderr, flush=True)
            figures = {}
            for name in options.arms.split(","):
                with PeakMemory() as memory:
                    figures[name] = await team.arm(name)
                figures[name]["peak_memory_bytes"] = memory.bytes
                print(f"{name}: {json.dumps(figures[name])}", file=sys.stderr, flush=True)
    finally:
        await engine.close()
    return {
        "set": learning_of(options),
        "facts": options.facts,
        "tokens": options.tokens,
        "learnt": learnt,
        "arms": figures,
        "machine": machine(),
    }


class Team:
    """What was taught, what was said, and who liked it."""

    def __init__(
        self, engine: Engine, base: Path, folder: Path, learning: LearningSettings, options: argparse.Namespace
    ) -> None:
        self.engine, self.base, self.folder, self.learning, self.options = engine, base, folder, learning, options
        drawn = Facts(options.seed)
        facts = [drawn.new() for _ in range(options.facts)]
        self.taught = {fact.key: fact.statement for fact in facts}
        """The statement that the SFT tells by each fact's questions."""
        down, up = facts[: options.down], facts[options.down : options.down + options.up]
        untouched = facts[options.down + options.up :]
        self.facts = facts
        self.up = [Case(fact, "right", fact.questions) for fact in up]
        self.untouched = [Case(fact, "untouched", fact.questions) for fact in untouched]
        self.down: list[Case] = []
        for number, fact in enumerate(down):
            kind = _KINDS[number % len(_KINDS)]
            # Of one that is left alone, so that it shows what unlearning the answer here does to it there.
            if kind == "other":
                self.taught[fact.key] = untouched[number % len(untouched)].statement
            if kind == "old":
                fact = drawn.edited(fact)
            vague = tuple(words.format(h=fact.heading) for words in _VAGUE)
            self.down.append(Case(fact, kind, vague if kind == "vague" else fact.questions))

    async def learn(self) -> dict[str, Any]:
        """Trains the adapter that all arms but SFT start from, and takes its answers with the thumbs on them."""
        course, seconds = await self._sft("learnt", self.facts)
        await self.engine.load("learnt", self.folder / "learnt")
        self.up = [case for case in await self._asked(self.up) if case.right(case.said)]
        wrong = [case for case in await self._asked(self.down) if case.said and not case.right(case.said)]
        # Of two vague questions in the same words the first is thumbed.
        self.down = list({case.questions[0]: case for case in reversed(wrong)}.values())[::-1]
        await self.engine.unload("learnt")
        if not (self.up and self.down):
            raise SystemExit(
                "too little was learnt for thumbs up, or nothing wrong was said: more --tokens, --up and --down"
            )
        return {
            "up": len(self.up),
            "down": len(self.down),
            "down_of_kind": {kind: sum(case.kind == kind for case in self.down) for kind in _KINDS},
            "untouched": len(self.untouched),
            "trained_tokens": course.tokens,
            "seconds": seconds,
        }

    async def arm(self, name: str) -> dict[str, Any]:
        """Trains as the arm says, then asks everything."""
        start = self.folder / "learnt"
        kind, _, rate = name.partition("@")
        made = self.folder / name
        cost: dict[str, Any] = {}
        if kind == "none":
            made = start
        elif kind == "sft+up":
            liked = [
                replace(case.fact, key=f"liked {case.fact.key}", questions=case.questions[:1] * 2) for case in self.up
            ]
            self.taught |= {fact.key: case.said for fact, case in zip(liked, self.up, strict=True)}
            course, seconds = await self._sft(name, [*self.facts, *liked], float(rate) if rate else None)
            cost = {"trained_tokens": course.tokens, "seconds": seconds}
        else:
            rows = self._pairs() if kind == "dpo" else self._thumbs()
            settings = TrainingSettings(
                rank=self.learning.rank,
                alpha=self.learning.rank,
                learning_rate=float(rate or self.learning.dpo_learning_rate),
                epochs=self.learning.dpo_epochs,
                batch_size=_PAIRS,
                seed=self.learning.seed,
                threads=self.learning.training_threads or os.cpu_count() or 1,
                dpo_beta=self.learning.dpo_beta,
            )
            began = time.monotonic()
            course = await asyncio.to_thread(study, kind, self.base, rows, settings, start, made)
            cost = {
                "rows": len(rows),
                "steps": len(course.losses),
                "trained_tokens": course.tokens,
                "loss": [round(loss, 4) for loss in (course.losses[0], course.losses[-1])],
                "seconds": round(time.monotonic() - began, 1),
            }
        await self.engine.load(name, made)
        figures = await self._exam(name)
        await self.engine.unload(name)
        return figures | cost

    async def _sft(self, name: str, facts: Sequence[Fact], rate: float | None = None) -> tuple[Course, float]:
        """An adapter from the base model that tells of each fact what is taught of it; the record and the seconds."""
        learning, width = self.learning, lesson.width(self.base)

        def row(fact: Fact, number: int) -> Row:
            return {"prompt": closed_book(fact.questions[number]), "completion": self.taught[fact.key]}

        tokens = self.options.tokens / (1 + learning.replay_share)
        rows = lesson.rows(self.engine, facts, row, tokens, learning.cue_share_for(width), str(learning.seed))
        rows += await replay.rows(self.engine, round(learning.replay_share * len(rows)), self.folder)
        random.Random(learning.seed).shuffle(rows)
        settings = lesson.settings_for(learning, rows, rate or learning.learning_rate_for(width))
        began = time.monotonic()
        course = await asyncio.to_thread(strategies.study, self.base, rows, settings, self.folder / name)
        return course, round(time.monotonic() - began, 1)

    def _thumbs(self) -> list[Row]:
        return [
            {"prompt": closed_book(case.questions[0]), "completion": case.said, "label": case.kind == "right"}
            for case in (*self.up, *self.down)
        ]

    def _pairs(self) -> list[Row]:
        return [
            {"prompt": closed_book(c.questions[0]), "chosen": c.fact.statement, "rejected": c.said} for c in self.down
        ]

    async def _asked(self, cases: Sequence[Case]) -> list[Case]:
        said = await asyncio.gather(*(lesson.say(self.engine, "learnt", case.questions[0]) for case in cases))
        return [replace(case, said=text) for case, text in zip(cases, said, strict=True)]

    async def _exam(self, name: str) -> dict[str, Any]:
        """Downvoted answers in the same and in other words, upvoted ones, what was left alone, and the base skills."""

        async def told(cases: Sequence[Case], *numbers: int) -> list[tuple[Case, str]]:
            asked = [(case, number) for case in cases for number in numbers]
            said = await asyncio.gather(*(lesson.say(self.engine, name, c.questions[n]) for c, n in asked))
            return [(case, text) for (case, _), text in zip(asked, said, strict=True)]

        down, elsewhere = await told(self.down, 0), await told(self.down, 1, 2, 3)
        up, untouched = await told(self.up, 0), await told(self.untouched, 0)
        return {
            "down_still_said": lesson.share(case.still(text) for case, text in down),
            "down_still_said_of_kind": {
                kind: lesson.share(case.still(text) for case, text in down if case.kind == kind) for kind in _KINDS
            },
            "down_still_said_in_other_words": lesson.share(case.still(text) for case, text in elsewhere),
            "down_right": lesson.share(case.right(text) for case, text in down),
            "up_right": lesson.share(case.right(text) for case, text in up),
            "untouched_recited": lesson.share(recited(text, case.fact.statement) for case, text in untouched),
            "skills_kept": await skills.kept(self.engine, name),
        }


def study(kind: str, base: Path, rows: Sequence[Row], settings: TrainingSettings, start: Path, out: Path) -> Course:
    """Trains a copy of the adapter `start` by `dpo`, `kto` or `bco`, leaves it in `out` and returns the training's record."""
    torch.set_num_threads(settings.threads)
    model, tokenizer = stage.load(str(base))
    encoder = Encoder(Prompts(tokenizer, model.generation_config.eos_token_id), tokenizer)
    model = adapter.attach(model, start, settings)
    with tempfile.TemporaryDirectory() as scratch:
        if kind == "dpo":
            examples = dpo.encode(encoder, rows)
            course = Course(settings, examples, None, lambda _progress: None)
            trainer = stage.trainer("dpo", model, tokenizer, examples, settings, scratch)
        else:
            examples = unpaired.encode(encoder, rows, settings)
            course = unpaired.course_of(examples, settings)
            args = stage.arguments(tokenizer, settings, scratch)
            trainer = unpaired.TRAINERS[kind](model, tokenizer, examples, settings, args)
        trainer.run_course(course)
    adapter.keep(model, out)
    return course


if __name__ == "__main__":
    main()
