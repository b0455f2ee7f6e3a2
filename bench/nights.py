"""`python -m bench.nights [--nights N] [--minutes M] [--folder F] [--set NAME=VALUE ...]`: an invented team that grows over nights.

Every day brings five new facts on pages and in channels and one correction through the product's feedback, every third day
a changed decision; each is a day later than the one before. With --asked people also ask about so many things that are true,
and give a thumb up where the answer is right; those words are asked by day only. Then the night runs as the product runs it,
and in the morning everything that is true is asked in words that were never trained. The last line is one JSON object: lists
have a value a morning, shares are between 0 and 1, None where nothing was asked. With --folder the team stays there, and the
same command goes on where it was broken off.
"""

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console

from bench import plain
from bench.arms import Arms, Said, asked
from bench.facts import Fact
from bench.life import Life
from bench.loop import machine, share
from bench.memory import PeakMemory
from bench.team import add_options, learning_of, result_of, settings_of
from bot import logs
from bot.answer import Asked, Colleague
from bot.assembly import Assembly, assembled
from bot.demo import Day
from bot.quiz import Question
from learner.exam import skills
from storage import memories, persons
from storage.nights import Night

_CORRECTED, _LIKED = 0, 1
"""Which of a fact's questions a correction answers, and which people ask by day with --asked: both lead to it afterwards."""
_UNSEEN = (1, 2, 3)
"""Those that are asked in the mornings only, but for the one asked by day."""
_ARMS = ("product", "adapter", "adapter_cued", "base", "notes")
"""Set side by side at the end, and `plain` SFT beside them, as long as the last night trained."""
Number: TypeAlias = Callable[[Fact], int]
"""Which of a fact's questions is asked."""
_TRAINED = ("examples", "tokens", "stopped", "scale")
"""What a night says of its training, as far as it does."""


def main() -> None:
    """Reads the options, runs, prints."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nights", type=int, default=30)
    options.add_argument("--minutes", type=float, default=1.5, help="training budget of each night")
    options.add_argument("--a-night", type=int, default=5, help="new facts a day, corrections not counted")
    options.add_argument(
        "--asked", type=int, default=0, help="questions a day, with a thumb up where the answer is right"
    )
    options.add_argument(
        "--folder", type=Path, help="keep the team's data here, and go on with those of an earlier run"
    )
    options.add_argument("--answers", type=Path, help="write every answer to this JSONL file, morning by morning")
    add_options(options, "--set", "--model", "--embedder", "--seed")
    print(json.dumps(asyncio.run(measure(options.parse_args()))))


@dataclass(frozen=True, slots=True)
class Heard:
    """A fact and what an arm said when it was asked."""

    fact: Fact
    question: Question
    said: Said

    @property
    def right(self) -> bool:
        """True where it told the present value, and no earlier one as if it held."""
        return self.question.right(self.said.text)

    @property
    def outdated(self) -> bool:
        """True where it told an earlier value as if it held."""
        return self.fact.outdated_told(self.said.text)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Lives the days, holds the nights, asks; returns the figures."""
    logs.configure("warning")
    console = Console(stderr=True)
    started = time.monotonic()
    with PeakMemory() as memory, _team(options.folder) as folder:
        record = Record.of(folder, options.nights)
        rows = record.rows
        settings = settings_of(folder, learning_of(options), model=options.model, embedder=options.embedder)
        async with assembled(settings) as school:
            life, day = Life(Path(folder), options.seed, record.first), Day(school, console)
            for _ in rows:  # the days that were lived before: the same again
                life.live(options.a_night)
                life.correction()
                life.wondered(options.asked)
            engine, colleague = await school.engine(), await school.colleague()
            arms = Arms(school, colleague, engine)
            unseen = [n for n in _UNSEEN if not (options.asked and n == _LIKED)]
            for number in range(len(rows), options.nights):
                life.live(options.a_night)
                await day.read(life.pages, life.chat)
                await day.correct(colleague, [life.correction()], life.today + timedelta(hours=15))
                liked = await _like(school, colleague, life.wondered(options.asked))
                began = time.monotonic()
                night = await day.sleep(options.minutes)
                minutes = (time.monotonic() - began) / 60
                await colleague.wake()
                heard = await _ask(arms, life, "product", [lambda fact: _morning(fact, unseen)])
                row = _figures(life, number, heard, record.knew)
                row |= {
                    "adapter_cued": _right(
                        await _ask(arms, life, "adapter_cued", [lambda fact: _morning(fact, unseen)])
                    )
                    if arms.name
                    else None
                }
                row |= {"skills_kept": await skills.kept(engine, arms.name)}
                row |= {"noted": await _noted(school, life)} | ({"liked": liked} if options.asked else {})
                row |= _of_night(night, minutes)
                record.add(row, [one.fact.statement for one in heard if one.right])
                console.print(
                    f"night {number + 1} of {options.nights}: {json.dumps(row)}", soft_wrap=True, markup=False
                )
                _keep(options.answers, number, "product", heard)
            every = [lambda fact, n=n: n for n in unseen]
            last = {arm: await _ask(arms, life, arm, every) for arm in _ARMS}
            put, cost, seconds = _put(life, every), dict[str, Any](), 60 * rows[-1]["training_minutes"]
            if seconds:
                said, cost = await plain.answers(
                    arms, Path(settings.model), seconds, options.seed, [question for _, question in put]
                )
                last["plain"] = _heard(put, said)
    for arm, given in last.items():
        _keep(options.answers, options.nights, arm, given)
    return {
        "set": learning_of(options),
        "nights": options.nights,
        "minutes": options.minutes,
        "asked": options.asked,
        "plain": cost,
        "final": {arm: _summary(life, given) for arm, given in last.items()},
        "corrections_next_morning": _mean([right for row in rows for right in row["corrected_today"]]),
        "superseded_told": sum(row["superseded_told"] for row in rows),
        "curve": {
            name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)
        },
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_bytes": memory.bytes,
        "swapped_bytes": memory.swapped,
        "machine": machine(),
    }


@dataclass
class Record:
    """What is kept of a run from night to night: `rows`, the first day, and which statements were told right this morning."""

    file: Path
    first: datetime
    rows: list[dict[str, Any]]
    knew: set[str]

    @classmethod
    def of(cls, folder: str, nights: int) -> "Record":
        """The one of the folder; a new one begins so many days ago. Exits where the folder was moved."""
        file, place = Path(folder) / "nights.jsonl", str(Path(folder).resolve())
        if not file.exists():
            first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=nights)
            file.write_text(json.dumps({"first": first.isoformat(), "folder": place}) + "\n", encoding="utf-8")
        head, *lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if head.get("folder", place) != place:
            # Its pages would be read once more, as another source's, and be younger than what was said against them.
            raise SystemExit(f"This team lived in {head['folder']}. Move the folder back there to go on with it.")
        knew = set(lines[-1]["knew"]) if lines else set()
        return cls(file, datetime.fromisoformat(head["first"]), [line["row"] for line in lines], knew)

    def add(self, row: dict[str, Any], knew: Sequence[str]) -> None:
        """Keeps a night."""
        self.rows.append(row)
        self.knew = set(knew)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"row": row, "knew": sorted(knew)}) + "\n")


@contextlib.contextmanager
def _team(folder: Path | None) -> Iterator[str]:
    """Where the team's data lie: in the folder, which stays, or in one for this run."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield str(folder)
        return
    with tempfile.TemporaryDirectory(prefix="nightschool-bench-") as temporary:
        yield temporary


def _morning(fact: Fact, unseen: Sequence[int]) -> int:
    """Which of its questions is asked in the mornings: always the same, another one a fact."""
    return unseen[zlib.crc32(fact.key.encode()) % len(unseen)]


async def _like(school: Assembly, colleague: Colleague, wondered: Sequence[tuple[str, Fact, str]]) -> int:
    """People ask about these, and give a thumb up where the answer is right; returns how often."""
    feedbacks, liked = await school.feedbacks(), 0
    for name, fact, kind in wondered:
        async with school.database.team(school.team.id) as connection:
            person = (await persons.identify(connection, "bench", name, name)).id
        question, event = fact.asked(_LIKED, kind), uuid.uuid4().hex
        answer = await colleague.answer(Asked(question.question, person, None, "bench", event))
        if question.right(answer.text):
            await feedbacks.thumbs(answer.id, person, True, "bench", f"{event}-thumbs")
            liked += 1
    return liked


async def _ask(arms: Arms, life: Life, arm: str, numbers: Sequence[Number]) -> list[Heard]:
    """Everything that is true, asked of an arm, with each of these questions."""
    put = _put(life, numbers)
    return _heard(put, await asked(getattr(arms, arm), [question for _, question in put]))


def _put(life: Life, numbers: Sequence[Number]) -> list[tuple[Fact, Question]]:
    return [(fact, fact.asked(number(fact), life.kind(fact))) for number in numbers for fact in life.known.values()]


def _heard(put: Sequence[tuple[Fact, Question]], given: Sequence[tuple[Question, Said]]) -> list[Heard]:
    return [Heard(fact, question, said) for (fact, question), (_, said) in zip(put, given, strict=True)]


async def _noted(school: Assembly, life: Life) -> float | None:
    """Share of what is true that the ledger has a memory of: what it did not take in cannot be learnt."""
    async with school.database.team(school.team.id) as connection:
        noted = await memories.of_states(connection, ["noted", "studied", "learnt"])
    told = "\n".join(memory.statement for memory in noted if memory.superseded_by is None)
    return _mean([Question("", "", "", [fact.accept]).right(told) for fact in life.known.values()])


def _figures(life: Life, number: int, heard: Sequence[Heard], knew: set[str]) -> dict[str, Any]:
    """One morning of the product; `knew` is what it told right the morning before."""
    corrected = [one for one in heard if one.fact.key in life.corrected]
    return {
        "memories": len(life.known),
        "product": _right(heard),
        "from_weights": _mean([one.said.route == "weights" for one in heard]),
        "own_words_right": _right([one for one in heard if one.said.route == "weights" and one.said.own]),
        "corrected_today": [one.right for one in corrected if life.corrected[one.fact.key] == number],
        "corrections": _right(corrected),
        "changed": _right([one for one in heard if life.kind(one.fact) == "changed"]),
        "retained": _right([one for one in heard if one.fact.statement in knew]),
        "superseded_told": sum(one.outdated for one in heard),
    }


def _of_night(night: Night, minutes: float) -> dict[str, Any]:
    """One night: its state, what it cost, what its exam said."""
    exam, result = night.report.get("exam") or {}, result_of(night, "sft")
    return {
        "state": night.state,
        "night_minutes": round(minutes, 2),
        "training_minutes": round(float(result.get("seconds") or 0.0) / 60, 2),
        "studied": night.report.get("studied"),
        "recited": _rounded(exam.get("recited")),
        "exam_retained": _rounded(exam.get("retained")),
        "perplexity": _rounded(exam.get("perplexity")),
        **{name: result[name] for name in _TRAINED if name in result},
    }


def _summary(life: Life, heard: Sequence[Heard]) -> dict[str, Any]:
    """All questions at the end, of one arm."""
    kinds = sorted({life.kind(one.fact) for one in heard})
    return {
        "right": _right(heard),
        "by_kind": {kind: _right([one for one in heard if life.kind(one.fact) == kind]) for kind in kinds},
        "superseded_told": sum(one.outdated for one in heard),
        "questions": len(heard),
    }


def _keep(path: Path | None, night: int, arm: str, heard: Sequence[Heard]) -> None:
    if path is None:
        return
    with path.open("a", encoding="utf-8") as file:
        for one in heard:
            row = {"night": night, "arm": arm, "id": one.question.id, "kind": one.question.kind, "right": one.right}
            row |= {"question": one.question.question, "answer": one.said.text, "route": one.said.route}
            file.write(json.dumps(row | {"outdated": one.outdated, "true": one.fact.statement}) + "\n")


def _right(heard: Sequence[Heard]) -> float | None:
    return share([(one.question, one.said) for one in heard])


def _mean(values: Sequence[bool]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    main()
