"""What a team says becomes findable while it is being said."""

import asyncio
from typing import TYPE_CHECKING

import structlog

from bot import metrics
from bot.probes import AWAY
from storage.database import Database
from storage.teams import Team

if TYPE_CHECKING:
    from learner.engine.embedder import Embedder

log = structlog.get_logger(__name__)

INDEX_SECONDS = 1.0
"""How long it waits for more that is said before it indexes."""


class Indexing:
    """Indexes what a team says as it is said, some of it at a time: `soon` after something came in."""

    def __init__(self, database: Database, team: Team, embedder: "Embedder") -> None:
        self._database = database
        self._team = team
        self.embedder = embedder
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    def soon(self) -> None:
        """Something came in, or changed."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._index())

    async def settled(self) -> None:
        """Returns once all that came in until now is indexed."""
        if self._task is not None:
            await self._task

    def stop(self) -> None:
        """Stops; what is not indexed yet is so with what comes next, or by `nightschool sync`."""
        if self._task is not None:
            self._task.cancel()

    async def _index(self) -> None:
        from learner import notes

        while self._wanted:
            await asyncio.sleep(INDEX_SECONDS)
            self._wanted = False
            try:
                await notes.index(self._database, self._team, self.embedder)
            except AWAY:
                self._wanted = True
            except Exception as error:
                metrics.failed(error)
                log.error("what was said could not be indexed", team=self._team.key, error=type(error).__name__)
