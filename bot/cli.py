"""`nightschool`: the commands, and what may be said before them. Each command's work is in bot/commands/."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from bot.commands import learn, operate, rights, surfaces, talk
from bot.commands.start import Call

app = typer.Typer(
    name="nightschool",
    help="A team's AI colleague that remembers in its weights.\n\n"
    "Begin with [bold]nightschool sync FOLDER[/bold], then [bold]nightschool chat[/bold], and let it sleep on it: "
    "[bold]nightschool night[/bold]. [bold]nightschool doctor[/bold] says what is missing.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # they would show people's words and passwords
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def before(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="The settings file; without it ./nightschool.toml if it is there.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="The team to speak for (setting `team`).")] = None,
    data_folder: Annotated[Path | None, typer.Option(help="Where everything is kept (setting `data_folder`).")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks and all log lines.")] = False,
) -> None:
    overrides: dict[str, Any] = {"team": team, "data_folder": data_folder}
    context.obj = Call(config, {k: v for k, v in overrides.items() if v is not None}, debug)


TALK, LEARN, OPERATE = "Talk to it", "Let it learn", "Run it"

app.command(rich_help_panel=TALK)(talk.ask)
app.command(rich_help_panel=TALK)(talk.chat)
app.command(rich_help_panel=TALK)(talk.memories)
app.command(rich_help_panel=TALK)(talk.forget)
app.command(rich_help_panel=TALK)(talk.feedback)
app.command(rich_help_panel=LEARN)(learn.sync)
app.command(rich_help_panel=LEARN)(rights.sources)
app.command(rich_help_panel=LEARN)(learn.night)
app.command(rich_help_panel=LEARN)(learn.report)
app.command(rich_help_panel=LEARN)(learn.adapters)
app.command(rich_help_panel=LEARN)(learn.rollback)
app.command(rich_help_panel=OPERATE)(rights.people)
app.command(rich_help_panel=OPERATE)(surfaces.emoji)
app.add_typer(surfaces.slack, name="slack", rich_help_panel=OPERATE)
app.command(rich_help_panel=OPERATE)(operate.serve)
app.command(rich_help_panel=OPERATE)(operate.worker)
app.command(rich_help_panel=OPERATE)(operate.doctor)
app.command(rich_help_panel=OPERATE)(operate.demo)


def main() -> None:
    """The program's entry."""
    # Said before any library is imported: our own bars tell what goes on, theirs would run across answers.
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app()


if __name__ == "__main__":
    main()
