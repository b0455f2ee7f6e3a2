"""What a person sees of their colleague at a glance, read from storage."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from bot.overview import Conflict, Connected, Correction, LastNight, Learnt, Overview, Place, Switches, Works
from bot.settling import conflicts
from learner.study import select
from learner.study.redact import withheld
from storage import adapters, answers, audiences, channels, memories, nights, persons, sources
from storage.adapters import Version
from storage.database import Connection, Database
from storage.memories import Memory
from storage.nights import Night
from storage.teams import Team

_LEARNT = 20
_UNANSWERED = 10
_UNANSWERED_FOR = timedelta(days=14)
_CORRECTIONS = 50


async def overview(database: Database, team: Team, person_id: int, *, admin: bool) -> Overview:
    """All of it for one person, and only what that person may know; what an admin sees besides where `admin`."""
    zone = ZoneInfo(team.timezone)
    async with database.team(team.id) as connection:
        allowed = await audiences.visible(connection, person_id, None)
        everyone = (await audiences.whole_team(connection)).id
        person = await persons.get(connection, person_id)
        own = person.settings if person else {}
        unsettled = await conflicts(connection, allowed)
        learnt = await memories.learnt(connection, allowed, _LEARNT)
        since = datetime.now(UTC) - _UNANSWERED_FOR
        return Overview(
            learnt=[Learnt(statement, at.astimezone(zone).date()) for statement, at in learnt],
            conflicts=unsettled,
            unanswered=await answers.unanswered(connection, person_id, everyone, allowed, since, _UNANSWERED),
            corrections=await _corrections(connection, person_id, allowed, everyone, unsettled),
            switches=Switches(studied=own.get("study", True), named=own.get("name", True)),
            works=await _works(connection, zone, allowed) if admin else None,
        )


async def _corrections(
    connection: Connection, person_id: int, allowed: Sequence[int], everyone: int, unsettled: Sequence[Conflict]
) -> list[Correction]:
    told = await memories.told_by(connection, person_id, allowed, _CORRECTIONS)
    over = await memories.of_ids(connection, [memory.superseded_by for memory in told if memory.superseded_by])
    newer = {memory.id: memory.statement for memory in over if memory.audience_id in allowed}
    against = {one.held_back.memory_id: one.kept.statement for one in unsettled}
    return [_fate(memory, everyone, newer, against) for memory in told]


def _fate(memory: Memory, everyone: int, newer: Mapping[int, str], against: Mapping[int, str]) -> Correction:
    said = memory.statement
    if memory.reason is not None:
        return Correction(said, "overridden", newer.get(memory.superseded_by or 0, ""))
    if memory.conflict is not None:
        return Correction(said, "disputed", against.get(memory.id, ""))
    if memory.state == "learnt":
        return Correction(said, "learnt")
    # A secret is asked for here too: it is only tonight that it is marked, and studied it will not be.
    studied = select.may_train(memory, everyone) and withheld(f"{memory.context}\n{said}") is None
    return Correction(said, "tonight" if studied else "kept")


async def _works(connection: Connection, zone: ZoneInfo, allowed: Sequence[int]) -> Works:
    adapter = await adapters.ensure(connection)
    serving = await adapters.serving(connection, adapter.id)
    night = await nights.latest(connection, adapter.id)
    members = await channels.members(connection)
    return Works(
        places=[
            # What a private channel is called is its members' to know, whoever is an admin.
            Place(one.name if one.audience_id in allowed else "", one.follow, members[one.surface, one.key])
            for one in await channels.all(connection)
            if one.kind != "direct"
        ],
        sources=[
            Connected(one.id, one.kind, one.name, one.retrieval, one.training) for one in await sources.all(connection)
        ],
        night=_last(night, serving, zone) if night else None,
    )


def _last(night: Night, serving: Version | None, zone: ZoneInfo) -> LastNight:
    return LastNight(
        state=night.state,
        verdict=night.report.get("verdict") or night.error or "",
        started_at=night.started_at.astimezone(zone),
        version=serving.number if serving else None,
    )
