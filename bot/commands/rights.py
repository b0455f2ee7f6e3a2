"""Commands of rights: what each source may be used for, and whose word weighs more."""

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
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: Slack's terms are known and allow it.")] = False,
) -> None:
    """The sources with what was read, when, and their two switches; or, with a source's number, set those.

    To let nights study what is said in Slack asks whether Slack's terms allow it.

    Example: nightschool sources 3 --training off --retrieval on
    """
    chosen = {name: value for name, value in (("retrieval", retrieval), ("training", training)) if value is not None}
    if number is None and chosen:
        raise typer.BadParameter("say which source: its number, as nightschool sources lists it", param_hint="NUMBER")

    async def work(settings: Settings) -> None:
        from bot.assembly import ensure_team, open_database
        from bot.wording import SLACK_TERMS
        from storage import sources as places

        async with open_database(settings) as database:
            team = await ensure_team(settings, database)
            if training is Switch.on and not yes:
                async with database.team(team.id) as connection:
                    asked = [one for one in await places.all(connection) if one.id == number and one.kind == "slack"]
                if asked and not asked[0].training:
                    out.print(SLACK_TERMS, soft_wrap=True)
                    typer.confirm("Let the nights study what is said in Slack?", abort=True)
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


class Role(StrEnum):
    """A role, as --role takes it."""

    member = "member"
    admin = "admin"


def people(
    context: typer.Context,
    number: Annotated[int | None, typer.Argument(help="A person's number, as listed.")] = None,
    role: Annotated[Role | None, typer.Option(help="An admin's correction outweighs a member's.")] = None,
) -> None:
    """The people it knows, by which way they come, and their roles; or, with a person's number, set the role.

    Example: nightschool people 2 --role admin
    """
    if number is None and role is not None:
        raise typer.BadParameter("say whose: the number, as nightschool people lists it", param_hint="NUMBER")

    async def work(settings: Settings) -> None:
        from bot.assembly import ensure_team, open_database
        from storage import persons
        from storage.errors import NotFound

        async with open_database(settings) as database:
            team = await ensure_team(settings, database)
            async with database.team(team.id) as connection:
                if number is not None and role is not None:
                    await persons.set_role(connection, number, role.value)
                found = [person for person in await persons.all(connection) if number in (None, person.id)]
                surfaces = await persons.surfaces(connection)
        if number is not None and not found:
            raise NotFound(
                f"There is no person with the number {number} in this team. `nightschool people` lists them."
            )
        if not found:
            out.print("Nobody yet: people are noted when they ask, rate or correct, and as authors of what is synced.")
            return
        table = Table("no.", "name", "by", "role")
        for person in found:
            words = Text(person.role, style="bold" if person.role == Role.admin else "")
            table.add_row(str(person.id), Text(person.name), Text(", ".join(surfaces.get(person.id, []))), words)
        out.print(table)
        if role is Role.admin:
            out.print(
                "From the next night on this person's corrections outweigh members' that say otherwise.", soft_wrap=True
            )
        elif role is Role.member:
            out.print("From the next night on this person's corrections weigh as those of any member.", soft_wrap=True)

    run(context, work)


def _synced(at: datetime | None, error: str | None) -> Text:
    """When a source was last read whole, and whether the attempt after it failed."""
    return Text(f"{at:%Y-%m-%d %H:%M}" if at else "never").append(", then failed" if error else "", style="yellow")
