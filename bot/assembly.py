"""The one place of wiring: from settings to the database, the models and the colleague who uses them."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bot.settings import Settings
from storage import teams
from storage.adapter_files import AdapterFiles
from storage.database import Database
from storage.errors import DatabaseAway, NightschoolError
from storage.teams import Team

log = structlog.get_logger(__name__)

if TYPE_CHECKING:  # the models' libraries take seconds to import: only what uses a model pays for it
    from bot.answer import Colleague
    from bot.feedback import Feedbacks
    from learner.engine.embedder import Embedder
    from learner.engine.local import LocalEngine


class DataFolderUnusable(NightschoolError):
    """The data folder cannot be made or written: choose another with NIGHTSCHOOL_DATA_FOLDER, or mend its rights."""


class Models:
    """The base model and the embedder of one process, each loaded at its first use and shared by all teams."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._making = asyncio.Lock()
        self._engine: LocalEngine | None = None
        self._embedder: Embedder | None = None

    async def base(self) -> Path:
        """The folder of the base model; the packaged one is converted at first (some 20 s). Raises ModelMissing."""
        from learner.engine.packaged import base_model_folder

        return await asyncio.to_thread(base_model_folder, self.settings.model, data_folder(self.settings))

    async def engine(self) -> "LocalEngine":
        """The base model, loaded (some seconds). Raises ModelMissing."""
        base = await self.base()
        async with self._making:
            if self._engine is None:
                self._engine = await asyncio.to_thread(self._load_engine, base)
            return self._engine

    async def embedder(self) -> "Embedder":
        """The embedder, loaded (some seconds). Raises ModelMissing."""
        async with self._making:
            if self._embedder is None:
                self._embedder = await asyncio.to_thread(self._load_embedder)
            return self._embedder

    async def rest(self) -> None:
        """Lets go of the models; the next use loads them again."""
        async with self._making:
            engine, embedder = self._engine, self._embedder
            self._engine = self._embedder = None
        if engine is not None:
            await engine.close()
        if embedder is not None:
            embedder.close()

    def _load_engine(self, base: Path) -> "LocalEngine":
        from learner.engine.local import LocalEngine

        return LocalEngine(base, memory_bytes=int(self.settings.engine_memory), threads=self.settings.threads)

    def _load_embedder(self) -> "Embedder":
        from learner.engine.embedder import Embedder
        from learner.engine.packaged import embedder_folder

        return Embedder(embedder_folder(self.settings.embedder, data_folder(self.settings)))


class Assembly:
    """The parts of one process for one team. Those of several teams share their models (`beside`)."""

    def __init__(self, settings: Settings, database: Database, team: Team, models: Models | None = None) -> None:
        self.settings = settings
        self.database = database
        self.team = team
        self.files = AdapterFiles(settings.adapters_root)
        self._models = models or Models(settings)
        self.base = self._models.base
        self.engine = self._models.engine
        self.embedder = self._models.embedder
        self.rest = self._models.rest

    def beside(self, team: Team) -> "Assembly":
        """The parts for another team, on the same models."""
        return Assembly(self.settings, self.database, team, self._models)

    async def embedder_name(self) -> str:
        """The name that the embedder has once loaded, without loading it. Raises ModelMissing."""
        return await embedder_name(self.settings)

    async def colleague(self) -> "Colleague":
        """Who answers, with the serving version awake. A new one at each call.

        Where that version cannot be loaded the error is logged and it answers from the notes until a good one serves.
        """
        from bot.answer import Colleague

        colleague = Colleague(
            self.database,
            self.team,
            await self.engine(),
            await self.embedder(),
            self.files,
            self.settings.learning,
            data_folder(self.settings) / "cache",
        )
        try:
            await colleague.wake()
        except DatabaseAway:
            raise
        except NightschoolError as error:
            log.error("the version at work cannot be loaded: answering from the notes alone", error=str(error))
        return colleague

    async def feedbacks(self) -> "Feedbacks":
        """Where thumbs, emoji and corrections go."""
        from bot.feedback import Feedbacks

        return Feedbacks(self.database, self.team, await self.embedder())


async def embedder_name(settings: Settings) -> str:
    """The name of the settings' embedder, without loading it. Raises ModelMissing, DataFolderUnusable."""
    from learner.engine.packaged import embedder_folder, identity

    folder = data_folder(settings)
    return await asyncio.to_thread(lambda: identity(embedder_folder(settings.embedder, folder)))


def data_folder(settings: Settings) -> Path:
    """The data folder, absolute, made if it was missing. Raises DataFolderUnusable."""
    folder = settings.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise DataFolderUnusable(
            f"The data folder {folder} cannot be used ({error.strerror}): choose another with "
            f"NIGHTSCHOOL_DATA_FOLDER, or mend its rights."
        ) from error
    return folder


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of the settings, migrated. Raises DatabaseAway, DatabaseTooOld, NoPgvector, DataFolderUnusable."""
    database = await Database.open(settings.url, data_folder(settings))
    try:
        yield database
    finally:
        await database.close()


async def ensure_team(settings: Settings, database: Database) -> Team:
    """The settings' team, made if it is new; an hour or time zone that somebody set is written to it."""
    async with database.system() as connection:
        known = await teams.get(connection, settings.team)
        team = known or await teams.ensure(connection, settings.team)
        hour = settings.night_at if known is None or settings.chosen("night_at") else team.night_at
        zone = settings.timezone if known is None or settings.chosen("timezone") else team.timezone
        if (hour, zone) != (team.night_at, team.timezone):
            team = replace(await teams.hold(connection, team.id), night_at=hour, timezone=zone)
            await teams.update(connection, team)
    return team


@asynccontextmanager
async def assembled(settings: Settings, models: Models | None = None) -> AsyncIterator[Assembly]:
    """Everything that answering and learning need, closed at the end, but for `models` that are lent.

    Raises what open_database raises.
    """
    async with open_database(settings) as database:
        assembly = Assembly(settings, database, await ensure_team(settings, database), models)
        try:
            yield assembly
        finally:
            if models is None:
                await assembly.rest()
