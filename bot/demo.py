"""The whole loop before one's eyes: a day of questions and corrections, a night, and the morning after.

Nothing here is scripted but the people's side: pages, chat, questions and corrections come from examples/ (or a folder
of one's own); every answer is the model's own or a quote marked as one, wrong ones included.
"""

import asyncio
import json
import re
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bot.answer import Asked, Colleague, Draft
from bot.assembly import Assembly, open_database
from bot.quiz import Question, read
from bot.report import card
from bot.settings import Settings
from connectors.conversation import ConversationConnector
from connectors.files import FilesConnector
from learner import night as nightly
from learner import notes
from storage import audiences, examples, memories, passages, persons, teams
from storage.errors import NightschoolError
from storage.nights import Night

SAMPLE = Path(__file__).parent.parent / "examples" / "harbour"
NIGHT_MINUTES = 4.0
"""Training budget of the demo's night: with all else it stays within eight minutes on two cores."""
_SHOWN = 6
_AT_ONCE = 16


class NoDocuments(NightschoolError):
    """The folder for the demo holds nothing to learn from: name one with pages (markdown, text, html, pdf, office files)."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a person says to the bot in the course of the day."""

    question: str
    words: str
    author: str


@dataclass(frozen=True, slots=True)
class Given:
    """A quiz question with the answer it got."""

    question: Question
    draft: Draft

    @property
    def right(self) -> bool:
        """Graded; a private or unanswerable question is right where nothing is given away or made up."""
        if self.question.kind == "private":
            return not self.question.right(self.draft.text)
        if self.question.kind == "unanswerable":
            return self.draft.route == "unknown"
        return self.question.right(self.draft.text)


class Day:
    """One team's day at school, step by step; the demo shows it and bench.loop measures it."""

    def __init__(self, school: Assembly, console: Console) -> None:
        self.school = school
        self.console = console

    async def read(self, docs: Path, chat: Path | None) -> None:
        """Syncs the pages and the day's conversation (with the training switch on, as its admin decided), and indexes them."""
        school = self.school
        synced = await FilesConnector(docs).sync(school.database, school.team.id)
        if chat is not None:
            await ConversationConnector(chat, training=True).sync(school.database, school.team.id)
        made = await notes.index(school.database, school.team, await school.embedder())
        self.console.print(
            f"Read {synced.added + synced.changed + synced.unchanged} pages: {made} passages in the notes."
        )
        for skipped in synced.skipped:
            self.console.print(f"  skipped {escape(skipped.key)}: {escape(skipped.why)}", style="yellow")

    async def ask(self, colleague: Colleague, questions: Sequence[Question], title: str) -> list[Given]:
        """Answers to quiz questions. They are not stored: a quiz must never be studied."""
        room = asyncio.Semaphore(_AT_ONCE)
        with _bar(self.console) as bar:
            task = bar.add_task(title, total=len(questions))

            async def one(question: Question) -> Given:
                # Nobody in particular asks, in a place where the whole team reads along.
                asked = Asked(question.question, None, None, "quiz", uuid.uuid4().hex)
                async with room:
                    draft = await colleague.draft(question.question, asked)
                bar.advance(task)
                return Given(question, draft)

            return list(await asyncio.gather(*map(one, questions)))

    async def correct(self, colleague: Colleague, told: Sequence[Told], at: datetime | None = None) -> None:
        """People ask, and correct what they get (`at` a time; None: now)."""
        feedbacks = await self.school.feedbacks()
        for number, one in enumerate(told):
            person = await self._person(one.author)
            event = uuid.uuid4().hex
            answer = await colleague.answer(Asked(one.question, person, None, "demo", event))
            memory = await feedbacks.correct(answer.id, person, one.words, "demo", f"{event}-correction", at)
            if number < _SHOWN // 2:
                self._exchange(one, answer.text, answer.route)
                self.console.print(f"    [dim]noted, to be studied tonight:[/dim] {escape(memory.statement)}")

    async def vote(self, colleague: Colleague, votes: Sequence[Told]) -> Counter[str]:
        """People ask, and give thumbs."""
        feedbacks = await self.school.feedbacks()
        counted: Counter[str] = Counter()
        for one in votes:
            person = await self._person(one.author)
            event = uuid.uuid4().hex
            answer = await colleague.answer(Asked(one.question, person, None, "demo", event))
            await feedbacks.thumbs(answer.id, person, one.words == "up", "demo", f"{event}-thumbs")
            counted[one.words] += 1
        return counted

    async def sleep(self, minutes: float) -> Night:
        """The night, with live progress."""
        school = self.school
        engine, embedder, base = await school.engine(), await school.embedder(), await school.base()
        learning = school.settings.learning.model_copy(update={"night_minutes": minutes})
        with _bar(self.console) as bar:
            tasks = {name: bar.add_task(name, total=1.0, start=False) for name, _ in nightly.STEPS}

            def tell(step: str, share: float, words: str) -> None:
                if step not in tasks:  # of a second try
                    tasks[step] = bar.add_task(step, total=1.0, start=False)
                if share == 0.0:
                    bar.start_task(tasks[step])
                bar.update(tasks[step], completed=share, description=f"{step:<11}[dim]{escape(words)}[/dim]")

            return await nightly.run(
                school.database,
                school.team,
                engine=engine,
                embedder=embedder,
                files=school.files,
                folder=school.settings.nights_folder,
                base=base,
                learning=learning,
                progress=tell,
            )

    async def tokens_with_passages(self, colleague: Colleague, questions: Sequence[Question]) -> list[int]:
        """Tokens (prompt and reply) that the same questions cost with three passages in the prompt, as bots do today."""
        embedder = await self.school.embedder()
        spent = []
        async with self.school.database.team(self.school.team.id) as connection:
            everyone = [(await audiences.whole_team(connection)).id]
        for question in questions:
            [vector] = await embedder.embed([question.question])
            async with self.school.database.team(self.school.team.id) as connection:
                hits = await passages.search(connection, vector, question.question, everyone, embedder.name, 3)
                wide = [await passages.neighbours(connection, hit.passage.id, 2, 2) for hit in hits]
            reply = await colleague.read(question.question, [passage for around in wide for passage in around])
            spent.append(reply.prompt_tokens + reply.completion_tokens)
        return spent

    def _exchange(self, one: Told, text: str, route: str) -> None:
        self.console.print(f"  [bold]{escape(one.author)}[/bold]: {escape(one.question)}")
        self.console.print(f"    Nightschool [dim]({route})[/dim]: {escape(_short(text))}")
        self.console.print(f"  [bold]{escape(one.author)}[/bold]: {escape(one.words)}")

    async def _person(self, name: str) -> int:
        async with self.school.database.team(self.school.team.id) as connection:
            return (await persons.identify(connection, "demo", name, name)).id


async def run(settings: Settings, docs: Path | None, console: Console) -> None:
    """The demo, for the sample team or a folder of one's own. Raises NoDocuments, FolderMissing, FolderEmpty."""
    started = time.monotonic()
    folder = SAMPLE / "pages" if docs is None else docs.expanduser()
    console.rule("[bold]Nightschool[/bold]: a team's AI colleague that remembers in its weights")
    async with open_database(settings) as database:
        async with database.system() as connection:
            taken = {team.key for team in await teams.all(connection)}
            key = next(name for n in range(1, len(taken) + 2) if (name := f"demo-{n}") not in taken)
            team = await teams.ensure(connection, key, "Harbour & Pine" if docs is None else folder.name)
        school = Assembly(settings, database, team)
        try:
            await _show(Day(school, console), folder, docs is None)
        finally:
            await school.rest()
    minutes = (time.monotonic() - started) / 60
    console.rule(f"[dim]{minutes:.1f} minutes[/dim]")
    console.print(
        f"Go on:  [bold].venv/bin/nightschool --team {key} chat[/bold]      talk with it\n"
        f"        [bold].venv/bin/nightschool --team {key} memories[/bold]  what it knows, and from where\n"
        "        [bold]make demo DOCS=folder[/bold]                       the same with your own documents"
    )


async def _show(day: Day, folder: Path, sample: bool) -> None:
    console = day.console
    console.print("\n[bold]The day[/bold]")
    await day.read(folder, SAMPLE / "chat.jsonl" if sample else None)
    colleague = await day.school.colleague()
    questions = read(SAMPLE / "questions.jsonl") if sample else []
    asked = [q for q in questions if q.kind not in ("correction",)]
    before = await day.ask(colleague, asked, "Questions by day")
    _answers(console, "Answered by day, from the notes", before)
    if sample:
        told = [Told(r["question"], r["correction"], r["author"]) for r in lines(SAMPLE / "corrections.jsonl")]
        votes = [Told(r["question"], r["value"], r["author"]) for r in lines(SAMPLE / "thumbs.jsonl")]
        console.print(f"\n{len(told)} people correct it, {len(votes)} give a thumb:")
        await day.correct(colleague, told)
        await day.vote(colleague, votes)
    console.print("\n[bold]The night[/bold]")
    night = await day.sleep(NIGHT_MINUTES)
    await colleague.wake()
    console.print("\n[bold]The morning[/bold]")
    if not sample:
        questions = await _own_questions(day)
    morning = await day.ask(colleague, questions, "Questions in the morning")
    _answers(console, "Answered in the morning", [g for g in morning if g.draft.route == "weights"] or morning)
    passages_cost = await day.tokens_with_passages(
        colleague, [g.question for g in morning if g.draft.route == "weights"][:12]
    )
    console.print(_scores(before, morning, passages_cost))
    console.print(card(night))


async def _own_questions(day: Day) -> list[Question]:
    """For one's own folder: the quiz questions that the base model wrote and the training never saw."""
    async with day.school.database.team(day.school.team.id) as connection:
        quiz = await examples.quiz(connection)
        known = {memory.id: memory for memory in await memories.of_states(connection, ["studied", "learnt"])}
    return [
        Question(str(e.id), "quiz", e.question, [re.escape(known[e.memory_id].statement)])
        for e in quiz
        if e.memory_id in known
    ][:60]


def lines(path: Path) -> list[dict[str, str]]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _answers(console: Console, title: str, given: Sequence[Given]) -> None:
    console.print(f"{title} (some of {len(given)}):")
    for one in given[:: max(1, len(given) // _SHOWN)][:_SHOWN]:
        mark = "[green]✓[/green]" if one.right else "[red]✗[/red]"
        tokens = one.draft.prompt_tokens + one.draft.completion_tokens
        console.print(f"  {mark} {escape(one.question.question)}")
        spent = f"{tokens} tokens" if tokens else "a quote, no tokens"
        console.print(f"    {escape(_short(one.draft.text))} [dim]({one.draft.route}, {spent})[/dim]")


def _scores(before: Sequence[Given], after: Sequence[Given], with_passages: Sequence[int]) -> Table:
    table = Table(title="Before and after the night", title_justify="left")
    for head in ("questions", "asked", "right before", "right after", "from the weights", "right of those"):
        table.add_column(head, justify="left" if head == "questions" else "right")
    for kind in dict.fromkeys(g.question.kind for g in after):
        then, now = ([g for g in given if g.question.kind == kind] for given in (before, after))
        weights = [g for g in now if g.draft.route == "weights" and not g.draft.quoted]
        table.add_row(
            kind, str(len(now)), str(sum(g.right for g in then)) if then else "–", str(sum(g.right for g in now)),
            str(len(weights)), str(sum(g.right for g in weights)),
        )  # fmt: skip
    spent = [g.draft.prompt_tokens + g.draft.completion_tokens for g in after if g.draft.route == "weights"]
    if spent and with_passages:
        table.caption = (
            f"Tokens an answer (median): {statistics.median(spent):.0f} from the weights, "
            f"{statistics.median(with_passages):.0f} for the same questions with passages in the prompt"
        )
    return table


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<44}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=False,
    )


def _short(text: str, width: int = 150) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
