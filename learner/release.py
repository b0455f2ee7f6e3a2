"""Candidates become serving versions, and serving versions step back: each switch is one transaction."""

from pathlib import Path

from learner.exam.exam import Results
from storage import adapters, exams, memories
from storage.adapter_files import AdapterFiles
from storage.adapters import Adapter, Version
from storage.database import Database
from storage.teams import Team


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


async def rollback(database: Database, team: Team, adapter_id: int, number: int | None = None) -> Version:
    """Puts an earlier version back to work, the one before or version `number`; the ledger goes back with it."""
    async with database.team(team.id) as connection:
        version = await adapters.rollback(connection, adapter_id, number)
        exam = await exams.of_version(connection, version.id)
        known = {int(i) for i in exam.results.get("known", [])} if exam else set()
        learnt = await memories.of_states(connection, ["learnt"])
        await memories.set_state(connection, [m.id for m in learnt if m.id not in known], "noted")
        wanted = await memories.of_states(connection, ["noted", "studied"])
        await memories.set_state(connection, [m.id for m in wanted if m.id in known], "learnt")
        return version
