"""`python -m bench.loop [--minutes M] [--set NAME=VALUE ...]`: the sample team through two nights.

After the first night the hand-written questions of examples/harbour are asked; after the second, with new corrections, those
of the first must still be obeyed. `plain_right` is plain TRL SFT on the same passages, for as long as the first night trained.
The last line is one JSON object; shares are between 0 and 1, tokens prompt and reply together.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import plain
from bench.arms import Arms, Said, asked
from bench.memory import PeakMemory
from bench.team import add_options, learning_of, result_of, settings_of
from bot import logs
from bot.assembly import assembled
from bot.demo import SAMPLE, Day, Told, lines
from bot.quiz import Question, read
from learner.exam import skills
from storage import examples, memories
from storage.memories import Memory

_LATER = 3
"""Corrections kept for the second night."""


def main() -> None:
    """Reads the options, runs, prints."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=4.0, help="training budget of each night")
    options.add_argument("--answers", type=Path, help="write every answer to this JSONL file")
    add_options(options, "--set", "--model", "--embedder", "--seed")
    print(json.dumps(asyncio.run(measure(options.parse_args()))))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs both nights on a fresh team in a temporary folder and returns the figures."""
    logs.configure("warning")
    console = Console(stderr=True)
    with PeakMemory() as memory, tempfile.TemporaryDirectory(prefix="nightschool-bench-") as folder:
        settings = settings_of(folder, learning_of(options), model=options.model, embedder=options.embedder)
        async with assembled(settings) as school:
            day = Day(school, console)
            await day.read(SAMPLE / "pages", SAMPLE / "chat.jsonl")
            colleague = await school.colleague()
            arms = Arms(school, colleague, await school.engine())
            questions = read(SAMPLE / "questions.jsonl")
            answerable = [q for q in questions if q.kind in ("fact", "changed", "chat")]
            before = await asked(arms.product, [q for q in questions if q.kind != "correction"])

            told = [Told(r["question"], r["correction"], r["author"]) for r in lines(SAMPLE / "corrections.jsonl")]
            ids = [r["id"] for r in lines(SAMPLE / "corrections.jsonl")]
            first, later = set(ids[:-_LATER]), set(ids[-_LATER:])
            await day.correct(colleague, told[:-_LATER])
            await day.vote(
                colleague, [Told(r["question"], r["value"], r["author"]) for r in lines(SAMPLE / "thumbs.jsonl")]
            )
            started = time.monotonic()
            night = await day.sleep(options.minutes)
            seconds = time.monotonic() - started
            await colleague.wake()

            known = await studied(school)
            covered = [q for q in answerable if any(answers_it(m, q) for m in known)]
            alone = await asked(arms.adapter_cued, covered)
            uncued = await asked(arms.adapter, covered)
            after = await asked(arms.product, [q for q in questions if q.kind != "correction"])
            corrected = [q for q in questions if q.correction in first]
            obeyed = await asked(arms.product, corrected)
            with_notes = await asked(arms.notes, covered[:40])
            quiz, quiz_right = await _quiz(school, arms)

            await day.correct(colleague, told[-_LATER:])
            second = await day.sleep(options.minutes)
            await colleague.wake()
            kept_obeyed = await asked(arms.product, corrected)
            able = await skills.kept(await school.engine(), arms.name)
            peak, trained = memory.bytes, float(result_of(night, "sft").get("seconds") or 0.0)
            plainly, cost = await plain.answers(arms, Path(settings.model), trained, options.seed, covered)
            new_obeyed = await asked(arms.product, [q for q in questions if q.correction in later])
    own = [(q, s) for q, s in after if s.route == "weights" and s.own]
    untouched = [(q, s) for (q, s), (_, earlier) in zip(kept_obeyed, obeyed, strict=True) if q.right(earlier.text)]
    if options.answers:
        arms_given = {"before": before, "alone": alone, "after": after, "obeyed": obeyed, "retained": kept_obeyed}
        rows = [
            {"arm": arm, "id": q.id, "answer": s.text, "route": s.route} for arm, g in arms_given.items() for q, s in g
        ]
        options.answers.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    figures: dict[str, Any] = {
        "set": learning_of(options),
        "weights_right": share(alone),
        "weights_first_right": _mean(q.right(s.text.split("\n")[0]) for q, s in alone),
        "weights_told_mean": round(statistics.mean(s.text.count("\n") + 1 for _, s in alone), 2) if alone else None,
        "weights_questions": len(alone),
        "weights_uncued_right": share(uncued),
        "weights_route_right": share(own),
        "weights_route_questions": len(own),
        "quiz_right": quiz_right,
        "quiz_questions": quiz,
        "corrections_right": share(obeyed + new_obeyed),
        "corrections_from_weights": _mean(s.route == "weights" and s.own for _, s in obeyed + new_obeyed),
        "retained_right": share(untouched),
        "before_right": share(_of(before, answerable)),
        "after_right": share(_of(after, answerable)),
        "unanswerable_refused": _mean(s.refused for q, s in after if q.kind == "unanswerable"),
        "private_leaked": sum(q.right(s.text) for q, s in after if q.kind == "private"),
        "tokens_weights_median": _median(s.tokens for _, s in alone),
        "tokens_notes_median": _median(s.tokens for _, s in with_notes),
        "notes_right": share(with_notes),
        "plain_right": share(plainly),
        "plain": cost,
        "memories_studied": len(known),
        "skills_kept": able,
        "nights": [night.state, second.state],
        "night_seconds": round(seconds, 1),
        "step_seconds": {name: round(step.seconds, 1) for name, step in night.steps.items()},
        "exam": night.report.get("exam"),
        "peak_memory_bytes": peak,
        "swapped_bytes": memory.swapped,
        "machine": machine(),
    }
    return figures


def answers_it(memory: Memory, question: Question) -> bool:
    """True where a memory answers a question: what it says is right, and it is of a page (or the chat) that is asked about."""
    there = Path(memory.uri).name in question.documents if question.documents else memory.kind == "message"
    return there and question.right(memory.statement)


async def studied(school: Any) -> list[Memory]:
    """What the serving version was trained on."""
    async with school.database.team(school.team.id) as connection:
        return await memories.of_states(connection, ["studied", "learnt"])


async def _quiz(school: Any, arms: Arms) -> tuple[int, float | None]:
    """Machine-written questions about studied memories that were never trained: (asked, share whose memory comes first)."""
    async with school.database.team(school.team.id) as connection:
        quiz = await examples.quiz(connection)
    known = {memory.id for memory in await studied(school)}
    mine = [example for example in quiz if example.memory_id in known]
    first = [(await arms.meant(example.question))[:1] for example in mine]
    return len(mine), _mean(bool(f) and f[0][0].id == e.memory_id for f, e in zip(first, mine, strict=True))


def share(given: Sequence[tuple[Question, Said]]) -> float | None:
    """Share of right answers, None where nothing was asked."""
    return _mean(question.right(said.text) for question, said in given)


def machine() -> str:
    """What it ran on, in words."""
    import os
    import platform

    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"


def _of(given: Sequence[tuple[Question, Said]], questions: Sequence[Question]) -> list[tuple[Question, Said]]:
    wanted = {question.id for question in questions}
    return [(question, said) for question, said in given if question.id in wanted]


def _median(values: Iterable[int]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _mean(values: Iterable[bool]) -> float | None:
    found = list(values)
    return round(sum(found) / len(found), 4) if found else None


if __name__ == "__main__":
    main()
