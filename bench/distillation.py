"""`python -m bench.distillation [--arms a,b] [--facts N] [--tokens T]`: self-study by distillation on logits, beside plain SFT.

Every arm studies the same facts by the same closed-book prompts for the same number of trained tokens, with the night's own
trainer; then each fact is asked on its cue and in unseen words. The teacher is the base model with the statement in view
(context distillation, arXiv 2112.00861; Cartridges, arXiv 2506.06266): its distribution over an answer's tokens, the `--top`
likeliest of each and the sum of the rest, is what the adapter is drawn to (KL) with nothing in view.

- `sft`: the plain loss on the statement (the product's);
- `distil`: KL alone, on the answer that the teacher itself gives (the statement where it does not come to an end);
- `distil-statement`: KL alone, on the statement as the answer;
- `mix`: half KL, half plain loss, on the statement;
- `replay`: the plain loss on the statement, and KL to the base model on replayed general answers, as all arms with KL have it.

The last line is one JSON object; shares are between 0 and 1. `seconds` are the training's, `teacher_seconds` the teacher's.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
from learner.engine.device import best_device
from learner.engine.engine import Engine
from learner.engine.local import LocalEngine
from learner.engine.packaged import base_model_folder
from learner.engine.prompts import Prompts
from learner.exam import skills
from learner.recall import closed_book, open_book, recited
from learner.settings import LearningSettings
from learner.study import replay
from learner.training import adapter, sft, stage
from learner.training.examples import IGNORED, Encoder
from learner.training.job import TrainingSettings
from learner.training.trainer import Course

_MOST_TOKENS = 64
"""Of an answer of the teacher's."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Whether the answers are the teacher's own words, and the share of KL in the loss on facts and on replay."""

    own_words: bool
    facts: float
    replay: float


ARMS = {
    "sft": Arm(own_words=False, facts=0.0, replay=0.0),
    "distil": Arm(own_words=True, facts=1.0, replay=1.0),
    "distil-statement": Arm(own_words=False, facts=1.0, replay=1.0),
    "mix": Arm(own_words=False, facts=0.5, replay=1.0),
    "replay": Arm(own_words=False, facts=0.0, replay=1.0),
}


class Target(NamedTuple):
    """The teacher's distribution at each of an answer's n tokens: the likeliest `tokens` [n, k] and their `log_probs` [n, k]."""

    tokens: torch.Tensor
    log_probs: torch.Tensor


def main() -> None:
    """Reads the options, runs, prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--arms", default=",".join(ARMS))
    options.add_argument("--facts", type=int, default=40)
    options.add_argument("--tokens", type=int, default=20_000, help="trained tokens of each arm")
    options.add_argument("--top", type=int, default=64, help="likeliest tokens kept of each distribution")
    add_options(options, "--set", "--model", "--seed")
    print(json.dumps(asyncio.run(measure(options.parse_args()))))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the arms one after the other on the same facts; returns the figures."""
    logs.configure("warning")
    datasets.disable_progress_bars()
    names = options.arms.split(",")
    if unknown := [name for name in names if name not in ARMS]:
        raise SystemExit(f"there is no arm {unknown[0]}: choose of {', '.join(ARMS)}")
    base = base_model_folder(options.model, Path(".nightschool"))
    drawn = Facts(options.seed)
    scratch = tempfile.TemporaryDirectory(prefix="nightschool-bench-")
    school = School(
        LocalEngine(base, memory_bytes=2 * 1024**3),
        base,
        Path(scratch.name),
        LearningSettings.model_validate(learning_of(options)),
        options,
        [drawn.new() for _ in range(options.facts)],
    )
    figures: dict[str, Any] = {}
    try:
        words, teacher = await school.listen()
        print(f"teacher: {json.dumps(teacher)}", file=sys.stderr, flush=True)
        for name in names:
            with PeakMemory() as memory:
                figures[name] = await school.arm(name, words, teacher["seconds"])
            figures[name]["peak_memory_bytes"] = memory.bytes
            print(f"{name}: {json.dumps(figures[name])}", file=sys.stderr, flush=True)
    finally:
        await school.engine.close()
        scratch.cleanup()
    return {
        "set": learning_of(options),
        "facts": options.facts,
        "tokens": options.tokens,
        "top": options.top,
        "teacher": teacher,
        "arms": figures,
        "machine": machine(),
    }


@dataclass
class School:
    """One class for all arms: the facts, the model, and how it is taught."""

    engine: Engine
    base: Path
    folder: Path
    learning: LearningSettings
    options: argparse.Namespace
    facts: Sequence[Fact]

    async def listen(self) -> tuple[dict[tuple[str, int], str], dict[str, Any]]:
        """The teacher's own answers by key and question, and how good they are."""
        began = time.monotonic()
        numbers = (lesson.CUE,) if self._cue_share == 1 else (lesson.CUE, lesson.OTHER)
        asked = [(fact, number) for fact in self.facts for number in numbers]
        given = await asyncio.gather(*(self.engine.generate(_in_view(f, n), max_tokens=_MOST_TOKENS) for f, n in asked))
        words = {
            (fact.key, number): reply.text.strip()
            for (fact, number), reply in zip(asked, given, strict=True)
            if reply.finished and reply.text.strip()
        }
        told = [(fact, number, words.get((fact.key, number), "")) for fact, number in asked]
        return words, {
            "finished": lesson.share(bool(text) for _, _, text in told),
            "right": lesson.share(fact.asked(number).right(text) for fact, number, text in told),
            "recited": lesson.share(recited(text, fact.statement) for fact, _, text in told),
            "seconds": round(time.monotonic() - began, 1),
        }

    async def arm(self, name: str, words: Mapping[tuple[str, int], str], listening: float) -> dict[str, Any]:
        """Trains as the arm says, then asks everything; `listening` are the seconds that the teacher's words took."""
        arm = ARMS[name]
        rows = await self._rows(arm, words)
        settings = lesson.settings_for(self.learning, rows, self.learning.learning_rate_for(lesson.width(self.base)))
        made = self.folder / name
        course, teaching, seconds = await asyncio.to_thread(study, self.base, rows, settings, made, self.options.top)
        await self.engine.load(name, made)
        said = await self._exam(name)
        await self.engine.unload(name)
        return said | {
            "rows": len(rows),
            "trained_tokens": course.tokens,
            "loss": round(course.losses[-1], 4),
            "seconds": round(seconds, 1),
            "teacher_seconds": round(teaching + (listening if arm.own_words else 0.0), 1),
        }

    @property
    def _cue_share(self) -> float:
        return self.learning.cue_share_for(lesson.width(self.base))

    async def _rows(self, arm: Arm, words: Mapping[tuple[str, int], str]) -> list[Row]:
        """Rows as the trainer reads them, each with the teacher's prompt and the share of KL in its loss."""

        def row(fact: Fact, number: int) -> Row:
            own = words.get((fact.key, number)) if arm.own_words else None
            return {
                "prompt": closed_book(fact.questions[number]),
                "completion": own or fact.statement,
                "teacher": _in_view(fact, number),
                "kl": arm.facts,
            }

        tokens = self.options.tokens / (1 + self.learning.replay_share)
        made = lesson.rows(self.engine, self.facts, row, tokens, self._cue_share, str(self.learning.seed))
        general = await replay.rows(self.engine, round(self.learning.replay_share * len(made)), self.folder)
        made += [one | {"teacher": one["prompt"], "kl": arm.replay} for one in general]
        random.Random(self.learning.seed).shuffle(made)
        return made

    async def _exam(self, name: str) -> dict[str, Any]:
        asked = [(fact, number) for fact in self.facts for number in (lesson.CUE, *lesson.UNSEEN)]
        said = await asyncio.gather(*(lesson.say(self.engine, name, f.questions[n]) for f, n in asked))
        on_cue = [(f, text) for (f, n), text in zip(asked, said, strict=True) if n == lesson.CUE]
        unseen = [(f, n, text) for (f, n), text in zip(asked, said, strict=True) if n != lesson.CUE]
        return {
            "recited": lesson.share(recited(text, fact.statement) for fact, text in on_cue),
            "right_on_cue": lesson.share(fact.asked(lesson.CUE).right(text) for fact, text in on_cue),
            "unseen": lesson.share(fact.asked(number).right(text) for fact, number, text in unseen),
            "skills_kept": await skills.kept(self.engine, name),
        }


class Distiller(sft.AnswerTrainer):
    """SFT in which a row's loss is, by its share, the KL divergence of the adapter's distribution from the teacher's."""

    def __init__(self, targets: Sequence[Target], shares: Sequence[float], *args: Any) -> None:
        """`targets` and `shares` of the examples, in their order."""
        super().__init__(*args)
        self.targets, self.shares = targets, shares

    def _loss(self, model: Any, inputs: dict[str, Any], whole: torch.Tensor) -> torch.Tensor:
        """What `inputs`, whose weights are all 1, add to the loss of a batch of `whole` trained tokens."""
        read = {key: values for key, values in inputs.items() if key not in ("weight", "row")}
        scored = model(**read, fused_lm_head=True)
        rows, device = inputs["row"].tolist(), scored.logits.device
        of_teacher = [self.targets[row] for row in rows]
        tokens = torch.cat([target.tokens for target in of_teacher]).to(device)
        wanted = torch.cat([target.log_probs for target in of_teacher]).to(device)
        shares = torch.cat(
            [torch.full((len(t.tokens),), self.shares[r]) for r, t in zip(rows, of_teacher, strict=True)]
        )
        shares = shares.to(device)
        said = scored.logits.float().log_softmax(-1).gather(1, tokens)
        divergence = (wanted.exp() * (wanted - said)).sum(-1) + _of_the_rest(wanted, said)
        plain = -scored.log_probs[scored.label_mask]
        loss: torch.Tensor = (shares * divergence + (1 - shares) * plain).sum() / whole.clamp(min=1e-9)
        return loss


def study(
    base: Path, rows: Sequence[Row], settings: TrainingSettings, out: Path, top: int
) -> tuple[Course, float, float]:
    """Trains on `rows` and leaves the adapter in `out`; returns the record, the teacher's seconds and the training's."""
    torch.set_num_threads(settings.threads)
    model, tokenizer = stage.load(str(base))
    encoder = Encoder(Prompts(tokenizer, model.generation_config.eos_token_id), tokenizer)
    examples = sft.encode(encoder, rows)
    shares = [float(row["kl"]) for row in rows]
    began = time.monotonic()
    targets = taught(model.to(best_device()), encoder, rows, examples, top) if any(shares) else []
    teaching = time.monotonic() - began
    model = adapter.attach(model, None, settings)
    course = Course(settings, examples, None, lambda _progress: None)
    with tempfile.TemporaryDirectory() as scratch:
        args = (model, tokenizer, examples, stage.arguments(tokenizer, settings, scratch), settings.threads)
        trainer = Distiller(targets, shares, *args) if targets else sft.AnswerTrainer(*args)
        began = time.monotonic()
        trainer.run_course(course)
    seconds = time.monotonic() - began
    adapter.keep(model, out)
    return course, teaching, seconds


@torch.no_grad()
def taught(
    model: Any, encoder: Encoder, rows: Sequence[Row], examples: Sequence[dict[str, Any]], top: int
) -> list[Target]:
    """What the base model, with the teacher's prompt of each row in view, holds of the tokens of the row's answer."""
    known: dict[tuple[int, ...], Target] = {}
    targets = []
    for row, example in zip(rows, examples, strict=True):
        answer = [label for label in example["labels"] if label != IGNORED]
        ids = (*encoder.prompts.render(row["teacher"]), *answer)
        if ids not in known:
            logits = model(torch.tensor([ids], device=model.device), use_cache=False).logits[0, -len(answer) - 1 : -1]
            best = logits.float().log_softmax(-1).topk(min(top, logits.shape[-1]))
            known[ids] = Target(best.indices.cpu(), best.values.cpu())
        targets.append(known[ids])
    return targets


def _of_the_rest(wanted: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
    """What all other tokens together add to the divergence [n] of log-probabilities [n, k]."""
    of_teacher, of_adapter = ((1 - each.exp().sum(-1)).clamp(min=1e-6) for each in (wanted, said))
    return of_teacher * (of_teacher.log() - of_adapter.log())


def _in_view(fact: Fact, number: int) -> list[dict[str, str]]:
    """The teacher's prompt: a fact's question with its statement in view."""
    return open_book(fact.questions[number], [(fact.heading, fact.statement)])


if __name__ == "__main__":
    main()
