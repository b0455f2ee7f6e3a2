"""`python -m tests.acceptance.hold_night JSON`: holds a team's night in this process and, told to, dies in it.

{"url", "team", "base", "folder", "die": [step, moment]}; moments: start, progress, done (of a step), or one of MOMENTS.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from learner import release
from learner.engine.embedder import Embedder
from learner.engine.local import LocalEngine
from learner.engine.packaged import embedder_folder
from storage import nights, teams
from storage.adapter_files import AdapterFiles
from storage.database import Database
from tests.conftest import CACHE
from tests.school import School

MOMENTS: dict[str, tuple[Any, str]] = {
    "stored": (AdapterFiles, "put"),
    "registered": (release, "register"),
    "switched": (release, "decide"),
    "erased": (release, "erase"),
    "ending": (nights, "end"),
}
"""Moments right after something happened, by the function that did it; `ending` is in the transaction of the end."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def done(*args: Any, **others: Any) -> Any:
        await function(*args, **others)
        die()

    return done


async def main(told: dict[str, Any]) -> None:
    step, moment = told.get("die") or ("", "")
    if moment in MOMENTS:
        place, name = MOMENTS[moment]
        setattr(place, name, dying(getattr(place, name)))

    def tell(at: str, share: float, words: str) -> None:
        print(at, share, flush=True)
        reached = {"start": share == 0.0, "progress": share > 0.0 and words != "", "done": share == 1.0 and words == ""}
        if at == step and reached.get(moment):
            die()

    database = await Database.open(told["url"], Path(told["folder"]))
    async with database.system() as connection:
        team = await teams.get(connection, told["team"])
    assert team is not None
    engine, embedder = (
        LocalEngine(told["base"], memory_bytes=10**8, threads=1),
        Embedder(embedder_folder("packaged", CACHE)),
    )
    school = School(database, team, engine, embedder, Path(told["base"]), Path(told["folder"]))
    held = await school.night(tell)
    print(held.state, flush=True)
    await engine.close()
    embedder.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
