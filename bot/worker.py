"""`nightschool worker`: each team's night at its own hour, from a queue in PostgreSQL (procrastinate).

Any number of workers on any number of machines: a night is in the queue once a day, one lock an adapter keeps two of
them apart, and a job whose worker was killed goes back into the queue once its heartbeat is 30 seconds old.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import procrastinate
import structlog
from fastapi import FastAPI
from procrastinate import JobContext, exceptions
from procrastinate.jobs import Job, Status

from bot import metrics, morning
from bot.assembly import Assembly, ensure_team, open_database
from bot.probes import AWAY, bound, database_away, probes, served
from bot.settings import Settings
from storage import adapters, nights, teams
from storage.database import Database
from storage.errors import DatabaseAway, NightLost, NightUnderWay
from storage.teams import Team

log = structlog.get_logger(__name__)

CLOCK, NIGHTS = "clock", "nights"
"""The two queues: short work that must never wait for a night, and the nights."""

TICK_SECONDS = 10
STALLED_SECONDS = 30
CATCH_UP = timedelta(hours=3)
"""A night whose hour passed while no worker ran is still held within this time: due at 02:00, it starts by 05:00."""

ATTEMPTS = 3
RETRY_SECONDS = 60
"""A night that failed is tried again: 1 minute later, then 2."""


def due(team: Team, now: datetime) -> datetime | None:
    """The hour at which the team's latest night should have begun, if that is at most CATCH_UP ago; else None.

    Team at 02:00 Europe/Berlin, now 00:05 UTC in summer (02:05 there): 02:00 of this day, in that zone.
    """
    zone = ZoneInfo(team.timezone)
    today = now.astimezone(zone).date()
    for day in (today, today - timedelta(days=1)):
        hour = datetime.combine(day, team.night_at, zone)
        if timedelta(0) <= now - hour.astimezone(UTC) < CATCH_UP:
            return hour
    return None


class Nights:
    """The queue's tasks over one database: the tick that puts due nights into the queue, and the night itself."""

    def __init__(
        self, settings: Settings, database: Database, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._running: set[asyncio.Task[object]] = set()
        # Connections for two queues that fetch, beat and finish; the listening ones come on top.
        connector = procrastinate.PsycopgConnector(
            conninfo=database.url, min_size=1, max_size=8, timeout=5.0, kwargs={"connect_timeout": 4}
        )
        self.app = procrastinate.App(connector=connector)
        ticking = self.app.task(name="tick", queue=CLOCK, queueing_lock="tick")(self.tick)
        self.app.periodic(cron=f"* * * * * */{TICK_SECONDS}")(ticking)
        self._night = self.app.task(name="night", queue=NIGHTS, retry=_Patience(), pass_context=True)(self.night)

    async def prepare(self) -> None:
        """Makes procrastinate's tables if they are not there; safe when many workers start at once."""
        for attempt in range(5):
            if await self.app.check_connection_async():
                return
            try:
                # One simple query, hence one transaction: it is there as a whole or not at all.
                await self.app.schema_manager.apply_schema_async()
                return
            except exceptions.ConnectorException:
                if attempt == 4:
                    raise
                await asyncio.sleep(0.5)  # another worker is making them: look again

    async def run(self) -> None:
        """Works until cancelled; a night under way is then broken off and put back into the queue."""
        kept = [asyncio.create_task(self._keep(queue)) for queue in (CLOCK, NIGHTS)]
        try:
            await asyncio.gather(*kept)
        finally:
            # Cancelled a second time, procrastinate's worker would leave its job behind, which then finds a closed queue.
            for task in [*(task for task in kept if not task.cancelling()), *self._running]:
                task.cancel()
            await asyncio.gather(*kept, return_exceptions=True)

    async def _keep(self, queue: str) -> None:
        # One queue each, so that the clock never waits for a night. procrastinate ends its worker when the database is
        # away; a night under way goes on meanwhile (it waits for the database itself), then the worker starts anew.
        while True:
            try:
                await self.app.run_worker_async(
                    queues=[queue], name=queue, concurrency=1, install_signal_handlers=False
                )
                log.warning("queue lost", queue=queue)
            except exceptions.ConnectorException as error:
                log.warning("queue lost", queue=queue, error=type(error).__name__)
            with contextlib.suppress(DatabaseAway):
                await self._database.revive()
            await asyncio.sleep(1)

    async def tick(self, timestamp: int) -> None:
        """Puts back what killed workers left, and puts each team's due night into the queue, once.

        A tick that falls into an outage of the database says so; the next one looks again.
        """
        try:
            await self._look(timestamp)
        except (*AWAY, exceptions.ConnectorException) as error:
            log.warning("the clock missed a tick", error=type(error).__name__)

    async def _look(self, timestamp: int) -> None:
        await self._rescue()
        async with self._database.system() as connection:
            everyone = await teams.all(connection)
        for team in everyone:
            if hour := due(team, self._clock()):
                await self._defer(team, hour)
        if timestamp % 3600 < TICK_SECONDS:
            await self.app.job_manager.delete_old_jobs(1, queue=CLOCK, include_failed=True, include_aborted=True)
            await self.app.job_manager.delete_old_jobs(24 * 7, include_failed=True, include_aborted=True)

    async def night(self, context: JobContext, team: str, adapter: int, hour: str) -> None:
        """The job: the team's night, unless one that began after `hour` has already ended well."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await self._hold(context.job, team, adapter, datetime.fromisoformat(hour))
        except Exception as error:
            metrics.failed(error)
            raise
        finally:
            self._running.discard(task)

    async def _hold(self, job: Job, team: str, adapter: int, hour: datetime) -> None:
        from learner import night as nightly

        def final(error: Exception) -> bool:
            return _Patience().get_retry_decision(exception=error, job=job) is None

        async with self._database.system() as connection:
            member = await teams.get(connection, team)
        if member is None:
            return
        async with self._database.team(member.id) as connection:
            latest = await nights.latest(connection, adapter)
        if latest and latest.started_at >= hour and latest.state not in ("running", "failed"):
            log.info("night was already held", team=team, night=latest.id)
            await morning.announce(self._database, member, latest)  # its worker may have been killed before it did
            return
        school = Assembly(self._settings, self._database, member)
        try:
            async with morning.announced(self._database, member, final):
                await nightly.run(
                    self._database,
                    member,
                    engine=await school.engine(),
                    embedder=await school.embedder(),
                    files=school.files,
                    folder=self._settings.nights_folder,
                    base=await school.base(),
                    learning=self._settings.learning,
                )
        finally:
            await school.rest()  # an idle team costs a row and a file, no memory

    async def _defer(self, team: Team, hour: datetime) -> None:
        async with self._database.team(team.id) as connection:
            adapter = await adapters.ensure(connection)
        once = f"night-{adapter.id}-{hour.date().isoformat()}"
        # The queueing lock holds only until the job starts: a job of any state says that this night was seen to.
        if list(await self.app.job_manager.list_jobs_async(queueing_lock=once)):
            return
        try:
            await self._night.configure(lock=f"adapter-{adapter.id}", queueing_lock=once).defer_async(
                team=team.key, adapter=adapter.id, hour=hour.isoformat()
            )
        except exceptions.AlreadyEnqueued:
            return  # another worker was faster
        log.info("night is due", team=team.key, hour=hour.isoformat())

    async def _rescue(self) -> None:
        manager = self.app.job_manager
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
            with contextlib.suppress(exceptions.ConnectorException):  # another worker's tick was faster
                if job.queue == NIGHTS:
                    await manager.retry_job(job)
                    log.warning("a killed worker's night is taken up again", job=job.id)
                else:
                    await manager.finish_job(job, Status.FAILED, delete_job=True)


class _Patience(procrastinate.BaseRetryStrategy):
    """Broken off by a stopping worker: again at once. Under way elsewhere: later. Failed: ATTEMPTS in all."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> procrastinate.RetryDecision | None:
        """When to try the night again, or None."""
        if isinstance(exception, asyncio.CancelledError):
            return procrastinate.RetryDecision(retry_in={"seconds": 0})
        if isinstance(exception, (NightUnderWay, *AWAY)):
            return procrastinate.RetryDecision(retry_in={"seconds": STALLED_SECONDS})
        if isinstance(exception, NightLost):
            return None  # another worker carries it on
        if job.attempts + 1 < ATTEMPTS:
            return procrastinate.RetryDecision(retry_in={"seconds": RETRY_SECONDS * (job.attempts + 1)})
        return None


class Worker:
    """The process: waits for the database, runs the queue, begins again when the database comes back."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._clock = clock
        self._why: str | None = "starting"
        self.database: Database | None = None

    async def live(self) -> None:
        """Works until cancelled. Raises what waiting cannot mend: a PostgreSQL that is too old, no pgvector."""
        while True:
            try:
                async with open_database(self._settings) as database:
                    await ensure_team(self._settings, database)
                    queue = Nights(self._settings, database, self._clock)
                    async with queue.app.open_async():
                        await queue.prepare()
                        self.database, self._why = database, None
                        log.info("working")
                        await queue.run()
            except (*AWAY, exceptions.ConnectorException) as error:
                self._why = str(error)
                log.warning("waiting for the database", error=type(error).__name__)
            finally:
                self.database = None
            await asyncio.sleep(1)

    async def ready(self) -> str | None:
        """Why no night can start now, or None."""
        return self._why or await database_away(self.database)


async def work(settings: Settings) -> None:
    """Works until cancelled, with /healthz, /readyz and /metrics beside it. Raises PortTaken, and what live raises."""
    worker = Worker(settings)
    watching: asyncio.Task[None] | None = None
    if settings.worker_metrics_port:
        application = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        application.include_router(probes(worker.ready, lambda: worker.database))
        listening = bound(settings.listen_host, settings.worker_metrics_port)
        watching = asyncio.create_task(served(application, listening, lambda _: None))
    try:
        await worker.live()
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def last_tick(database: Database) -> datetime | None:
    """When a worker last gave a sign of life (they do so every 10 seconds), or None if none was ever there."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=database.url, min_size=1, max_size=1))
    async with app.open_async():
        if not await app.check_connection_async():
            return None
        ticks = await app.job_manager.list_jobs_async(queue=CLOCK, task="tick", status="succeeded")
    seen = [int(str(job.task_kwargs["timestamp"])) for job in ticks]
    return datetime.fromtimestamp(max(seen), UTC) if seen else None
