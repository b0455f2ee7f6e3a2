"""The colleagues behind every surface of one process: woken when the database is there, one desk a team."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from bot import metrics
from bot.assembly import Assembly, Models, assembled
from bot.indexing import Indexing
from bot.probes import AWAY, database_away
from bot.settings import Settings
from storage import adapters, messages, persons, teams
from storage.answers import Answer
from storage.database import Database
from storage.errors import NightschoolError
from storage.teams import Team

if TYPE_CHECKING:
    from bot.answer import Asked, Colleague
    from bot.feedback import Feedbacks

log = structlog.get_logger(__name__)


class NotReady(NightschoolError):
    """The colleague is not awake yet, or its database is away: ask again in some seconds."""


@dataclass(frozen=True, slots=True)
class Desk:
    """One team's colleague in this process, and where feedback on it goes."""

    database: Database
    team: Team
    colleague: "Colleague"
    feedbacks: "Feedbacks"
    indexing: Indexing

    async def answer(self, asked: "Asked", on_text: Callable[[str], None] | None = None) -> Answer:
        """The colleague's answer, counted. Raises what Colleague.answer raises."""
        answer = await self.colleague.answer(asked, on_text)
        metrics.answered(answer)
        return answer


class Front:
    """What a surface needs of this process. `desk()` is that of the settings' team, `desk(id)` another team's.

    `models` are lent by whoever has some loaded; without them it loads its own. `woken` is called once it is awake.
    """

    def __init__(
        self, settings: Settings, models: Models | None = None, woken: Callable[[], None] = lambda: None
    ) -> None:
        self.settings = settings
        self._models = models
        self._woken = woken
        self.broken: NightschoolError | None = None
        self._assembly: Assembly | None = None
        self._desks: dict[int, Desk] = {}
        self._opening = asyncio.Lock()
        self._opened = asyncio.Event()
        self._why = "waking up"

    async def live(self) -> None:
        """Keeps the colleagues awake until cancelled; waits for a database that is away.

        Returns, with `broken` set, where waiting cannot help: a wrong model path, a PostgreSQL that is too old.
        """
        while True:
            try:
                async with assembled(self.settings, self._models) as assembly:
                    self._assembly = assembly
                    self._opened.set()
                    while True:
                        # Once open, the database stays open: who waits for opened() keeps it, and it mends itself.
                        try:
                            await self._awake(assembly)
                        except AWAY as error:
                            self._waits(error)
                        await asyncio.sleep(1)
                        with contextlib.suppress(*AWAY):
                            await assembly.database.revive()
            except AWAY as error:
                self._waits(error)
            except NightschoolError as error:
                self.broken = error
                return
            finally:
                self._opened.clear()
                for desk in self._desks.values():
                    desk.indexing.stop()
                self._assembly, self._desks = None, {}
            await asyncio.sleep(1)

    async def _awake(self, assembly: Assembly) -> None:
        """Opens the team's desk, unless it is open, and swaps to each version that is released, for ever."""
        if not self._desks:
            self._desks = {assembly.team.id: await _desk(assembly)}
            log.info("awake", team=assembly.team.key)
            self._woken()
            await _warn_of_another_embedder(assembly)
        async for _ in assembly.database.listen(adapters.CHANNEL, gap=""):  # one connection for all teams
            for desk in list(self._desks.values()):
                await desk.colleague.catch_up()

    def _waits(self, error: Exception) -> None:
        self._why = str(error)
        log.warning("waiting for the database", error=type(error).__name__)

    @property
    def database(self) -> Database | None:
        """The open database, if there is one."""
        return self._assembly.database if self._assembly else None

    async def opened(self) -> Database:
        """The database, as soon as it is open: the models may still be loading."""
        while self._assembly is None:
            await self._opened.wait()
        return self._assembly.database

    async def ready(self) -> str | None:
        """Why questions cannot be answered now; None if they can."""
        if not self._desks:
            return self._why
        return await database_away(self.database)

    async def desk(self, team_id: int | None = None) -> Desk:
        """A team's desk, opened at its first use: the settings' team where None. Raises NotReady."""
        assembly = self._assembly
        if assembly is None or not self._desks:
            raise NotReady(f"Not ready ({self._why}): try again in some seconds.")
        team_id = assembly.team.id if team_id is None else team_id
        if team_id not in self._desks:
            async with self._opening:
                if team_id not in self._desks:
                    self._desks[team_id] = await _desk(assembly.beside(await _team(assembly.database, team_id)))
        return self._desks[team_id]

    async def renew(self, team_id: int) -> None:
        """A team's settings were changed: its desk is opened anew at its next use."""
        async with self._opening:
            assembly = self._assembly
            if assembly is not None and team_id in self._desks:
                self._desks[team_id].indexing.stop()
                self._desks[team_id] = await _desk(assembly.beside(await _team(assembly.database, team_id)))

    async def person(self, surface: str, user: str, name: str) -> int:
        """The number of the person of the settings' team who is `user` on `surface`. Raises NotReady."""
        desk = await self.desk()
        async with desk.database.team(desk.team.id) as connection:
            return (await persons.identify(connection, surface, user, name)).id


async def _desk(assembly: Assembly) -> Desk:
    feedbacks = await assembly.feedbacks()
    colleague = await assembly.colleague()
    embedder = await assembly.embedder()
    indexing = Indexing(assembly.database, assembly.team, embedder)
    async with assembly.database.team(assembly.team.id) as connection:
        if await messages.unindexed(connection, embedder.name):  # said just before the last process ended
            indexing.soon()
    return Desk(assembly.database, assembly.team, colleague, feedbacks, indexing)


async def _team(database: Database, team_id: int) -> Team:
    async with database.system() as connection:
        found = [team for team in await teams.all(connection) if team.id == team_id]
    if not found:
        raise NotReady(f"There is no team {team_id} any more.")
    return found[0]


async def _warn_of_another_embedder(assembly: Assembly) -> None:
    from learner import notes

    lacking = await notes.waiting(assembly.database, assembly.team, (await assembly.embedder()).name)
    if lacking:
        log.warning("not indexed by this embedder, so nothing finds them: run nightschool sync", items=lacking)
