"""`python -m bench.documents FOLDER QUESTIONS [--minutes M] [--set NAME=VALUE ...]`: a real team's pages, the arms side by side.

FOLDER holds pages, or folders named by a date (2021, 2025-02-27) with the same pages as they stood then: those are read one
after the other, so that the newer revision overrides the older; with --nights each there is a night after every one of them,
and the older is in the weights before the newer is read. QUESTIONS is never read by the system itself; what changed is asked
the other way too, as somebody asks who remembers the old page ("Is it still so: ...?", with its own sentence). Arms: base,
notes, notes_around, adapter, adapter_cued, adapter_notes, quote, product, and `plain`: plain TRL SFT on the same passages, for
as long as the night trained. The last line is one JSON object.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import plain
from bench.arms import Arms, Said, asked
from bench.loop import machine
from bench.memory import PeakMemory
from bench.team import add_options, learning_of, result_of, settings_of
from bot import logs
from bot.assembly import Assembly, assembled
from bot.demo import Day
from bot.quiz import Question, read
from learner.exam import skills
from storage import memories

_DATED = re.compile(r"^\d{4}(-\d\d){0,2}$")
# What a model says that has no answer: the plain arms get credit for declining in their own words.
_DECLINES = re.compile(
    r"\b(don'?t know|do not know|not (?:sure|mentioned|provided|specified|stated|available|given)|no information|cannot answer|"
    r"can'?t answer|unable to|does not (?:say|mention|provide|contain))\b",
    re.IGNORECASE,
)
_STILL = "still"
"""The kind of a changed question that is asked the other way."""
ARMS = ("base", "notes", "notes_around", "adapter", "adapter_cued", "adapter_notes", "quote", "product", "plain")


def main() -> None:
    """Reads the options, runs, prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("questions", type=Path)
    options.add_argument("--minutes", type=float, default=20.0, help="training budget of the night; 0: no night")
    options.add_argument(
        "--nights", choices=("last", "each"), default="last", help="a night after which dated snapshots"
    )
    options.add_argument("--arms", default=",".join(ARMS))
    options.add_argument("--answers", type=Path, default=Path(tempfile.gettempdir()) / "nightschool-documents.jsonl")
    add_options(options, "--set", "--model", "--embedder", "--seed")
    print(json.dumps(asyncio.run(measure(options.parse_args()))))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Reads, sleeps, asks every arm every question; returns the figures and writes the answers."""
    logs.configure("warning")
    console = Console(stderr=True)
    questions = read(options.questions)
    with PeakMemory() as memory, tempfile.TemporaryDirectory(prefix="nightschool-bench-") as folder:
        settings = settings_of(folder, learning_of(options), model=options.model, embedder=options.embedder)
        async with assembled(settings) as school:
            day, reading, nights = Day(school, console), 0.0, []
            for last, pages in _revisions(options.folder, Path(folder) / "pages"):
                started = time.monotonic()
                await day.read(pages, None)
                reading += time.monotonic() - started
                if options.minutes > 0 and (last or options.nights == "each"):
                    started = time.monotonic()
                    nights.append((await day.sleep(options.minutes), time.monotonic() - started))
            night, seconds = nights[-1] if nights else (None, 0.0)
            colleague = await school.colleague()
            engine = await school.engine()
            arms = Arms(school, colleague, engine)
            able = await skills.kept(engine, arms.name)
            whole, window = await arms.whole_context(), engine.context
            cost: dict[str, Any] = {}
            said: dict[str, list[Said]] = {}
            took: dict[str, float] = {}
            peak, trained = memory.bytes, result_of(night, "sft") if night else {}
            leading = await _leading(school, questions)
            put = [*questions, *leading]
            for arm in options.arms.split(","):
                if arm == "plain" and not trained:
                    continue
                began = time.monotonic()
                if arm == "plain":
                    answers, cost = await plain.answers(
                        arms, Path(settings.model), trained["seconds"], options.seed, put
                    )
                else:
                    answers = await asked(getattr(arms, arm), put)
                said[arm] = [one for _, one in answers]
                took[arm] = time.monotonic() - began
    with options.answers.open("w", encoding="utf-8") as file:
        for arm, given in said.items():
            for question, one in zip(put, given, strict=True):
                file.write(json.dumps({"id": question.id, "arm": arm, "answer": one.text, "route": one.route}) + "\n")
    return {
        "set": learning_of(options),
        "arms": {arm: _figures(put, given, took[arm]) for arm, given in said.items()},
        "night_seconds": round(seconds, 1),
        "reading_seconds": round(reading, 1),
        "night": night.state if night else None,
        "nights": [
            {"state": one.state, "studied": one.report.get("studied"), "seconds": round(took, 1)}
            for one, took in nights
        ],
        "studied": night.report.get("studied") if night else 0,
        "exam": night.report.get("exam") if night else None,
        "trained": {name: value for name, value in trained.items() if name != "chosen"},
        "plain": cost,
        "whole_context_tokens": whole,
        "context_window": window,
        "skills_kept": able,
        "step_seconds": {name: round(step.seconds, 1) for name, step in night.steps.items()} if night else {},
        "peak_memory_bytes": peak,
        "swapped_bytes": memory.swapped,
        "answers": str(options.answers),
        "machine": machine(),
    }


def _revisions(folder: Path, pages: Path) -> Iterator[tuple[bool, Path]]:
    """What there is to read, one after the other: (whether it is the last, where its pages lie now).

    Dated snapshots lie one after the other in the same place, with their date as the pages' own.
    """
    snapshots = sorted(path for path in folder.iterdir() if path.is_dir() and _DATED.match(path.name))
    if not snapshots:
        yield True, folder
    for snapshot in snapshots:
        shutil.rmtree(pages, ignore_errors=True)
        shutil.copytree(snapshot, pages)
        parts = [int(part) for part in snapshot.name.split("-")]
        written = datetime(*(parts + [1, 1][len(parts) - 1 :])[:3]).timestamp()  # type: ignore[arg-type]
        for path in pages.rglob("*"):
            os.utime(path, (written, written))
        yield snapshot == snapshots[-1], pages


async def _leading(school: Assembly, questions: Sequence[Question]) -> list[Question]:
    """Of each question whose answer changed the other way to ask it: whether a sentence still holds that says the old value.

    The sentence is of those that stand no more the one most like the question that says what is rejected; without one it
    cannot be asked so.
    """
    embedder = await school.embedder()
    async with school.database.team(school.team.id) as connection:
        known = await memories.of_states(connection, ["retracted"])
    leading = []
    for question in questions:
        old = [m.statement for m in known if question.wrong(m.statement) and question.kind == "changed"]
        if old:
            vectors, [vector] = await embedder.embed(old), await embedder.embed([question.question])
            nearest = old[int((vectors @ vector).argmax())]
            asked = f"Is it still so: {nearest}"
            leading.append(replace(question, id=f"{question.id}-still", kind=_STILL, question=asked))
    return leading


def _figures(put: Sequence[Question], said: Sequence[Said], seconds: float) -> dict[str, Any]:
    still = [(q, s) for q, s in zip(put, said, strict=True) if q.kind == _STILL]
    questions, given = zip(*((q, s) for q, s in zip(put, said, strict=True) if q.kind != _STILL), strict=True)
    answerable = [(q, s) for q, s in zip(questions, given, strict=True) if q.kind != "unanswerable"]
    others = [s for q, s in zip(questions, given, strict=True) if q.kind == "unanswerable"]
    kinds = sorted({q.kind for q, _ in answerable})
    return {
        "right": _mean([q.right(s.text) for q, s in answerable]),
        "answerable": len(answerable),
        "by_kind": {kind: _mean([q.right(s.text) for q, s in answerable if q.kind == kind]) for kind in kinds},
        # Of questions whose answer the newer revision changed: answers that still say an old value.
        "outdated": sum(q.wrong(s.text) for q, s in answerable if q.kind == "changed"),
        # The same, asked whether the old sentence still holds.
        "still_asked": len(still),
        "still_right": _mean([q.right(s.text) for q, s in still]),
        "still_outdated": sum(q.wrong(s.text) for q, s in still),
        "refused": _mean([_declines(s) for s in others]),
        "refused_too_many": _mean([_declines(s) for _, s in answerable]),
        # Of the arms that cite: figures and names in the model's own words that nothing cited says.
        "invented": sum(s.invented for s in given) if any(s.cited for s in given) else None,
        "unanswerable": len(others),
        "tokens_median": statistics.median(s.tokens for s in given) if given else None,
        "routes": {
            route: sum(s.route == route for s in given) for route in sorted({s.route for s in given if s.route})
        },
        "seconds": round(seconds, 1),
    }


def _declines(said: Said) -> bool:
    """A quotation that happens to hold such words declines nothing."""
    return said.refused or (said.own and bool(_DECLINES.search(said.text)))


def _mean(values: Sequence[bool]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


if __name__ == "__main__":
    main()
