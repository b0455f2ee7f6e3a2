"""The inbox of every surface: an event is kept before it is acknowledged, and worked off from the queue, in its lane's order.

    surface -> put (in the database: acknowledge) ~> queue -> handler -> done | later | given up

A killed process loses nothing: its errands are free again when their lease runs out, and handlers are idempotent.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

import structlog

from bot import metrics
from bot.probes import AWAY
from bot.together import together
from storage import events, teams
from storage.database import Database
from storage.errors import NightschoolError
from storage.events import Errand, Event, NewEvent

log = structlog.get_logger(__name__)

Handler = Callable[[Event, int], Awaitable[None]]
"""Works an event off; the number is 1 only if nobody took it up before, and grows with failures. Raises Later to see it again."""

AT_ONCE = 6
"""Events worked off at a time, as each may hold a connection; those that are `aside` do not count."""

MOST = 200
"""Events under way at a time, those included that are `aside`."""

LEASE_SECONDS = 20.0
BEAT_SECONDS = 5.0
LOOK_SECONDS = 2.0
"""How often it looks for what is due again, beside being told of what is new."""

ATTEMPTS = 6
PATIENT = timedelta(days=1)
"""For how long an event is kept for what only time will mend: then it counts as failed, so that its lane goes on."""

KEPT_SECONDS = 3 * 24 * 3600.0
"""How long a done event's id is remembered: no surface delivers again after so long."""

_WRITERS = 4
_BATCH = 200
_PATIENCE = 1.0
_STUCK_SECONDS = 10.0


class Later(NightschoolError):
    """Not now: the event is to be worked off again after some seconds. Where `patient` that may go on for a day."""

    def __init__(self, seconds: float, why: str, *, patient: bool = False) -> None:
        super().__init__(why)
        self.seconds = seconds
        self.patient = patient


class Hopeless(NightschoolError):
    """Trying again cannot help: the event is given up at once."""


_places: ContextVar[tuple[set[int], asyncio.Event, int] | None] = ContextVar("places", default=None)


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """While a handler waits for the model or for its turn to speak it holds nobody up: its place is another's."""
    if (place := _places.get()) is None:
        yield
        return
    waiting, told, errand = place
    waiting.add(errand)
    told.set()
    try:
        yield
    finally:
        waiting.discard(errand)


class Inbox:
    """Keeps events for any team and works them off; any number of processes may do so over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[int, NewEvent, asyncio.Future[None]]] = []
        self._writers: set[asyncio.Task[None]] = set()
        self._next_write = self._round_trip = 0.0
        self._told = asyncio.Event()
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._aside: set[int] = set()

    async def put(self, team_id: int, event: NewEvent) -> None:
        """Keeps an event; once this returns it is never lost. An event kept before is passed over.

        What comes in meanwhile is written together, a few transactions at a time, evenly apart: a slow database delays an
        acknowledgement by a little more than one round trip, however many events there are. Raises DatabaseAway; then
        nothing was kept, as far as is known.
        """
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((team_id, event, kept))
        if len(self._writers) < _WRITERS:
            writer = asyncio.create_task(self._write())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        await kept
        metrics.event(event.surface, "kept")

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            if (pause := self._next_write - loop.time()) > 0:
                await asyncio.sleep(pause)
                continue
            started = loop.time()
            self._next_write = started + self._round_trip / _WRITERS
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            of_team: dict[int, list[tuple[NewEvent, asyncio.Future[None]]]] = defaultdict(list)
            for team_id, event, kept in batch:
                of_team[team_id].append((event, kept))
            for team_id, items in of_team.items():
                error = await self._stored(team_id, [event for event, _ in items])
                for _, kept in items:
                    if kept.done():  # whoever waited has gone
                        continue
                    if error is None:
                        kept.set_result(None)
                    else:
                        kept.set_exception(error)
            self._round_trip = min(loop.time() - started, _PATIENCE)

    async def _stored(self, team_id: int, new: list[NewEvent]) -> Exception | None:
        started = asyncio.get_running_loop().time()
        while True:
            try:
                async with asyncio.timeout(_STUCK_SECONDS), self._database.posting(team_id) as connection:
                    await events.store(connection, new)
            except Exception as error:
                # Connections that died in the pool fail at once: then on another.
                if not isinstance(error, AWAY) or asyncio.get_running_loop().time() - started > _PATIENCE:
                    return error
            else:
                self._told.set()
                return None

    async def run(self, handlers: Mapping[str, Handler]) -> None:
        """Works off the events of these surfaces until cancelled; what was under way is then free for the next at once."""
        await self._database.expect_posts()
        try:
            await together(self._listen(), self._beat(), self._sweep(), self._take(handlers))
        finally:
            under_way = list(self._under_way.values())
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _listen(self) -> None:
        async for _ in self._database.listen(events.CHANNEL, gap=""):
            self._told.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self._under_way:
                with contextlib.suppress(*AWAY):
                    async with self._database.system() as connection:
                        await events.hold_on(connection, list(self._under_way), LEASE_SECONDS)

    async def _sweep(self) -> None:
        while True:
            with contextlib.suppress(*AWAY):
                async with self._database.system() as connection:
                    everyone = await teams.all(connection)
                for team in everyone:
                    async with self._database.team(team.id) as connection:
                        await events.drop_old(connection, KEPT_SECONDS)
            await asyncio.sleep(3600)

    async def _take(self, handlers: Mapping[str, Handler]) -> None:
        while True:
            self._told.clear()
            taken: list[Errand] = []
            busy = len(self._under_way) - len(self._aside)
            if (free := min(AT_ONCE - busy, MOST - len(self._under_way))) > 0:
                try:
                    async with self._database.system() as connection:
                        taken = await events.take(connection, list(handlers), free, LEASE_SECONDS)
                except AWAY:
                    pass
                except Exception as error:  # a full disk, say: what comes in is still tried to be kept
                    metrics.failed(error)
                    log.error("the queue cannot be read", error=type(error).__name__)
            for errand in taken:
                if errand.id in self._under_way:  # its lease ran out while the database was away: here it goes on
                    continue
                work = asyncio.create_task(self._work(errand, handlers))
                self._under_way[errand.id] = work
                work.add_done_callback(lambda _, id=errand.id: self._over(id))  # type: ignore[misc]
            if not taken:
                # Not wait_for, which loses a cancellation that comes with the result (mended in Python 3.12).
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._told.wait()

    def _over(self, id: int) -> None:
        del self._under_way[id]
        self._told.set()

    async def _work(self, errand: Errand, handlers: Mapping[str, Handler]) -> None:
        _places.set((self._aside, self._told, errand.id))
        try:
            async with self._database.team(errand.team) as connection:
                event = await events.get(connection, errand.event)
            if event is None:
                return
            try:
                await handlers[event.surface](event, max(errand.attempts, 2) if errand.again else errand.attempts)
                why = None
            except (asyncio.CancelledError, *AWAY):
                raise
            except Exception as error:
                if await self._put_off(errand, event, error):
                    metrics.event(event.surface, "later")
                    return
                why = str(error) if isinstance(error, NightschoolError) else type(error).__name__
            async with self._database.team(errand.team) as connection:
                await events.done(connection, event.id, why)
            metrics.event(event.surface, "given_up" if why else "done")
        except asyncio.CancelledError:
            with contextlib.suppress(*AWAY):
                await asyncio.shield(self._later(errand, 0.0, forgiven=True))
            raise
        except AWAY as error:  # its lease runs out, then it is taken up again
            log.warning("event waits for the database", event_id=errand.event, error=type(error).__name__)
            with contextlib.suppress(*AWAY):
                await self._later(errand, 1.0, forgiven=True)

    async def _put_off(self, errand: Errand, event: Event, error: Exception) -> bool:
        """True where the event is to be tried again; False where it is given up."""
        patient = isinstance(error, Later) and error.patient and datetime.now(UTC) - event.received_at < PATIENT
        named = str(error) if isinstance(error, NightschoolError) else type(error).__name__
        if isinstance(error, Hopeless) or (errand.attempts >= ATTEMPTS and not patient):
            metrics.failed(error)
            log.error("event given up", surface=event.surface, kind=event.kind, event_id=event.id, error=named)
            return False
        seconds = error.seconds if isinstance(error, Later) else min(2.0 ** (errand.attempts - 1), 60.0)
        if not isinstance(error, Later):
            metrics.failed(error)
            log.warning(
                "event failed, to be tried again", surface=event.surface, kind=event.kind, event_id=event.id,
                error=named, seconds=seconds, exc_info=not isinstance(error, NightschoolError),
            )  # fmt: skip
        await self._later(errand, seconds, forgiven=patient)
        return True

    async def _later(self, errand: Errand, seconds: float, *, forgiven: bool) -> None:
        async with self._database.system() as connection:
            await events.later(connection, errand.id, seconds, forgiven=forgiven)
