"""The console surface: a chat in the terminal, or in a pipe."""

import contextlib
import getpass
import os
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rich.cells import chop_cells
from rich.console import Console
from rich.control import Control
from rich.segment import ControlCode, ControlType
from rich.text import Text

from bot.settling import dispute_of
from bot.told import told
from bot.wording import disputed, provenance, reasons
from storage import persons
from storage.answers import Answer, Citation
from storage.database import Database
from storage.errors import NightschoolError
from storage.memories import Memory
from storage.persons import Person
from storage.teams import Team

if TYPE_CHECKING:
    from bot.answer import Asked, Colleague
    from bot.feedback import Feedbacks

SURFACE = "console"

HELP = """\
Ask anything. Below each answer stand its source, its route and what it cost.
  +  or /up            the answer was good
  -  or /down          it was not
  no, it's …           a reply like this corrects the last answer; so does /correct …
  /remember …          something to know from now on
  /forget …            forget what is known of it (a text, or a memory's number); alone: the last answer's
  /sources             the evidence of the last answer, word for word
  /why                 why it was answered this way
  /help   /quit"""


async def operator(database: Database, team: Team) -> Person:
    """The person at this terminal: the account's name on this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in a container
        name = f"user-{os.getuid()}"
    async with database.team(team.id) as connection:
        return await persons.identify(connection, SURFACE, name, name)


class Speech:
    """Writes an answer as it comes, then what stands below it.

    What was written of an answer that turned out otherwise is wiped away; where that cannot be done (a pipe, a dumb
    terminal) an answer is written when it is whole.
    """

    def __init__(self, out: Console) -> None:
        self._out = out
        self._said = ""

    async def of(self, colleague: "Colleague", asked: "Asked") -> Answer:
        """Has the question answered and writes the answer. Raises what Colleague.answer raises; then nothing of it stays."""
        try:
            answer = await colleague.answer(asked, self.piece)
        except Exception:
            self._wipe()
            raise
        self.end(answer)
        return answer

    def piece(self, text: str) -> None:
        """The next piece of the answer under way."""
        if self._out.is_interactive:
            self._said += text
            self._write(text)

    def end(self, answer: Answer) -> None:
        """The answer as it stands, in the place of what was written of another, and its dim lines."""
        if not answer.text.startswith(self._said):
            self._wipe()
        self._write(answer.text.removeprefix(self._said) + "\n")
        for line in footer(answer):
            self._out.print(Text(line, style="dim"), soft_wrap=True)

    def _write(self, text: str) -> None:
        self._out.print(text, end="", markup=False, highlight=False, soft_wrap=True)

    def _wipe(self) -> None:
        """Wipes the screen's rows that were written, from the last to the first; the terminal broke them at its width."""
        lines = self._said.split("\n") if self._said else []
        rows = sum(max(1, len(chop_cells(line, self._out.width))) for line in lines)
        self._said = ""
        if rows:
            row: ControlCode = (ControlType.ERASE_IN_LINE, 2)
            up: ControlCode = (ControlType.CURSOR_UP, 1)
            self._out.control(Control(ControlType.CARRIAGE_RETURN, row, *(up, row) * (rows - 1)))


def footer(answer: Answer) -> Iterator[str]:
    """The lines below an answer: its sources, then route, tokens and seconds."""
    for source in {(s.title, s.uri): s for s in answer.sources}.values():
        yield f"  from {named(source)}"
    route = f"{answer.route}, quoted" if answer.quoted else answer.route
    tokens = f"{answer.prompt_tokens} + {answer.completion_tokens} tokens"
    yield f"  {route} · {tokens} · {answer.latency_ms / 1000:.1f} s · answer {answer.id}"


def named(source: Citation) -> str:
    """A source's title and where it is: `Offices › Cork (pages/offices.md)`."""
    place = source.uri or ""
    if place.startswith("file://"):
        path = Path(url2pathname(urlsplit(place).path))
        place = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return f"{source.title} ({place})" if place and place != source.title else source.title


class Chat:
    """One conversation at the console. `turn` takes a line and writes what comes of it."""

    def __init__(
        self,
        database: Database,
        team: Team,
        colleague: "Colleague",
        feedbacks: "Feedbacks",
        person: Person,
        out: Console,
    ) -> None:
        self._database = database
        self._team = team
        self._colleague = colleague
        self._feedbacks = feedbacks
        self._person = person
        self._out = out
        self._thread = f"chat-{uuid.uuid4()}"
        self._turns = 0
        self._last: Answer | None = None
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "+": self._up,
            "/up": self._up,
            "-": self._down,
            "/down": self._down,
            "/correct": self._correct,
            "/remember": self._remember,
            "/forget": self._forget,
            "/sources": self._sources,
            "/why": self._why,
            "/help": self._help,
        }

    async def turn(self, line: str) -> bool:
        """Does what `line` says; False when it says to leave. An error of ours is told, and the chat goes on."""
        from bot.intent import corrects

        self._turns += 1
        word, _, rest = line.strip().partition(" ")
        try:
            if word in ("/quit", "/exit"):
                return False
            if word in ("+", "-") and rest:
                await self._ask(line)  # a question that begins with a dash is a question
            elif word in self._commands:
                await self._commands[word](rest.strip())
            elif word.startswith("/") and "/" not in word[1:]:
                self._say(f"There is no {word}. /help lists what there is.")
            elif self._last is not None and corrects(line, self._last):
                self._say("Taken as a correction of the last answer (end it with ? if it was a question).")
                await self._correct(line)
            else:
                await self._ask(line)
        except NightschoolError as error:
            self._out.print(Text(str(error), style="yellow"), soft_wrap=True)
        return True

    async def _ask(self, text: str) -> None:
        from bot.answer import Asked

        asked = Asked(text, self._person.id, None, SURFACE, self._event(), self._thread)
        self._last = await Speech(self._out).of(self._colleague, asked)

    async def _up(self, _: str) -> None:
        await self._thumbs(True)

    async def _down(self, _: str) -> None:
        await self._thumbs(False)

    async def _thumbs(self, up: bool) -> None:
        if answer := self._answered():
            await self._feedbacks.thumbs(answer.id, self._person.id, up, SURFACE, self._event())
            self._say("Noted: good." if up else "Noted: not good. What would have been right? (/correct …)")

    async def _correct(self, text: str) -> None:
        if not text:
            self._say("Correct it to what? /correct The office closes at six.")
        elif answer := self._answered():
            memory = await self._feedbacks.correct(answer.id, self._person.id, text, SURFACE, self._event())
            await self._taken(
                memory, f"Corrected; it holds from now on, and the weights learn it tonight: {memory.statement}"
            )

    async def _remember(self, text: str) -> None:
        if not text:
            self._say("Remember what? /remember The printer's code is 4711.")
            return
        memory = await self._feedbacks.remember(text, self._person.id, SURFACE, self._event())
        await self._taken(memory, f"Remembered (memory {memory.id}): {memory.statement}")

    async def _taken(self, memory: Memory, said: str) -> None:
        if memory.conflict is None:
            self._say(said)
        if dispute := await dispute_of(self._database, self._team, memory):
            self._say(disputed(dispute, memory.id))

    async def _forget(self, text: str) -> None:
        known = await self._told(self._last) if self._last and not text else []
        if len(known) > 1:
            self._say("The last answer told several memories. Forget which? /forget and its number:")
            for memory in known:
                self._say(f"  {memory.id}: {memory.statement}")
            return
        if not text and not known:
            self._say("Forget what? /forget the printer's code")
            return
        for memory in await self._feedbacks.forget(text or known[0].id, self._person.id):
            self._say(f"Forgotten (memory {memory.id}): {memory.statement}")

    async def _sources(self, _: str) -> None:
        if answer := self._answered():
            if not answer.sources:
                self._say("The last answer has no source.")
            for source in answer.sources:
                self._say(named(source))
                self._out.print(f"  “{source.quote}”", markup=False, highlight=False, soft_wrap=True)

    async def _why(self, _: str) -> None:
        answer = self._answered()
        if answer is None:
            return
        for reason in reasons(answer):
            self._say(reason)
        for memory in await self._told(answer):
            self._say(f"Memory {memory.id} ({memory.state}), {provenance(memory)}: {memory.statement}")
        if answer.confidence is not None:
            self._say(f"The model's confidence: {answer.confidence:.2f}")

    async def _told(self, answer: Answer) -> list[Memory]:
        async with self._database.team(self._team.id) as connection:
            return await told(connection, answer, self._person.id)

    async def _help(self, _: str) -> None:
        self._out.print(HELP, markup=False, highlight=False, soft_wrap=True)

    def _answered(self) -> Answer | None:
        if self._last is None:
            self._say("There is no answer yet: ask something first.")
        return self._last

    def _event(self) -> str:
        return f"{self._thread}-{self._turns}"

    def _say(self, text: str) -> None:
        self._out.print(Text(text, style="dim"), soft_wrap=True)


def converse(turn: Callable[[str], Future[bool]], history: Path, out: Console) -> None:
    """Reads lines until the end of input or /quit and gives each to `turn`, which returns a concurrent Future.

    Ctrl-C stops the answer under way; at the prompt it raises KeyboardInterrupt.
    """
    keyboard = sys.stdin.isatty()
    if not keyboard and hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")
    with _history(history) if keyboard else contextlib.nullcontext():
        while True:
            try:
                line = input("\n> " if keyboard else "")
            except EOFError:
                return
            if not keyboard:
                shown = line if len(line) <= 200 else f"{line[:200]}… ({len(line):,} characters)"
                out.print(Text(f"\n> {shown}", style="bold"), soft_wrap=True)
            answering = turn(line)
            try:
                going_on = answering.result()
            except KeyboardInterrupt:
                answering.cancel()
                out.print(Text("\nStopped.", style="dim"))  # on a row of its own, below what was written so far
                continue
            except CancelledError:
                continue
            if not going_on:
                return


@contextlib.contextmanager
def _history(path: Path) -> Iterator[None]:
    try:
        import readline
    except ImportError:  # a Python built without it: lines can still be typed
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(1000)
        with contextlib.suppress(OSError):
            readline.write_history_file(path)
            path.chmod(0o600)
