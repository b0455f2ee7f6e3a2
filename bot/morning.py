"""The morning report on its way to surfaces: who is to post it where, and what of it may be shown there."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from bot.overview import Conflict
from bot.settling import conflicts, unnamed
from storage import adapters, audiences, events, memories, nights, teams
from storage.database import Database
from storage.events import NewEvent
from storage.nights import Night
from storage.teams import Team

LANE = KIND = "report"
"""Lane and kind of the event that says: post the report of the night `night` in the channel `channel`."""


async def announce(database: Database, team: Team, night: Night) -> None:
    """Tells the surfaces where the team wants its report that this night is over, once however often it is called.

    Not of a night that goes on, nor of one that had nothing to tell.
    """
    uneventful = night.state == "empty" and not (night.report.get("forgotten") or night.report.get("conflicts"))
    if night.state == "running" or uneventful:
        return
    async with database.system() as connection:  # somebody may have chosen another place since the night began
        now = await teams.get(connection, team.key)
    new = [
        NewEvent(surface, f"night-{night.id}", LANE, KIND, {"night": night.id, "channel": channel})
        for surface, channel in (now or team).settings.get("report", {}).items()
    ]
    if new:
        async with database.team(team.id) as connection:
            await events.store(connection, new)


@asynccontextmanager
async def announced(
    database: Database, team: Team, final: Callable[[Exception], bool] = lambda error: True
) -> AsyncIterator[None]:
    """Announces the night that is held within, however it ends; one that failed only if that is `final`."""
    before = await _latest(database, team)
    try:
        yield
    except Exception as error:
        if final(error):
            after = await _latest(database, team)
            if after is not None and after != before:  # else it never began
                await announce(database, team, after)
        raise
    held = await _latest(database, team)
    if held is not None:
        await announce(database, team, held)


async def set_report_place(database: Database, team: Team, surface: str, channel: str | None) -> Team:
    """Chooses where on a surface the team's morning report is posted, None: nowhere; returns the team as it is now."""
    async with database.system() as connection:
        return await teams.choose(connection, team.id, "report", surface, channel)


async def unsettled(database: Database, team: Team) -> list[Conflict]:
    """What is to settle, as the whole team may see it; who does not want to be named is not."""
    async with database.team(team.id) as connection:
        everyone = await audiences.whole_team(connection)
        return await conflicts(connection, [everyone.id], await unnamed(connection))


async def honoured(database: Database, team: Team, night: Night) -> Night:
    """The night as the whole team may see it, now: what was forgotten or narrowed since is gone, and so are the names of
    those who do not want to be named, what the steps left, and why it failed.
    """
    report = night.report
    old_and_new = [pair[side] for pair in report.get("overridden", []) for side in ("old", "new")]
    lines = [*old_and_new, *(line for name in ("learnt", "not_yet", "corrected") for line in report.get(name, []))]
    async with database.team(team.id) as connection:
        everyone = await audiences.whole_team(connection)
        nameless = await unnamed(connection)
        found = await memories.saying(connection, lines, everyone.id)
    told = {memory.statement for memory in found}
    stands = {memory.statement for memory in found if memory.reason is None}
    corrected: dict[str, str] = {}
    for memory in found:
        if memory.kind == "correction" and memory.reason is None:
            line = f"{memory.statement} ({memory.author})" if memory.author else memory.statement
            if memory.person_id in nameless:
                corrected[line] = memory.statement
            else:
                corrected.setdefault(line, line)
    allowed: dict[str, Any] = {
        "learnt": [line for line in report.get("learnt", []) if line in stands],
        "not_yet": [line for line in report.get("not_yet", []) if line in stands],
        "corrected": [corrected[line] for line in report.get("corrected", []) if line in corrected],
        "overridden": [pair for pair in report.get("overridden", []) if pair["old"] in told and pair["new"] in stands],
        "conflicts": [_words(one) for one in await unsettled(database, team)],
    }
    shown_report = report | {name: lines for name, lines in allowed.items() if name in report}
    return replace(night, report=shown_report, steps={}, error=None)


async def _latest(database: Database, team: Team) -> Night | None:
    async with database.team(team.id) as connection:
        return await nights.latest(connection, (await adapters.ensure(connection)).id)


def _words(conflict: Conflict) -> str:
    kept, other = (f"{side.author or 'somebody'}: “{side.statement}”" for side in (conflict.kept, conflict.held_back))
    return f"{kept} against {other} (held back)"
