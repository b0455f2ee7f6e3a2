"""Candidates become serving versions, and serving versions step back: each switch is one transaction."""

from pathlib import Path

from learner.exam.exam import Results
from storage import adapters, exams, memories
from storage.adapter_files import AdapterFiles
from storage.adapters import Adapter, Version
from storage.database import Database
from storage.errors import VersionUnusable
from storage.memories import Memory
from storage.teams import Team

_GONE = ("asked", "retracted")
"""Why a memory must leave the weights for good: somebody asked, or what it came from was deleted or taken back."""


async def register(
    database: Database,
    team: Team,
    adapter: Adapter,
    files: AdapterFiles,
    candidate: Path,
    *,
    base_model: str,
    night_id: int,
    memory_ids: list[int],
) -> Version:
    """Stores the candidate's files and its registry row (state `candidate`). Raises AdapterNotStored; nothing half done."""
    stored = await files.put(
        candidate,
        f"{team.key}/{adapter.scope}-{adapter.id}/night-{night_id}",
        {"base_model": base_model, "team": team.key, "adapter": adapter.id, "night": night_id},
    )
    async with database.team(team.id) as connection:
        return await adapters.register(
            connection,
            adapter.id,
            base_model=base_model,
            uri=stored.uri,
            sha256=stored.sha256,
            bytes=stored.bytes,
            night_id=night_id,
            memory_ids=memory_ids,
        )


async def decide(database: Database, team: Team, version: Version, night_id: int, results: Results) -> bool:
    """Puts an examined version to work, or refuses it; the ledger's states follow in the same transaction."""
    async with database.team(team.id) as connection:
        await exams.save(connection, night_id, version.id, results.as_dict(), results.passed)
        if not results.passed:
            await adapters.refuse(connection, version.id, "; ".join(results.reasons))
            return False
        await adapters.switch(connection, version.id)
        before = await memories.of_states(connection, ["learnt"])
        gone = [memory.id for memory in before if memory.id not in set(results.known)]
        await memories.set_state(connection, gone, "noted")
        await memories.set_state(connection, results.failed, "studied")
        await memories.set_state(connection, results.known, "learnt")
        return True


async def withdraw(database: Database, team: Team, adapter: Adapter) -> None:
    """Takes the serving version from work where nothing is left that it should know; the notes answer until the next one."""
    async with database.team(team.id) as connection:
        if await adapters.withdraw(connection, adapter.id) is not None:
            learnt = await memories.of_states(connection, ["learnt"])
            await memories.set_state(connection, [memory.id for memory in learnt], "noted")


async def erase(database: Database, team: Team, files: AdapterFiles) -> list[Memory]:
    """Marks every version but the serving one that holds something forgotten or deleted as erased and removes its files.

    What is merely overridden or edited erases nothing, else no version could ever be rolled back to. Returns the
    memories that this took from the last version that held them. Files that a killed night left are removed too.
    """
    async with database.team(team.id) as connection:
        gone = [m for m in await memories.of_states(connection, ["forgotten", "retracted"]) if m.reason in _GONE]
        erased = await adapters.erase(connection, [memory.id for memory in gone])
        every = [v for a in await adapters.all(connection) for v in await adapters.versions(connection, a.id)]
    for version in every:
        if version.state == "erased":
            await files.remove(version.uri)
    held = {number for version in erased for number in version.memory_ids}
    kept = {number for version in every if version.state == "serving" for number in version.memory_ids}
    return [memory for memory in gone if memory.id in held - kept]


async def rollback(database: Database, team: Team, adapter_id: int, number: int | None = None) -> Version:
    """Puts an earlier version back to work, the one before or version `number`; the ledger goes back with it.

    Raises VersionUnusable: refused, erased, never examined, or not there.
    """
    async with database.team(team.id) as connection:
        version = await adapters.rollback(connection, adapter_id, number)
        exam = await exams.of_version(connection, version.id)
        if exam is None or not exam.passed:
            raise VersionUnusable(
                f"Version {version.number} has passed no exam; it cannot go to work. Choose another one of "
                "`nightschool adapters`."
            )
        known = {int(i) for i in exam.results.get("known", [])}
        learnt = await memories.of_states(connection, ["learnt"])
        await memories.set_state(connection, [m.id for m in learnt if m.id not in known], "noted")
        wanted = await memories.of_states(connection, ["noted", "studied"])
        await memories.set_state(connection, [m.id for m in wanted if m.id in known], "learnt")
        return version
