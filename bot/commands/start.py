"""How every command starts, fails and stops: settings, logs, one clear line for an error, the right exit code."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from bot import logs
from bot.settings import BadSettings, Settings
from storage.errors import NightschoolError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Call:
    """What was said before the command's name: --config, --team, --data-folder, --debug."""

    config: Path | None = None
    overrides: dict[str, Any] | None = None
    debug: bool = False

    def settings(self) -> Settings:
        """The settings that hold for this call. Raises BadSettings."""
        return Settings.load(self.config, self.overrides)


def run(
    context: typer.Context, work: Callable[[Settings], Awaitable[None]], *, service: bool = False, shown: bool = False
) -> None:
    """Runs a command's `work` with its settings to the end.

    An error of ours is one line on stderr and exit code 1 (settings: 2), Ctrl-C is 130, SIGTERM 143. A `service` stops
    at SIGTERM in good order, with 0, and logs as its settings say; other commands log warnings only. `shown` prints
    the settings first.
    """
    call: Call = context.obj
    with bounded(call):
        settings = call.settings()
        prepare(call, settings, service=service)
        if shown:
            show(settings)
        try:
            asyncio.run(_until_told(work(settings)))
        except _Terminated:
            raise typer.Exit(0 if service else 143) from None


@contextlib.contextmanager
def bounded(call: Call) -> Iterator[None]:
    """Turns what goes wrong within into a line on stderr and an exit code; with --debug, into a traceback."""
    try:
        yield
    except NightschoolError as error:
        if call.debug:
            err.print_exception()
        for line in str(error).splitlines():
            err.print(Text.assemble(("✗ ", "bold red"), line), soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, BadSettings) else 1) from None
    except BrokenPipeError:
        # Whoever read our output has left (`nightschool memories | head`): nothing more to say, and no noise at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        err.print("Stopped.", style="dim")
        raise typer.Exit(130) from None
    except OSError as error:
        if call.debug:
            err.print_exception()
        where = f" ({error.filename})" if error.filename else ""
        err.print(Text.assemble(("✗ ", "bold red"), f"{error.strerror or error}{where}"), soft_wrap=True)
        raise typer.Exit(1) from None


def prepare(call: Call, settings: Settings, *, service: bool = False) -> None:
    """Sets up the logs: all that the settings ask for in a service, warnings in a command that somebody watches."""
    level = settings.log_level
    if call.debug:
        level = "debug"
    elif not service and level == "info":
        level = "warning"
    logs.configure(level, settings.log_format)


def show(settings: Settings) -> None:
    """Prints every setting, dimly, with where it came from."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), style="dim")
    for name, value, origin in settings.resolved():
        table.add_row(Text(name), Text(value, overflow="fold"), Text(origin))
    err.print(table, style="dim")


Line = Callable[[str, float | None, float | None, str], None]


@contextlib.contextmanager
def progress() -> Iterator[Line]:
    """Progress bars on stderr: call with a line's name, how much is done, of how much (None: unknown), and a remark.

    Without a terminal each line is written when it begins, and with its remark when it is done.
    """
    if not err.is_terminal:
        stages: dict[str, int] = {}

        def write(name: str, done: float | None, total: float | None, remark: str) -> None:
            stage = 2 if total and done and done >= total else 1
            if stages.get(name, 0) < stage and (stage == 1 or remark or name not in stages):
                err.print(Text(f"{name} {remark}".rstrip(), style="dim"), soft_wrap=True)
            stages[name] = max(stage, stages.get(name, 0))

        yield write
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[remark]}"),
    )
    with Progress(*columns, console=err) as bars:
        lines: dict[str, TaskID] = {}

        def draw(name: str, done: float | None, total: float | None, remark: str) -> None:
            if name not in lines:
                lines[name] = bars.add_task(name, total=total, remark="")
            bars.update(lines[name], completed=done or 0, total=total, remark=escape(remark))

        yield draw


class _Terminated(Exception):
    """SIGTERM came."""


async def _until_told(work: Awaitable[None]) -> None:
    # SIGTERM does what Ctrl-C does: cancels the work, so that all is closed and nothing is left half done.
    told = False
    task = asyncio.current_task()
    assert task is not None

    def heed() -> None:
        nonlocal told
        told = True
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heed)
    try:
        await work
    except asyncio.CancelledError:
        if told:
            raise _Terminated from None
        raise
