"""What every source has in common: it can be brought up to date, and says what that changed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from storage.database import Database

# Called with what is at hand ("travel.md"), how many are done, and of how many (None: not known).
Progress = Callable[[str, int, int | None], None]


def silent(item: str, done: int, total: int | None) -> None:
    """A progress callback that tells nobody."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """One thing that could not be read: `key` names it in its source, `why` says what is wrong and what to do."""

    key: str
    why: str


@dataclass(slots=True)
class Synced:
    """What one sync did, counted in documents or messages."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)


class Connector(Protocol):
    """A source of one kind."""

    kind: str

    async def sync(self, database: Database, team_id: int, progress: Progress = silent) -> Synced:
        """Brings storage up to date with the source; raises a NightschoolError where the source as a whole is out of
        reach, in which case nothing was changed."""
        ...
