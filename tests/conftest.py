"""What all rooms' tests share: a real PostgreSQL for the session, a fresh team a test, and the packaged models on
demand.
"""

import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from storage import teams
from storage.database import Database
from storage.teams import Team

if TYPE_CHECKING:
    from learner.engine.embedder import Embedder
    from learner.engine.local import LocalEngine
    from tests.school import School

# A console that begins with it keeps its width, whatever a test sets; pytest-xdist sets it for its workers.
os.environ.pop("COLUMNS", None)

CACHE = Path(os.environ.get("NIGHTSCHOOL_TEST_CACHE", Path(__file__).parent.parent / ".nightschool"))


@pytest.fixture(scope="session")
async def database(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """The embedded database in a folder of its own, migrated; shared by the session, so each test takes a team of its
    own.
    """
    database = await Database.open(None, tmp_path_factory.mktemp("database"))
    yield database
    await database.close()


@pytest.fixture(autouse=True)
def own_dtype() -> Iterator[None]:
    """A test begins with torch's own default dtype: one stopped while a model loads leaves another behind."""
    if torch := sys.modules.get("torch"):
        torch.set_default_dtype(torch.float32)
    yield


@pytest.fixture
async def team(database: Database) -> Team:
    """A team nobody else uses."""
    async with database.system() as connection:
        return await teams.ensure(connection, f"team-{uuid.uuid4().hex[:12]}", "Test team")


@pytest.fixture(scope="session")
def base_model() -> Path:
    """The packaged model's folder, converted once and kept between runs in NIGHTSCHOOL_TEST_CACHE."""
    from learner.engine.packaged import base_model_folder

    return base_model_folder("packaged", CACHE)


@pytest.fixture(scope="session")
def embedder_path() -> Path:
    """The packaged embedder's folder, put together once and kept between runs in NIGHTSCHOOL_TEST_CACHE."""
    from learner.engine.packaged import embedder_folder

    return embedder_folder("packaged", CACHE)


@pytest.fixture(scope="session")
def embedder(embedder_path: Path) -> "Iterator[Embedder]":
    """The packaged embedder."""
    from learner.engine.embedder import Embedder

    embedder = Embedder(embedder_path)
    yield embedder
    embedder.close()


@pytest.fixture(scope="session")
def tiny_base(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with the packaged tokenizer: nights on it take seconds."""
    from tests.school import make_tiny

    return make_tiny(base_model, tmp_path_factory.mktemp("school") / "tiny")


@pytest.fixture(scope="session")
async def tiny_engine(tiny_base: Path) -> "AsyncIterator[LocalEngine]":
    """The tiny model's engine; tests use adapter names of their own teams."""
    from learner.engine.local import LocalEngine

    engine = LocalEngine(tiny_base, memory_bytes=10**8, threads=1)
    yield engine
    await engine.close()


@pytest.fixture
async def school(
    database: Database, team: Team, tiny_engine: "LocalEngine", embedder: "Embedder", tiny_base: Path, tmp_path: Path
) -> "AsyncIterator[School]":
    """The test's team with all that answers and nights need."""
    from tests.school import School

    school = School(database, team, tiny_engine, embedder, tiny_base, tmp_path)
    yield school
    await school.rest()
