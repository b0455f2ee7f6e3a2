"""Two people's words that contradict each other: shown until somebody settles which one holds."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from bot.overview import Conflict, Side
from storage import audiences, memories, persons
from storage.database import Connection, Database
from storage.errors import NightschoolError, NotFound
from storage.memories import Memory
from storage.teams import Team


class NotYours(NightschoolError):
    """This is another person's to decide: ask that person, or an admin."""


class NothingToSettle(NightschoolError):
    """These two do not contradict each other any more: nothing was changed. Correct what is wrong by a reply to an answer."""


async def conflicts(
    connection: Connection, allowed: Sequence[int], unnamed: AbstractSet[int] = frozenset()
) -> list[Conflict]:
    """What is to settle, both sides of which these audiences may know, newest first; `unnamed` persons without a name."""

    def side(memory: Memory) -> Side:
        return Side(memory.id, memory.statement, "" if memory.person_id in unnamed else memory.author)

    found = await memories.disputes(connection, allowed)
    return [Conflict(kept=side(stands), held_back=side(other)) for stands, other in found]


async def unnamed(connection: Connection) -> set[int]:
    """Who does not want to be named."""
    return {person.id for person in await persons.all(connection) if not person.settings.get("name", True)}


async def dispute_of(database: Database, team: Team, memory: Memory) -> Conflict | None:
    """The dispute that a memory is in, for those who may know the memory; of several the newest. None: nobody says otherwise."""
    async with database.team(team.id) as connection:
        found = await conflicts(connection, [memory.audience_id], await unnamed(connection))
    return next((one for one in found if memory.id in (one.kept.memory_id, one.held_back.memory_id)), None)


async def settle(
    database: Database, team: Team, keep: int, drop: int, person_id: int, *, admin: bool = False
) -> Memory:
    """Decides between two memories that contradict: `keep` stands, `drop` gives way to it for good.

    An admin decides, or the author of `drop`, who gives way. Who is one by `nightschool people` is known here; `admin`: the
    surface says that this person is one there, now. Returns the one that stands: the other one where
    somebody had settled it that way before. Raises NotFound, NothingToSettle, NotYours.
    """
    async with database.team(team.id) as connection:
        open_still = await memories.disputed(connection, keep, drop)
        allowed = await audiences.visible(connection, person_id, None)
        found = {m.id: m for m in await memories.of_ids(connection, [keep, drop]) if m.audience_id in allowed}
        for number in (keep, drop):
            if number not in found:
                raise NotFound(
                    f"I know no memory {number}: somebody may have removed it. Look at what is to settle anew."
                )
        kept, dropped = found[keep], found[drop]
        if not open_still:
            return _settled(kept, dropped)
        person = await persons.get(connection, person_id)
        admin = admin or (person is not None and person.role == "admin")
        if not admin and dropped.person_id != person_id:
            raise NotYours(
                f"An admin settles this, or {dropped.author or 'who said the other'} gives way: one does not decide for "
                "one's own word against another's."
            )
        await memories.settle(connection, keep, drop)
        [kept] = await memories.of_ids(connection, [keep])
    return kept


def _settled(one: Memory, other: Memory) -> Memory:
    """The one that stands of two that were settled before. Raises NothingToSettle."""
    for stands, gone in ((one, other), (other, one)):
        if stands.reason is None and gone.superseded_by == stands.id:
            return stands
    raise NothingToSettle
