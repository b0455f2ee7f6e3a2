"""Commands of running it: serve, worker, doctor, demo."""

from pathlib import Path
from typing import Annotated

import typer

from bot.commands.start import Call, out, run
from bot.settings import Settings


def serve(context: typer.Context) -> None:
    """Answer over HTTP until told to stop: the local JSON API, /healthz, /readyz and /metrics.

    Example: nightschool serve

    Then: curl localhost:8010/ask -H content-type:application/json -d '{"question": "When do we close?"}'
    """

    async def work(settings: Settings) -> None:
        from bot.serve import serve as serving

        await serving(settings)

    run(context, work, service=True, shown=True)


def worker(context: typer.Context) -> None:
    """Run each team's night at its own hour, until told to stop. Any number of workers may run.

    Example: nightschool worker
    """

    async def work(settings: Settings) -> None:
        from bot.worker import work as working

        await working(settings)

    run(context, work, service=True, shown=True)


def doctor(context: typer.Context) -> None:
    """Check every setting and all that is needed, and say what to do about what is wrong.

    Example: nightschool doctor
    """
    from bot import doctor as examination

    call: Call = context.obj
    raise typer.Exit(examination.examine(call.config, call.overrides, out))


def demo(
    context: typer.Context,
    docs: Annotated[Path | None, typer.Option(help="Your own folder instead of the sample team's.")] = None,
) -> None:
    """The whole loop on a sample team: ask, correct, sleep, and it knows in the morning.

    Example: nightschool demo --docs ~/handbook
    """

    async def work(settings: Settings) -> None:
        from bot import demo as show

        await show.run(settings, docs, out)

    run(context, work)
