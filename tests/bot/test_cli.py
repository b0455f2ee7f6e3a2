"""The program as people start it: what it prints, how it fails, how it stops."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.cli import app
from bot.commands.start import Call, bounded
from connectors.conversation import Line
from storage import sources
from storage.database import Database
from storage.errors import NightschoolError
from storage.teams import Team

COMMANDS = (
    *("ask", "chat", "memories", "forget", "feedback"),
    *("sync", "sources", "night", "report", "adapters", "rollback"),
    *("people", "emoji", "slack", "serve", "worker", "doctor", "demo"),
)
PROGRAM = [sys.executable, "-m", "bot.cli"]
Run = Callable[..., Result]


@pytest.fixture
def environment(
    database: Database, team: Team, tiny_model: Path, embedder_path: Path, tmp_path: Path
) -> dict[str, str]:
    """What makes a started program use the test's PostgreSQL, team and model."""
    return {
        "DATABASE_URL": database.url,
        "NIGHTSCHOOL_TEAM": team.key,
        "NIGHTSCHOOL_MODEL": str(tiny_model),
        "NIGHTSCHOOL_EMBEDDER": str(embedder_path),
        "NIGHTSCHOOL_DATA_FOLDER": str(tmp_path / "data"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }


@pytest.fixture
def run(environment: dict[str, str], quiet_logs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in this process."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def start(*words: str, input: str | None = None, **others: str) -> Result:
        result = runner.invoke(app, words, input=input, env=environment | others)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return start


def pages(folder: Path) -> Path:
    folder.mkdir()
    (folder / "hours.md").write_text("# Office hours\n\nThe Cork office opens at half past seven.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    return folder


def test_help_is_quick_and_names_every_command() -> None:
    start = time.monotonic()
    said = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
    took = time.monotonic() - start
    for command in COMMANDS:
        assert f"│ {command} " in said
    heavy = (
        "import sys, bot.cli; print([m for m in ('torch', 'transformers', 'psycopg', 'fastapi') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]", "these make every command slow to start"
    assert took < 5  # 0.5 s on an idle machine; the list above is the sharper check


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    said = CliRunner().invoke(app, [command, "--help"]).stdout
    assert f"Example: nightschool {command}" in said


def test_the_help_of_sync_names_all_that_a_message_must_have() -> None:
    said = CliRunner().invoke(app, ["sync", "--help"], env={"COLUMNS": "300"}).stdout
    needed = ", ".join(name for name, field in Line.model_fields.items() if field.is_required())
    assert f"JSON lines of {needed}." in said


def test_a_bad_setting_is_one_line_and_exit_code_2(run: Run, tmp_path: Path) -> None:
    result = run("report", NIGHTSCHOOL_TIMEZONE="Mars/Olympus")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "✗ environment: timezone: no such time zone; write one like Europe/Berlin or UTC (given: 'Mars/Olympus')"
    ]
    assert run("--team", "No Good", "report").exit_code == 2
    assert run("--config", str(tmp_path / "none.toml"), "report").exit_code == 2
    assert run("nonsense").exit_code == 2


def test_before_the_first_night_each_command_says_what_to_do(run: Run) -> None:
    report = run("report")
    assert (report.exit_code, report.stderr) == (1, "✗ There has been no night yet: nightschool night runs one now.\n")
    assert "nightschool night makes the first" in run("adapters").stdout
    assert "nightschool sync FOLDER" in run("memories").stdout
    assert "No feedback yet" in run("feedback").stdout
    assert "nightschool sync FOLDER" in run("sync").stderr
    assert run("rollback").exit_code == 1
    assert "Traceback" not in run("rollback").stderr


def test_a_database_that_is_away_is_one_line(run: Run) -> None:
    result = run("report", DATABASE_URL="postgresql://ada:hunter2@127.0.0.1:1/none?connect_timeout=1")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "hunter2" not in result.stderr
    traced = run("--debug", "report", DATABASE_URL="postgresql://ada:hunter2@127.0.0.1:1/none?connect_timeout=1")
    assert "Traceback" in traced.stderr
    assert "hunter2" not in traced.stderr


def test_read_a_folder_then_ask_rate_correct_and_list(run: Run, tmp_path: Path) -> None:
    folder = pages(tmp_path / "handbook")
    synced = run("sync", str(folder))
    assert synced.exit_code == 0, synced.stderr
    assert "skipped broken.pdf" in synced.stdout
    assert "0 passages" not in synced.stdout
    assert "0 passages" in run("sync").stdout, "the folder is remembered, and nothing is new"

    answer = run("ask", "When does the Cork office open?")
    assert answer.exit_code == 0, answer.stderr
    assert "half past seven" in answer.stdout
    assert "handbook/hours.md" in answer.stdout
    number = answer.stdout.rsplit("answer ", 1)[1].strip()

    assert run("feedback", number, "up").exit_code == 0
    assert "It opens at eight." in run("feedback", number, "no, it opens at eight").stdout
    assert run("feedback", number).exit_code == 2
    listed = run("feedback").stdout
    assert "It opens at eight." in listed and "up" in listed
    assert "was not kept" in run("feedback", "999999999", "up").stderr

    assert "It opens at eight." in run("memories", "--search", "EIGHT opens").stdout
    assert "None like that" in run("memories", "--search", "nine").stdout
    assert "It opens at eight." in run("forget", "the office opens at eight").stdout
    assert "It opens at eight." in run("memories", "--state", "forgotten").stdout
    assert run("memories", "--state", "lost").exit_code == 2


def test_sources_are_listed_and_switched(run: Run, tmp_path: Path) -> None:
    assert "nightschool sync FOLDER" in run("sources").stdout
    folder = pages(tmp_path / "handbook")
    run("sync", str(folder))
    (line,) = [line for line in run("sources").stdout.splitlines() if str(folder) in line]
    number, kind, _, items, synced, retrieval, training = [cell.strip() for cell in line.strip("│ ").split("│")]
    assert (kind, items, retrieval, training) == ("files", "1", "on", "on")
    assert synced.startswith("20")

    off = run("sources", number, "--retrieval", "off", "--training", "off")
    assert off.exit_code == 0, off.stderr
    assert "Retrieval is off: nothing of it is quoted or spoken from now on." in off.stdout
    assert "Training is off: the next night takes it out of the weights" in off.stdout
    assert "don't know" in run("ask", "When does the Cork office open?").stdout
    on = run("sources", number, "--retrieval", "on").stdout
    assert "Retrieval is on" in on and "Training" not in on
    assert "half past seven" in run("ask", "When does the Cork office open?").stdout
    (line,) = [line for line in run("sources", number).stdout.splitlines() if str(folder) in line]
    assert [cell.strip() for cell in line.strip("│ ").split("│")][-2:] == ["on", "off"]

    (folder / "hours.md").unlink()
    run("sync")
    assert "then failed" in run("sources").stdout
    nowhere = run("sources", "999999999", "--training", "on")
    assert (nowhere.exit_code, len(nowhere.stderr.splitlines())) == (1, 1)
    assert run("sources", "--training", "on").exit_code == 2
    assert run("sources", number, "--training", "maybe").exit_code == 2


def test_slack_is_studied_only_where_its_terms_were_seen(
    run: Run, database: Database, team: Team, tmp_path: Path
) -> None:
    async def connected() -> int:  # by a loop of its own, as `run` has one too
        here = await Database.open(database.url, tmp_path)
        async with here.team(team.id) as connection:
            made = await sources.ensure(connection, "slack", "T1", "Slack T1", training=False)
        await here.close()
        return made.id

    number = str(asyncio.run(connected()))

    def switch(*words: str, input: str | None = None) -> tuple[int, str, bool]:
        result = run("sources", number, "--training", *words, input=input)
        return result.exit_code, result.stdout, "│ on        │ on" in run("sources", number).stdout

    code, said, on = switch("on", input="n\n")
    assert code == 1 and not on and "Slack's API terms of 29 May 2025" in said and "Let the nights study" in said
    assert switch("on", input="")[::2] == (1, False), "nobody is there to ask"
    code, said, on = switch("on", input="y\n")
    assert code == 0 and on and "the next night may study it" in said
    assert switch("off")[::2] == (0, False)
    code, said, on = switch("on", "--yes")
    assert code == 0 and on and "terms" not in said


def test_emoji_are_listed_and_given_a_meaning(run: Run) -> None:
    def meaning(name: str) -> list[str]:
        [line] = [line for line in run("emoji", name).stdout.splitlines() if f":{name}:" in line]
        return [cell.strip() for cell in line.strip("│ ").split("│")][1:]

    assert ":tada:" in run("emoji").stdout and ":eyes:" not in run("emoji").stdout
    assert (meaning("tada"), meaning("eyes")) == (["up", "default"], ["nothing", "default"])
    assert "anew" in run("emoji", ":eyes:", "--means", "down").stdout
    assert run("emoji", "tada", "--means", "nothing").exit_code == 0
    assert (meaning("tada"), meaning("eyes")) == (["nothing", "the team"], ["down", "the team"])
    assert ":eyes:" in run("emoji").stdout
    run("emoji", "tada", "--means", "default")
    assert meaning("tada") == ["up", "default"]
    assert run("emoji", "--means", "up").exit_code == 2
    odd = run("emoji", "two words", "--means", "up")
    assert (odd.exit_code, len(odd.stderr.splitlines())) == (1, 1)


def test_people_are_listed_and_given_a_role(run: Run) -> None:
    assert "Nobody yet" in run("people").stdout
    run("ask", "Who are you?")
    [line] = [line for line in run("people").stdout.splitlines() if "console" in line]
    number, name, surface, role = [cell.strip() for cell in line.strip("│ ").split("│")]
    assert name and (surface, role) == ("console", "member")
    made = run("people", number, "--role", "admin")
    assert made.exit_code == 0, made.stderr
    assert "outweigh" in made.stdout
    assert "admin" in run("people", number).stdout
    assert "as those of any member" in run("people", number, "--role", "member").stdout
    assert "admin" not in run("people").stdout
    for words in (["999999999"], ["999999999", "--role", "admin"]):
        nobody = run("people", *words)
        assert (nobody.exit_code, len(nobody.stderr.splitlines())) == (1, 1)
    assert run("people", "--role", "admin").exit_code == 2
    assert run("people", number, "--role", "king").exit_code == 2


def test_a_question_that_cannot_be_asked_and_a_model_that_is_not_there(run: Run) -> None:
    assert run("ask", "   ").stderr == "✗ There was no question. Type what you want to know.\n"
    long = run("ask", "why " * 12500)
    assert (long.exit_code, len(long.stderr.splitlines())) == (1, 1)
    missing = run("ask", "Who?", NIGHTSCHOOL_MODEL="/no/such/model")
    assert (missing.exit_code, len(missing.stderr.splitlines())) == (1, 1)
    assert "/no/such/model" in missing.stderr
    folder = run("sync", "/no/such/folder")
    assert (folder.exit_code, len(folder.stderr.splitlines())) == (1, 1)
    assert "/no/such/folder" in folder.stderr


def test_a_night_without_news_says_so(run: Run) -> None:
    slept = run("night", "--minutes", "0.1")
    assert slept.exit_code == 0, slept.stderr
    assert "Nothing new to study" in slept.stdout
    assert "learning.rank" in slept.stderr, "the settings are shown first"
    assert "Nothing new to study" in run("report").stdout
    assert run("night", "--minutes", "0").exit_code == 2


def test_a_data_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("report", NIGHTSCHOOL_DATA_FOLDER=str(tmp_path / "file" / "data"))
    assert result.exit_code == 1
    assert "NIGHTSCHOOL_DATA_FOLDER" in result.stderr


def test_an_error_of_several_lines_and_one_of_the_system(capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    for error, lines in ((NightschoolError("a\nb"), ["✗ a", "✗ b"]), (OSError(28, "No space left", "/x"), None)):
        with pytest.raises(typer.Exit) as caught, bounded(Call()):
            raise error
        assert caught.value.exit_code == 1
        assert capsys.readouterr().err.splitlines() == (lines or ["✗ No space left (/x)"])


def test_chat_in_a_pipe(environment: dict[str, str], tmp_path: Path) -> None:
    script = (
        f"What is the printer's code?\nThe printer's code is 4711.\n{'x' * 50000}\n\nWhat is the printer's code?\n+\n"
    )
    done = subprocess.run(
        [*PROGRAM, "chat"],
        input=script,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        cwd=Path(__file__).parents[2],
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "I don't know that yet" in done.stdout
    assert "50,000 characters" in done.stdout
    assert done.stdout.rstrip().endswith("Noted: good.")
    assert "4711" in done.stdout.split("> What is the printer's code?")[2]


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        ("chat", signal.SIGINT, 130),
        ("serve", signal.SIGTERM, 0),
        ("serve", signal.SIGINT, 130),
        ("worker", signal.SIGTERM, 0),
    ],
)
def test_it_stops_when_told(
    environment: dict[str, str], unused_ports: tuple[int, int], command: str, number: signal.Signals, code: int
) -> None:
    listen, metrics = unused_ports
    # A database of its own, with no other test's nights in the queue and none due now.
    noon = (datetime.now(UTC) + timedelta(hours=12)).strftime("%H:%M")
    own = {"DATABASE_URL": "", "NIGHTSCHOOL_NIGHT_AT": noon}
    ports = {"NIGHTSCHOOL_LISTEN_PORT": str(listen), "NIGHTSCHOOL_WORKER_METRICS_PORT": str(metrics)}
    ready = {"chat": "Ask anything", "serve": "awake", "worker": "working"}[command]
    process = subprocess.Popen(
        [*PROGRAM, command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment | own | ports,
        cwd=Path(__file__).parents[2],
    )
    said = ""
    try:
        assert process.stderr is not None
        while ready not in said and (line := process.stderr.readline()):
            said += line
        assert ready in said, said
        time.sleep(0.5)
        process.send_signal(number)
        _, rest = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code, said + rest
    assert "Traceback" not in rest
