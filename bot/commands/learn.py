"""Commands of learning: sync, night, report, adapters, rollback."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from bot.commands.start import out, progress, run
from bot.settings import Settings
from storage.errors import NightschoolError

if TYPE_CHECKING:
    from connectors.connector import Connector, Synced
    from storage.database import Database


class NoSources(NightschoolError):
    """No source is connected yet: nightschool sync FOLDER reads a folder and remembers it."""


class NoNight(NightschoolError):
    """There has been no night yet: nightschool night runs one now."""


def sync(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="A folder of documents; it is remembered.")] = None,
    chat: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A conversation: JSON lines of id, channel, private, author, at, text."),
    ] = None,
) -> None:
    """Read what is new in a folder or a conversation; without either, in all sources read before.

    Example: nightschool sync ~/handbook --chat chat.jsonl
    """

    async def work(settings: Settings) -> None:
        from bot.assembly import assembled
        from learner import notes

        async with assembled(settings) as school:
            connectors = _named(folder, chat) or await _known(school.database, school.team.id)
            done: list[tuple[str, Synced]] = []
            broken: list[NightschoolError] = []
            with progress() as line:
                for name, connector in connectors:

                    def tell(item: str, at: int, total: int | None, name: str = name) -> None:
                        line(f"reading {name}", at, total, item)

                    try:
                        done.append((name, await connector.sync(school.database, school.team.id, tell)))
                        line(f"reading {name}", 1, 1, "")
                    except NightschoolError as error:
                        if len(connectors) == 1:
                            raise
                        broken.append(error)  # one folder that is away does not keep the others from being read
                made = 0
                # Asked without the model, so that a sync without news is quick.
                if await notes.waiting(school.database, school.team, await school.embedder_name()):
                    line("making notes", 0, None, "")
                    made = await notes.index(
                        school.database,
                        school.team,
                        await school.embedder(),
                        lambda at, total: line("making notes", at, total, f"{at} of {total} documents and messages"),
                    )
        _show_synced(done, made)
        if broken:
            raise NightschoolError("\n".join(str(error) for error in broken))

    run(context, work)


def night(
    context: typer.Context,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Training budget in minutes (setting `learning.night_minutes`).")
    ] = None,
) -> None:
    """Run a night now: study what is new, sit the exam, and release the new version if it passes.

    Example: nightschool night --minutes 10
    """

    async def work(settings: Settings) -> None:
        from bot import morning
        from bot.assembly import assembled
        from bot.report import card
        from learner import night as nightly

        learning = settings.learning
        if minutes is not None:
            learning = learning.model_copy(update={"night_minutes": minutes})
        async with assembled(settings) as school:
            with progress() as line:
                line("waking up", None, None, "")
                engine, embedder, base = await school.engine(), await school.embedder(), await school.base()
                line("waking up", 1, 1, "")
                async with morning.announced(school.database, school.team):
                    slept = await nightly.run(
                        school.database,
                        school.team,
                        engine=engine,
                        embedder=embedder,
                        files=school.files,
                        folder=settings.nights_folder,
                        base=base,
                        learning=learning,
                        progress=lambda step, share, remark: line(step, share, 1, remark),
                    )
        out.print(card(slept))

    run(context, work, shown=True)


def report(
    context: typer.Context,
    full: Annotated[bool, typer.Option("--full", help="Every item of every list.")] = False,
) -> None:
    """The report card of the latest night: learnt, corrected, refused, cost.

    Example: nightschool report --full
    """

    async def work(settings: Settings) -> None:
        from bot.assembly import ensure_team, open_database
        from bot.report import SHOWN, card
        from storage import adapters, nights

        async with open_database(settings) as database:
            team = await ensure_team(settings, database)
            async with database.team(team.id) as connection:
                latest = await nights.latest(connection, (await adapters.ensure(connection)).id)
        if latest is None:
            raise NoNight
        out.print(card(latest, 10**6 if full else SHOWN))

    run(context, work)


def adapters(context: typer.Context) -> None:
    """The adapter's versions: which is at work, how large, what it knows, how its exam went.

    Example: nightschool adapters
    """

    async def work(settings: Settings) -> None:
        from bot.assembly import ensure_team, open_database
        from storage import adapters as registry
        from storage import exams

        async with open_database(settings) as database:
            team = await ensure_team(settings, database)
            async with database.team(team.id) as connection:
                adapter = await registry.ensure(connection)
                table = Table("version", "state", "made", "memories", "size", "exam")
                versions = sorted(await registry.versions(connection, adapter.id), key=lambda v: v.number, reverse=True)
                for version in versions:
                    exam = await exams.of_version(connection, version.id)
                    table.add_row(
                        str(version.number),
                        Text(version.state, style="bold green" if version.state == "serving" else ""),
                        f"{version.created_at:%Y-%m-%d %H:%M}",
                        f"{len(version.memory_ids):,}",
                        f"{version.bytes / 2**20:.1f} MiB",
                        "-" if exam is None else "passed" if exam.passed else "failed",
                    )
        if versions:
            out.print(table)
        else:
            out.print("No versions yet: nightschool night makes the first.")

    run(context, work)


def rollback(
    context: typer.Context,
    number: Annotated[int | None, typer.Argument(help="The version to go back to; without it the one before.")] = None,
) -> None:
    """Put an earlier version back to work, at once and without a restart.

    Example: nightschool rollback 3
    """

    async def work(settings: Settings) -> None:
        from bot.assembly import ensure_team, open_database
        from learner import release
        from storage import adapters as registry

        async with open_database(settings) as database:
            team = await ensure_team(settings, database)
            async with database.team(team.id) as connection:
                adapter = await registry.ensure(connection)
            version = await release.rollback(database, team, adapter.id, number)
        out.print(f"Version {version.number} is at work again.")

    run(context, work)


def _named(folder: Path | None, chat: Path | None) -> list[tuple[str, "Connector"]]:
    from connectors.conversation import ConversationConnector
    from connectors.files import FilesConnector

    named: list[tuple[str, Connector]] = []
    if folder is not None:
        named.append((folder.name or str(folder), FilesConnector(folder)))
    if chat is not None:
        named.append((chat.name, ConversationConnector(chat)))
    return named


async def _known(database: "Database", team_id: int) -> list[tuple[str, "Connector"]]:
    from storage import sources

    async with database.team(team_id) as connection:
        known = await sources.all(connection)
    paths = [(source.kind, Path(source.key)) for source in known]
    found = [
        one
        for kind, path in paths
        for one in _named(path if kind == "files" else None, path if kind == "conversation" else None)
    ]
    if not found:
        raise NoSources
    return found


def _show_synced(done: list[tuple[str, "Synced"]], passages: int) -> None:
    table = Table("source", "new", "changed", "removed", "unchanged", "skipped")
    for name, synced in done:
        numbers = (synced.added, synced.changed, synced.removed, synced.unchanged, len(synced.skipped))
        table.add_row(Text(name), *(f"{n:,}" for n in numbers))
    out.print(table)
    for _, synced in done:
        for skipped in synced.skipped:
            out.print(Text(f"  skipped {skipped.key}: {skipped.why}", style="yellow"), soft_wrap=True)
    out.print(f"{passages:,} passages added to the notes.", style="dim")
