"""Which memories an answer told, for whoever asks why."""

from storage import audiences, memories
from storage.answers import Answer
from storage.database import Connection
from storage.memories import Memory


async def told(connection: Connection, answer: Answer, person_id: int | None) -> list[Memory]:
    """The memory that an answer told; of several those that still stand, which its sources quote, and the person may know."""
    if answer.memory_id is None:
        return []
    quoted = {source.quote for source in answer.sources}
    if len(quoted) < 2:
        return await memories.of_ids(connection, [answer.memory_id])
    allowed = await audiences.visible(connection, person_id, None)
    standing = await memories.of_states(connection, ["noted", "studied", "learnt"])
    return [memory for memory in standing if memory.statement in quoted and memory.audience_id in allowed]
