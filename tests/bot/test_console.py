"""The chat, line by line, with the real colleague; and the loop that reads the lines."""

import io
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from bot.answer import Asked
from bot.assembly import Assembly, assembled
from bot.commands.talk import show_memories
from bot.console import SURFACE, Chat, Speech, converse, footer, named, operator
from bot.settings import Settings
from storage import answers, feedback, memories
from storage.answers import Answer, Citation, NewAnswer
from tests.learner.study.test_select import memory


class Talk:
    """A chat with what it wrote."""

    def __init__(self, school: Assembly, chat: Chat, out: io.StringIO) -> None:
        self.school = school
        self.chat = chat
        self._out = out

    async def say(self, line: str) -> str:
        """What comes of one line."""
        self._out.seek(0)
        self._out.truncate()
        assert await self.chat.turn(line)
        return self._out.getvalue()


@pytest.fixture
async def talk(settings: Callable[..., Settings]) -> AsyncIterator[Talk]:
    out = io.StringIO()
    async with assembled(settings()) as school:
        person = await operator(school.database, school.team)
        colleague, feedbacks = await school.colleague(), await school.feedbacks()
        console = Console(file=out, width=200)
        yield Talk(school, Chat(school.database, school.team, colleague, feedbacks, person, console), out)


async def test_teach_ask_rate_and_forget(talk: Talk) -> None:
    assert "ask something first" in await talk.say("+")
    assert "I don't know" in await talk.say("What is the code of the printer?")

    taught = await talk.say("The code of the printer is 4711.")
    assert "Taken as a correction" in taught and "4711" in taught
    answer = await talk.say("What is the code of the printer?")
    assert "4711" in answer and "notes, quoted" in answer and "tokens" in answer and "from " in answer
    assert "4711" in await talk.say("/sources")
    why = await talk.say("/why")
    assert "taught or corrected" in why and "noted" in why

    assert "good" in await talk.say("+")
    assert "not good" in await talk.say("-")
    assert "Taken as a correction" in await talk.say("no, it's 4712 since Monday")
    assert "4712" in await talk.say("What is the code of the printer?")

    assert "Remembered" in await talk.say("/remember The coffee machine is cleaned on Thursdays.")
    assert "Thursdays" in await talk.say("When is the coffee machine cleaned?")
    assert "Forgotten" in await talk.say("/forget when the coffee machine is cleaned")
    assert "Thursdays" not in await talk.say("When is the coffee machine cleaned?")

    async with talk.school.database.team(talk.school.team.id) as connection:
        standing = await feedback.standing(connection)
        known = await memories.of_states(connection, ["noted"])
    assert sorted((f.kind, f.value) for f in standing if f.kind == "thumbs") == [("thumbs", "down")]
    assert "It's 4712 since Monday." in {m.statement for m in known}


class Reciting:
    """A colleague that tells the memories of these statements, as the weights route does."""

    def __init__(self, school: Assembly) -> None:
        self._school = school
        self.told: list[memories.Memory] = []

    async def answer(self, asked: Asked, on_text: Callable[[str], None]) -> Answer:
        sources = [Citation("Handbook", "", memory.statement) for memory in self.told]
        text = "\n".join(memory.statement for memory in self.told)
        new = NewAnswer(SURFACE, asked.text, text, "weights", memory_id=self.told[0].id, sources=sources)
        async with self._school.database.team(self._school.team.id) as connection:
            return await answers.save(connection, new)


async def test_of_an_answer_that_told_several_memories_one_is_forgotten_by_its_number(talk: Talk) -> None:
    school, out, colleague = talk.school, io.StringIO(), Reciting(talk.school)
    person, feedbacks = await operator(school.database, school.team), await school.feedbacks()
    console = Console(file=out, width=200)
    chat = Chat(school.database, school.team, colleague, feedbacks, person, console)  # type: ignore[arg-type]
    talk = Talk(school, chat, out)
    colleague.told = told = [
        await feedbacks.remember(words, person.id, SURFACE, words)
        for words in ("Paper is picked up on Mondays.", "The alarm code is kept by Ines.", "Lunch is at noon.")
    ]
    await talk.say("What is there to know?")
    why = await talk.say("/why")
    assert all(memory.statement in why for memory in told)
    which = await talk.say("/forget")
    assert "Forgotten" not in which and all(f"{memory.id}: {memory.statement}" in which for memory in told)
    assert f"Forgotten (memory {told[1].id})" in await talk.say(f"/forget {told[1].id}")
    which = await talk.say("/forget")
    assert told[0].statement in which and told[1].statement not in which

    colleague.told = told[2:]
    await talk.say("When is lunch?")
    assert f"Forgotten (memory {told[2].id})" in await talk.say("/forget")


class Screen:
    """A terminal of some columns: as much of one as an answer needs (text, \\r, \\n, one up, erase a row)."""

    def __init__(self, columns: int) -> None:
        self._columns, self._rows, self._row, self._column = columns, [""], 0, 0

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self._rows).rstrip("\n")

    def write(self, text: str) -> None:
        for part in re.findall(r"\x1b\[[\d;]*[A-Za-z]|[^\x1b]", text):
            if part == "\r":
                self._column = 0
            elif part == "\n":
                self._down()
            elif part == "\x1b[1A":
                self._row -= 1
            elif part == "\x1b[2K":
                self._rows[self._row] = ""
            elif part[0] != "\x1b":  # colours aside
                if self._column == self._columns:
                    self._down()
                self._rows[self._row] = self._rows[self._row][: self._column].ljust(self._column) + part
                self._column += 1

    def _down(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._rows):
            self._rows.append("")


STATEMENT = "The office in Lisbon opens at 8:30 every morning, and not before."


@pytest.mark.parametrize("columns", [9, 10, 30, 200])
@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (
            ["The office", " in", " Lisbon opens at 8:30", " every morning."],
            "The office in Lisbon opens at 8:30 every morning.",
        ),
        (["The office in", " Lisbon opens at"], f"“{STATEMENT}”"),
        (["The office\nin"], "I don't know that yet."),
        ([], "I don't know that yet."),
    ],
)
def test_what_stays_on_the_screen_is_the_answer_and_nothing_else(
    pieces: list[str], text: str, terminal: bool, columns: int
) -> None:
    out, screen = io.StringIO(), Screen(columns)
    screen.write("> question?\n")
    above = screen.text
    environment = {"TERM": "xterm", "COLUMNS": str(columns)}
    speech = Speech(Console(file=out, force_terminal=terminal, width=columns, _environ=environment))
    for number in range(len(pieces)):
        speech.piece(pieces[number])
        screen.write(out.getvalue())
        out.seek(0)
        out.truncate()
        if terminal:
            seen = Screen(columns)
            seen.write(above + "\n" + "".join(pieces[: number + 1]))
            assert screen.text == seen.text
    speech.end(given(text))
    screen.write(out.getvalue())
    expected = Screen(columns)
    expected.write(f"{above}\n{text}\n" + "\n".join(footer(given(text))))
    assert screen.text == expected.text


def given(text: str) -> Answer:
    return Answer(
        7, None, None, SURFACE, None, None, "When?", text, "weights", False, None, None, [], 30, 12, 400.0, None,
        datetime(2026, 11, 1, tzinfo=UTC),
    )  # fmt: skip


async def test_bad_lines_are_told_and_the_chat_goes_on(talk: Talk) -> None:
    assert "no question" in (await talk.say("")).lower()
    assert "50,000 characters" in await talk.say("x" * 50000)
    assert "There is no /bogus" in await talk.say("/bogus")
    assert "Correct it to what?" in await talk.say("/correct")
    assert "Remember what?" in await talk.say("/remember")
    assert "Forget what?" in await talk.say("/forget")
    assert "nightschool memories" in await talk.say("/forget the colour of the moon")
    for number in ("999999", "99999999999999999999", "9" * 5000, "²"):
        assert "nightschool memories" in await talk.say(f"/forget {number}")
    assert "ask something first" in await talk.say("/why")
    assert "/correct" in await talk.say("/help")
    assert not await talk.chat.turn("/quit")


async def test_a_question_is_not_a_correction(talk: Talk) -> None:
    await talk.say("Where is the key?")
    assert "Taken" not in await talk.say("No idea where it is?")
    assert "Taken" not in await talk.say("what about the other key")
    assert "Taken" not in await talk.say("/usr/bin is a folder, is it not?")


def test_a_pipe_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raw = io.TextIOWrapper(io.BytesIO(b"one\n\ncaf\xff\n" + b"y" * 300 + b"\nstop\nnever\n"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", raw)
    heard: list[str] = []

    def turn(line: str) -> Future[bool]:
        heard.append(line)
        future: Future[bool] = Future()
        future.set_result(line != "stop")
        return future

    out = io.StringIO()
    converse(turn, tmp_path / "history", Console(file=out, width=400))
    assert heard == ["one", "", "caf�", "y" * 300, "stop"]
    assert "(300 characters)" in out.getvalue()


def test_ctrl_c_stops_the_answer_and_not_the_chat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    answering: list[Future[bool]] = []

    class Interrupted(Future[bool]):
        def result(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    def turn(line: str) -> Future[bool]:
        answering.append(Interrupted())
        return answering[-1]

    converse(turn, tmp_path / "history", Console(file=io.StringIO()))
    assert [future.cancelled() for future in answering] == [True, True]


def test_a_memory_held_back_in_a_dispute_is_marked_in_the_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    dispute = "Nora: “Jonas.” against Ola: “Hanna.” (held back)"
    show_memories([memory(1, "Jonas."), memory(2, "Hanna.", conflict=dispute)])
    listed = capsys.readouterr().out
    assert listed.count("noted, held back") == 1 and "Ola: “Hanna.”" in listed


def test_a_source_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert named(Citation("Hours", (tmp_path / "a b" / "hours.md").as_uri(), "")) == "Hours (a b/hours.md)"
    assert named(Citation("Hours", "https://wiki.example/hours", "")) == "Hours (https://wiki.example/hours)"
    assert named(Citation("ada", None, "")) == "ada"
