"""Commands of rights: what each source may be used for."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from bot.commands.start import out, run
from bot.settings import Settings


class Switch(StrEnum):
    """A switch, as --retrieval and --training take it."""

    on = "on"
    off = "off"


_FOLLOWS = {
    ("retrieval", Switch.on): "Retrieval is on: it may be quoted and spoken from now on.",
    ("retrieval", Switch.off): "Retrieval is off: nothing of it is quoted or spoken from now on.",
    ("training", Switch.on): "Training is on: the next night may study it.",
    ("training", Switch.off): "Training is off: the next night takes it out of the weights; until then the version at "
    "work still knows it.",
}


def sources(
    context: typer.Context,
    number: Annotated[int | None, typer.Argument(help="A source's number, as listed.")] = None,
    retrieval: Annotated[Switch | None, typer.Option(help="Whether it may be quoted and spoken.")] = None,
    training: Annotated[Switch | None, typer.Option(help="Whether the nights may study it.")] = None,
) -> None:
    """The sources with what was read, when, and their two switches; or, with a source's number, set those.

    Example: nightschool sources 3 --training off --retrieval on
    """
    chosen = {name: value for name, value in (("retrieval", retrieval), ("training", training)) if value is not None}
    if number is None and chosen:
        raise typer.BadParameter("say which source: its number, as nightschool sources lists it", param_hint="NUMBER")

    async def work(settings: Settings) -> None:
        from bot.assembly import ensure_team, open_database
        from storage import sources as places

        async with open_database(settings) as database:
            team = await ensure_team(settings, database)
            async with database.team(team.id) as connection:
                if number is not None:
                    switches = {name: value is Switch.on for name, value in chosen.items()}
                    found = [await places.switch(connection, number, **switches)]
                else:
                    found = await places.all(connection)
                held = await places.held(connection)
        if not found:
            out.print("No sources yet: nightschool sync FOLDER reads a folder and remembers it.")
            return
        table = Table("no.", "kind", "where", "items", "last sync", "retrieval", "training")
        for source in found:
            table.add_row(
                str(source.id),
                Text(source.kind),
                Text(source.key, overflow="fold"),
                f"{held.get(source.id, 0):,}",
                _synced(source.synced_at, source.error),
                *(
                    Switch.on if switch else Text(Switch.off, style="yellow")
                    for switch in (source.retrieval, source.training)
                ),
            )
        out.print(table)
        for name, value in chosen.items():
            out.print(_FOLLOWS[name, value], soft_wrap=True)

    run(context, work)


def _synced(at: datetime | None, error: str | None) -> Text:
    """When a source was last read whole, and whether the attempt after it failed."""
    return Text(f"{at:%Y-%m-%d %H:%M}" if at else "never").append(", then failed" if error else "", style="yellow")
