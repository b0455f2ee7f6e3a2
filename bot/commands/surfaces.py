"""Commands of the places it talks in: the Slack app's manifest, what emoji mean."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from bot.commands.start import out, run
from bot.settings import Settings

slack = typer.Typer(no_args_is_help=True)


@slack.callback()
def of_slack() -> None:
    """What makes the Slack app; docs/slack.md leads through it.

    Example: nightschool slack manifest
    """


@slack.command()
def manifest(
    url: Annotated[
        str | None, typer.Option(help="The bot's public address, to be installed in many workspaces or over HTTP.")
    ] = None,
    socket: Annotated[
        bool, typer.Option("--socket/--http", help="Over a socket, without a public address; or over HTTP, with one.")
    ] = True,
    name: Annotated[str, typer.Option(help="The app's name in Slack, 35 characters at most.")] = "Nightschool",
) -> None:
    """Print the app's manifest, to be pasted into Slack: https://api.slack.com/apps, Create New App, From a manifest.

    Example: nightschool slack manifest --http --url https://bot.example
    """
    if not socket and url is None:
        raise typer.BadParameter("over HTTP Slack must know where to send: --url https://bot.example", param_hint="url")
    if url is not None and not url.startswith("https://"):
        raise typer.BadParameter("Slack takes only an address that begins with https://", param_hint="url")
    if not 0 < len(name.strip()) <= 35:
        raise typer.BadParameter("Slack takes names of 1 to 35 characters", param_hint="name")
    from bot.slack.manifest import manifest as made

    typer.echo(made(name.strip(), url, socket=socket), nl=False)


class Meaning(StrEnum):
    """What an emoji says of an answer, as --means takes it."""

    up = "up"
    down = "down"
    nothing = "nothing"
    default = "default"


def emoji(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="An emoji's name, say white_check_mark.")] = None,
    means: Annotated[
        Meaning | None, typer.Option(help="What it counts as on an answer; default: as it came, for all teams.")
    ] = None,
) -> None:
    """The emoji that count as a thumb when somebody puts them on an answer; or, with a name, what that one counts as.

    Example: nightschool emoji eyes --means up
    """
    if name is None and means is not None:
        raise typer.BadParameter("say which emoji: its name, as between colons", param_hint="NAME")

    async def work(settings: Settings) -> None:
        from bot import emoji as emojis
        from bot.assembly import ensure_team, open_database

        async with open_database(settings) as database:
            team = await ensure_team(settings, database)
            if name is not None and means is not None:
                says = None if means is Meaning.default else means.value
                team = await emojis.choose(database, team, name, says)
        own = team.settings.get("emoji", {})
        table = Table("emoji", "counts as", "said by")
        for one in [emojis.named(name)] if name is not None else sorted({*emojis.AS_THEY_COME, *own}):
            says = emojis.meanings(team).get(one, "nothing")
            table.add_row(Text(f":{one}:"), says, "the team" if one in own else "default")
        out.print(table)
        if means is not None:
            out.print("Start nightschool serve anew, if it runs, to have it know.", soft_wrap=True)

    run(context, work)
