"""`python -m bench.learn [--minutes M] [--set NAME=VALUE ...]`: one night over a folder of pages, and what it taught a minute.

For comparing settings of the learning loop (`--set exposures=20 --set cue_share=0.5`), each run a fresh team. QUESTIONS,
hand-written and never trained, are asked of the weights where a studied memory answers them: with the memory's cue and
without it. The last line is one JSON object; shares are between 0 and 1.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.arms import Arms, asked
from bench.loop import answers_it, machine, share, studied
from bench.memory import PeakMemory
from bench.team import add_options, learning_of, result_of, settings_of
from bot import logs
from bot.assembly import assembled
from bot.demo import SAMPLE, Day
from bot.quiz import read
from learner.exam import skills


def main() -> None:
    """Reads the options, runs, prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pages", type=Path, default=SAMPLE / "pages")
    options.add_argument("--questions", type=Path, default=SAMPLE / "questions.jsonl")
    options.add_argument("--minutes", type=float, default=4.0, help="training budget of the night")
    add_options(options, "--set", "--model", "--embedder", "--seed")
    print(json.dumps(asyncio.run(measure(options.parse_args()))))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Reads, sleeps, asks; returns the figures."""
    logs.configure("warning")
    console = Console(stderr=True)
    chosen = learning_of(options)
    questions = [q for q in read(options.questions) if q.kind in ("fact", "changed", "chat")]
    with PeakMemory() as memory, tempfile.TemporaryDirectory(prefix="nightschool-bench-") as folder:
        settings = settings_of(folder, chosen, model=options.model, embedder=options.embedder)
        async with assembled(settings) as school:
            await Day(school, console).read(options.pages, None)
            engine = await school.engine()
            started = time.monotonic()
            night = await Day(school, console).sleep(options.minutes)
            seconds = time.monotonic() - started
            colleague = await school.colleague()
            arms = Arms(school, colleague, engine)
            known = await studied(school)
            covered = [q for q in questions if any(answers_it(m, q) for m in known)]
            cued = share(await asked(arms.adapter_cued, covered))
            uncued = share(await asked(arms.adapter, covered))
            kept = await skills.kept(engine, arms.name)
    exam, trained = (
        night.report.get("exam") or {},
        result_of(night, "sft"),
    )
    training = float(trained.get("seconds") or 0.0)
    learnt = round(len(known) * (exam.get("recited") or 0.0))
    return {
        "set": chosen,
        "minutes": options.minutes,
        "night": night.state,
        "memories_studied": len(known),
        "memories_known": learnt,
        "recited": exam.get("recited"),
        "quiz": exam.get("quiz"),
        "perplexity": exam.get("perplexity"),
        "style": exam.get("style"),
        "adapter_cued": cued,
        "adapter": uncued,
        "questions": len(covered),
        "skills_kept": kept,
        "trained_tokens": trained.get("tokens"),
        "stopped": trained.get("stopped"),
        "scale": trained.get("scale"),
        "training_seconds": training,
        "memories_a_minute": round(learnt / training * 60, 1) if training else None,
        "memories_a_minute_of_the_night": round(learnt / seconds * 60, 1),
        "step_seconds": {name: round(step.seconds, 1) for name, step in night.steps.items()},
        "peak_memory_bytes": memory.bytes,
        "machine": machine(),
    }


if __name__ == "__main__":
    main()
