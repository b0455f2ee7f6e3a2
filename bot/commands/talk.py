"""Commands for people: ask, chat, memories, forget, feedback."""

import uuid
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from bot.commands.start import Call, bounded, err, out, prepare, run
from bot.settings import Settings

if TYPE_CHECKING:
    from storage.memories import Memory

LISTED = 200
"""How many rows a list shows at most; the newest come first."""


class State(StrEnum):
    """The states of a memory, as --state takes them."""

    noted = "noted"
    studied = "studied"
    learnt = "learnt"
    forgotten = "forgotten"
    retracted = "retracted"


def ask(context: typer.Context, question: Annotated[str, typer.Argument(help="What you want to know.")]) -> None:
    """One question, one answer, with its source and cost.

    Example: nightschool ask "When does the office close?"
    """

    async def work(settings: Settings) -> None:
        from bot.answer import Asked
        from bot.assembly import assembled
        from bot.console import SURFACE, Speech, operator

        async with assembled(settings) as school:
            person = await operator(school.database, school.team)
            with err.status("waking up …"):
                colleague = await school.colleague()
            await Speech(out).of(colleague, Asked(question, person.id, None, SURFACE, f"ask-{uuid.uuid4()}"))

    run(context, work)


def chat(context: typer.Context) -> None:
    """Talk with it: answers stream in; + and - rate them; a reply like "no, it's ..." corrects them.

    Example: nightschool chat   (or: nightschool chat < questions.txt)
    """
    import signal

    from anyio.from_thread import start_blocking_portal

    from bot.assembly import assembled
    from bot.console import Chat, converse, operator

    call: Call = context.obj
    with bounded(call):
        settings = call.settings()
        prepare(call, settings)
        # The keyboard has the main thread, where Ctrl-C and readline work as everywhere; the loop lives beside it.
        signal.signal(signal.SIGTERM, _leave)
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(assembled(settings)) as school:
            person = portal.call(operator, school.database, school.team)
            with err.status("waking up …"):
                colleague = portal.call(school.colleague)
                feedbacks = portal.call(school.feedbacks)
            following = portal.start_task_soon(colleague.follow)
            talk = Chat(school.database, school.team, colleague, feedbacks, person, out)
            err.print(Text("Ask anything; /help lists the rest; /quit leaves.", style="dim"))
            try:
                converse(lambda line: portal.start_task_soon(talk.turn, line), settings.folder / "chat_history", out)
            finally:
                following.cancel()


def memories(
    context: typer.Context,
    state: Annotated[
        State | None, typer.Option(help="Only those of this state; without it all that it may use.")
    ] = None,
    search: Annotated[str | None, typer.Option(help="Only those with all of these words.")] = None,
) -> None:
    """What it knows, one memory a line, with its state and where it comes from.

    Example: nightschool memories --state learnt --search "door code"
    """

    async def work(settings: Settings) -> None:
        from bot.assembly import ensure_team, open_database
        from storage import memories as ledger

        usable: list[ledger.State] = ["noted", "studied", "learnt"]

        words = (search or "").casefold().split()
        async with open_database(settings) as database:
            team = await ensure_team(settings, database)
            async with database.team(team.id) as connection:
                found = await ledger.of_states(connection, [state.value] if state else usable)
        found = [m for m in found if all(word in _findable(m) for word in words)]
        if not found:
            none = "No memories yet: nightschool sync FOLDER reads pages, and the night takes memories from them."
            out.print("None like that." if words or state else none)
            return
        show_memories(sorted(found, key=lambda m: m.id, reverse=True)[:LISTED])
        if len(found) > LISTED:
            out.print(f"{LISTED} of {len(found)}: --search narrows them down.", style="dim")

    run(context, work)


def forget(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="A memory's number, or what it says in your words.")],
) -> None:
    """Forget a memory: unspoken from now on, and out of the weights after the next night.

    Example: nightschool forget "the old door code"
    """

    async def work(settings: Settings) -> None:
        from bot.assembly import assembled
        from bot.console import operator

        async with assembled(settings) as school:
            person = await operator(school.database, school.team)
            feedbacks = await school.feedbacks()
            gone = await feedbacks.forget(what, person.id)
        out.print("Forgotten; the next night takes it out of the weights:")
        show_memories(gone)

    run(context, work)


def feedback(
    context: typer.Context,
    answer: Annotated[int | None, typer.Argument(help="The answer's number, as shown below it.")] = None,
    value: Annotated[str | None, typer.Argument(help="up, down, or what would have been right.")] = None,
) -> None:
    """The feedback that stands; or, with an answer's number, give some.

    Example: nightschool feedback 12 "The office closes at six."
    """
    if answer is not None and value is None:
        raise typer.BadParameter("say up, down or the correction after the answer's number", param_hint="VALUE")

    async def give(settings: Settings) -> None:
        from bot.assembly import assembled
        from bot.console import SURFACE, operator
        from bot.settling import dispute_of
        from bot.wording import disputed

        assert answer is not None and value is not None
        async with assembled(settings) as school:
            person = await operator(school.database, school.team)
            feedbacks = await school.feedbacks()
            event = f"feedback-{uuid.uuid4()}"
            if value.strip().casefold() in ("up", "down"):
                await feedbacks.thumbs(answer, person.id, value.strip().casefold() == "up", SURFACE, event)
                out.print(f"Noted on answer {answer}.")
            else:
                memory = await feedbacks.correct(answer, person.id, value, SURFACE, event)
                dispute = await dispute_of(school.database, school.team, memory)
                if memory.conflict is None:
                    out.print(Text(f"Corrected: {memory.statement}"), soft_wrap=True)
                if dispute:
                    out.print(Text(disputed(dispute, memory.id)), soft_wrap=True)

    async def listing(settings: Settings) -> None:
        from bot.assembly import ensure_team, open_database
        from storage import answers, persons
        from storage import feedback as given

        async with open_database(settings) as database:
            team = await ensure_team(settings, database)
            async with database.team(team.id) as connection:
                standing = sorted(await given.standing(connection), key=lambda f: f.created_at, reverse=True)
                table = Table("when", "who", "answer", "question", "feedback")
                for one in standing[:LISTED]:
                    about = await answers.get(connection, one.answer_id) if one.answer_id is not None else None
                    who = await persons.get(connection, one.person_id) if one.person_id is not None else None
                    table.add_row(
                        f"{one.created_at:%Y-%m-%d %H:%M}",
                        Text(who.name if who else "-"),
                        str(one.answer_id),
                        Text(_short(about.question) if about else "-"),
                        Text(one.text or str(one.value)),
                    )
        if standing:
            out.print(table)
        else:
            out.print("No feedback yet: + and - in the chat, or nightschool feedback ANSWER up|down.")

    run(context, listing if answer is None else give)


def show_memories(found: "list[Memory]") -> None:
    """A table of memories."""
    from bot.wording import provenance

    table = Table("no.", "state", "statement", "from")
    for memory in found:
        state = f"{memory.state}, held back" if memory.conflict else memory.state
        dispute = Text(f"\n{memory.conflict}", style="dim") if memory.conflict else ""
        table.add_row(str(memory.id), state, Text.assemble(memory.statement, dispute), Text(provenance(memory)))
    out.print(table)


def _leave(*_: object) -> None:
    raise SystemExit(143)


def _findable(memory: "Memory") -> str:
    return f"{memory.statement} {memory.title or ''} {memory.author or ''}".casefold()


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
