"""Every command of README.md, run as a newcomer runs it: typed as it stands there, in a shell, in a folder of one's own.

The commands are taken from the page, so a new one is run too. Nights are held on a tiny random model here, all else is as
it comes; the demo is run on the packaged one (slow).
"""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from connectors.files import FilesConnector
from learner import notes
from learner.engine.embedder import Embedder
from learner.engine.local import LocalEngine
from learner.engine.packaged import embedder_folder
from storage import exams, teams
from storage.database import Database
from tests.conftest import CACHE
from tests.school import TINY_NIGHT, School, ask

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

HANDBOOK = {
    "office.md": "# Office\n\nWe close at 18:30 on all days.\n\nThe office dog is called Biscuit.\n",
    "doors.md": "# Doors\n\nThe old door code of the warehouse is 4711.\n\nThe new door code of the front door is 8520.\n",
}
CHAT = {
    "id": "1",
    "channel": "general",
    "private": False,
    "author": "Ben",
    "at": "2026-11-20T09:00:00Z",
    "text": "The lift is out of order.",
}

PROMISES = {
    "ask": [r"18:30", r"from .*office\.md", r"(weights|notes).* · \d+ \+ \d+ tokens · .* · answer \d+"],
    "memories": [r"door code", r"noted|studied|learnt", r"Doors"],
    "forget": [r"next night takes it out of the weights", r"old door code"],
    "feedback": [r"Noted on answer \d+"],
    "sync": [r"handbook", r"unchanged", r"passages"],
    "sources": [r"wiki", r"off"],
    "people": [r"Ben", r"admin"],
    "night": [r"The night of", r"released a new version", r"Learnt"],
    "report": [r"The night of", r"passed its exam and is at work", r"Cost"],
    "adapters": [r"serving", r"passed", r"MiB"],
    "rollback": [r"Version \d+ is at work again"],
    "doctor": [r"✓ database", r"All well"],
}
"""What each command prints, by what README says of it; one that is not here must print something."""


def typed(part: str) -> list[str]:
    """The commands of the bash blocks in a part of the page, then those of its table; each once, with its path or without."""
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", part, re.S | re.M)).replace("\\\n", " ")
    lines = [line.split(" #")[0].strip() for line in blocks.splitlines()]
    lines += re.findall(r"^\| `(nightschool [^`]+)` \|", part, re.M)
    once: dict[str, str] = {}
    for line in filter(None, lines):
        once.setdefault(line.removeprefix(".venv/bin/"), line)
    return list(once.values())


def part(title: str) -> str:
    """What stands below a heading."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## )", README, re.S | re.M)
    assert found, title
    return found[1]


TRY = typed(part("Try it"))
USE = [line for line in typed(part("Use it")) if line != "nightschool demo"]  # that one is what `make demo` runs
FIRST = [line for line in USE if "nightschool night" not in line]


@dataclass
class Newcomer:
    """A clone's folder, a home with a handbook, and the team that was taught there."""

    folder: Path
    environment: dict[str, str]
    school: School | None = None

    def start(self, line: str, **others: Any) -> subprocess.Popen[str]:
        """A line as it stands in README, typed into a shell."""
        return subprocess.Popen(
            ["bash", "-c", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
            **others,
        )

    def run(self, line: str, keys: str = "", seconds: float = 240) -> str:
        """What it says; it must end well."""
        process = self.start(line)
        try:
            said, _ = process.communicate(keys, timeout=seconds)
        finally:
            stop(process, signal.SIGKILL)
        assert process.returncode == 0 and "Traceback" not in said, said
        return said

    @contextmanager
    def running(self, line: str, address: str) -> Iterator[str]:
        """While entered it runs; it is ready at once, and ends at Ctrl-C."""
        process = self.start(line)
        try:
            deadline = time.monotonic() + 120
            while not answers_at(f"{address}/readyz"):
                assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
                time.sleep(0.2)
            yield address
            stop(process, signal.SIGINT)
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 130 and "Traceback" not in said, said
        finally:
            stop(process, signal.SIGKILL)
            process.communicate()

    async def writes(self, name: str, text: str) -> None:
        """Another page in the handbook, read."""
        assert self.school is not None
        (self.folder / "home" / "handbook" / name).write_text(text)
        school = self.school
        await FilesConnector(self.folder / "home" / "handbook").sync(school.database, school.team.id)
        await notes.index(school.database, school.team, school.embedder)


def clone(folder: Path) -> Newcomer:
    """A folder in which README's commands can be typed: everything of a clone that they touch, and nothing else."""
    for file in (ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("requirements*")):
        (folder / file.name).symlink_to(file)
    (folder / ".venv").symlink_to(sys.prefix)
    handbook = folder / "home" / "handbook"
    handbook.mkdir(parents=True)
    for name, text in HANDBOOK.items():
        (handbook / name).write_text(text)
    (folder / "chat.jsonl").write_text(json.dumps(CHAT) + "\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NIGHTSCHOOL_", "DATABASE_URL"))}
    return Newcomer(
        folder,
        kept | {
            "HOME": str(folder / "home"),
            "PATH": f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
async def newcomer(tiny_base: Path, tiny_engine: LocalEngine, embedder: Embedder) -> AsyncIterator[Newcomer]:
    """With a team that has two people, three sources, a night behind it, four versions and a dozen answers; tiny model."""
    # Not below pytest's own folder: each pytest that begins shuts that to all but root, and PostgreSQL never runs as root.
    with TemporaryDirectory(prefix="nightschool-newcomer-") as place:
        newcomer = clone(Path(place).resolve())
        data = newcomer.folder / ".nightschool"
        newcomer.environment |= {
            "NIGHTSCHOOL_MODEL": str(tiny_base),
            "NIGHTSCHOOL_EMBEDDER": str(embedder_folder("packaged", CACHE)),
            "NIGHTSCHOOL_TEAM": "home",
        } | {f"NIGHTSCHOOL_LEARNING__{name.upper()}": str(value) for name, value in TINY_NIGHT.items()}
        database = await Database.open(None, data)
        async with database.system() as connection:
            team = await teams.ensure(connection, "home")
        school = School(database, team, tiny_engine, embedder, tiny_base, data)
        newcomer.school = school
        for name in ("Ada", "Ben"):
            await school.person(name)
        await newcomer.writes("lifts.md", "# Lifts\n\nThe lift is serviced every March.\n")
        for name in ("minutes", "wiki"):
            other = newcomer.folder / name
            other.mkdir()
            (other / "page.md").write_text(f"The {name} are read on Mondays.\n")
            await FilesConnector(other).sync(database, team.id)
        assert (await school.night()).state == "released"
        # Three more versions, so that there is one to go back to.
        async with database.team(team.id) as connection:
            [first] = await school.versions()
            exam = await exams.of_version(connection, first.id)
        assert exam is not None
        for number in (2, 3, 4):
            version = await school.put(f"v{number}")
            async with database.team(team.id) as connection:
                await exams.save(connection, None, version.id, exam.results, True)
            await school.switch(version)
        colleague = school.colleague()
        for number in range(12):
            await ask(colleague, f"When is the lift serviced ({number})?")
        yield newcomer
        await school.rest()
        await database.close()


@pytest.mark.parametrize(
    "line", [*FIRST, *(pytest.param(line, marks=pytest.mark.slow) for line in USE if line not in FIRST)]
)
async def test_a_command_of_readme_does_what_it_says(
    newcomer: Newcomer, unused_tcp_port_factory: Any, line: str
) -> None:
    command = next(word for word in shlex.split(line)[1:] if not word.startswith("-"))
    ports = [unused_tcp_port_factory() for _ in range(2)]
    newcomer.environment |= {
        "NIGHTSCHOOL_LISTEN_PORT": str(ports[0]), "NIGHTSCHOOL_WORKER_METRICS_PORT": str(ports[1])
    }  # fmt: skip
    if command == "night":
        await newcomer.writes(f"news-{len(line)}.md", f"The canteen has {len(line)} chairs.\n")
    work: Callable[[], None] = {
        "chat": lambda: chat(newcomer, line),
        "serve": lambda: serve(newcomer, line, ports[0]),
        "worker": lambda: worker(newcomer, line, ports[1]),
    }.get(command, lambda: once(newcomer, line, command))
    await asyncio.to_thread(work)


def once(newcomer: Newcomer, line: str, command: str) -> None:
    said = newcomer.run(line)
    assert said.strip()
    for promise in PROMISES.get(command, []):
        assert re.search(promise, said), f"{line} did not print {promise}:\n{said}"


def chat(newcomer: Newcomer, line: str) -> None:
    """A question, thumbs, a correction, and what README says of the rest."""
    keys = ["What is the office dog called?", "+", "-", "no, the office dog is called Crumpet", "/sources",
            "What is the office dog called?", "/forget the lift is serviced every March", "/help", "/quit"]  # fmt: skip
    said = newcomer.run(line, "\n".join(keys) + "\n")
    first, _, rest = said.partition("> no, the office dog")
    assert "Biscuit" in first and "office.md" in first and "Noted: good." in first and "Noted: not good." in first
    assert "Corrected" in rest and "Crumpet" in rest.split("Corrected", 1)[1]
    assert "Biscuit" in rest.split("> /sources")[1].split("> What")[0], "the evidence of the answer"
    assert "Crumpet" in rest.split("> What is the office dog called?")[1].split("> /forget")[0], "it holds from now on"
    assert "Forgotten" in rest and "/sources" in rest.split("> /help")[1]


def serve(newcomer: Newcomer, line: str, port: int) -> None:
    with newcomer.running(line, f"http://127.0.0.1:{port}") as address:
        question = json.dumps({"question": "When do we close?"}).encode()
        asked = urllib.request.Request(f"{address}/ask", question, {"content-type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as reply:
            assert "18:30" in json.loads(reply.read())["text"]
        assert answers_at(f"{address}/healthz") and b"nightschool_answers_total" in answers_at(f"{address}/metrics")


def worker(newcomer: Newcomer, line: str, port: int) -> None:
    with newcomer.running(line, f"http://127.0.0.1:{port}") as address:
        assert answers_at(f"{address}/healthz")
        until = time.monotonic() + 30  # alive at once, and a moment later connected
        while b"nightschool_database_up 1.0" not in (seen := answers_at(f"{address}/metrics")):
            assert time.monotonic() < until, seen
            time.sleep(0.5)


def test_make_demo_is_nightschool_demo() -> None:
    said = subprocess.run(["make", "-n", "demo"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert re.search(r"nightschool demo\s*$", said, re.M)  # below `make test` it tells of its folder too


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_demo_and_then_the_team_that_it_taught() -> None:
    """README from "Try it" on, in its order, on the packaged model."""
    with TemporaryDirectory(prefix="nightschool-newcomer-") as place:
        newcomer = clone(Path(place).resolve())
        newcomer.environment.pop("OMP_NUM_THREADS")
        if subprocess.run(["make", "-q", ".venv/ready"], cwd=place, capture_output=True).returncode != 0:
            pytest.skip("this environment is not the one of make setup, which make demo would begin with")
        for line in TRY:
            if "make" in line:
                said = newcomer.run(line, seconds=1700)
                assert "The night of" in said and "tokens" in said
                assert "DOCS" in line or ("released a new version" in said and "--team demo-1 chat" in said), said
            else:
                said = newcomer.run(line, "When is the release train?\n/sources\n/quit\n", 120)
                assert re.search(r"(weights|notes).* · answer \d+", said), said


def stop(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Sends a signal to all of a shell's processes, as a terminal does."""
    if process.poll() is None:
        os.killpg(process.pid, number)


def answers_at(address: str) -> bytes:
    """What is there; nothing where nobody answers, or with an error."""
    try:
        with urllib.request.urlopen(address, timeout=10) as reply:
            return bytes(reply.read()) or b"empty"
    except OSError:
        return b""
