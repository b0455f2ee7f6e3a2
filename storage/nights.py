"""Nights: runs of the nightly job, step by step, so that a killed one is resumed and two never overlap."""

import datetime
import os
import socket
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from storage.database import Connection
from storage.errors import NightLost, NightUnderWay, NotFound
from storage.queries import queries
from storage.rows import jsonb, made

_SQL = queries("nights")

STALE_SECONDS = 30
"""A running night without a heartbeat for so long is taken over."""

State = Literal["running", "released", "rejected", "failed", "empty"]
Ending = Literal["released", "rejected", "failed", "empty"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a night: running or done, how long it took, what it made."""

    state: Literal["running", "done"]
    started_at: datetime.datetime
    seconds: float
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Night:
    """One run of the nightly job for one adapter; `steps` in the order they were started."""

    id: int
    adapter_id: int
    state: State
    started_at: datetime.datetime
    ended_at: datetime.datetime | None
    steps: dict[str, Step]
    report: dict[str, Any]
    error: str | None


async def begin(connection: Connection, adapter_id: int) -> Night:
    """Begins a night, or resumes the running one where it is this process's, its process is dead, or it fell silent.

    Raises NightUnderWay where another one is at it, NotFound for an unknown adapter.
    """
    if (await connection.execute(_SQL["hold"], {"adapter_id": adapter_id})).rowcount == 0:
        raise NotFound(f"There is no adapter with the id {adapter_id} in this team.")
    values = {"adapter_id": adapter_id, "owner": _owner(os.getpid()), "stale": STALE_SECONDS}
    running = await (await connection.execute(_SQL["running"], values)).fetchone()
    if running is None:
        return _night(await (await connection.execute(_SQL["begin"], values)).fetchone() or {})
    if running["owner"] != values["owner"] and running["silent"] <= STALE_SECONDS and not _is_dead(running["owner"]):
        raise NightUnderWay(
            f"Night {running['id']} of this adapter is running already (last sign of life {running['silent']:.0f} s "
            f"ago). Wait for its end; if it was killed, it is taken over {STALE_SECONDS} s after its last sign."
        )
    return _night(await (await connection.execute(_SQL["take"], {**values, "id": running["id"]})).fetchone() or {})


async def step_started(connection: Connection, night_id: int, name: str) -> None:
    """Notes that a step begins. Raises NightLost."""
    await _change(connection, night_id, "step_started", {"name": name})


async def step_done(connection: Connection, night_id: int, name: str, result: dict[str, Any]) -> None:
    """Notes that a step is done and what it made (JSON). Raises NightLost."""
    await _change(connection, night_id, "step_done", {"name": name, "result": jsonb(result)})


async def beat(connection: Connection, night_id: int) -> None:
    """A sign of life, to be given every few seconds. Raises NightLost: another worker took over, so stop."""
    await _change(connection, night_id, "beat", {})


async def end(
    connection: Connection, night_id: int, state: Ending, report: dict[str, Any], error: str | None = None
) -> Night:
    """Ends a night with its report. Raises NightLost."""
    return _night(await _change(connection, night_id, "end", {"state": state, "report": jsonb(report), "error": error}))


async def latest(connection: Connection, adapter_id: int) -> Night | None:
    """The newest night of an adapter, running or ended."""
    row = await (await connection.execute(_SQL["latest"], {"adapter_id": adapter_id})).fetchone()
    return _night(row) if row else None


async def get(connection: Connection, id: int) -> Night | None:
    """A night by id, if there is one."""
    row = await (await connection.execute(_SQL["get"], {"id": id})).fetchone()
    return _night(row) if row else None


async def all(connection: Connection) -> list[Night]:
    """All nights of the team, oldest first."""
    return [_night(row) for row in await (await connection.execute(_SQL["all"])).fetchall()]


async def _change(connection: Connection, night_id: int, query: str, values: dict[str, Any]) -> dict[str, Any]:
    """Changes a night only while it is running and ours: one that was taken over must not write any more."""
    values = {**values, "id": night_id, "owner": _owner(os.getpid())}
    row = await (await connection.execute(_SQL[query], values)).fetchone()
    if row is None:
        raise NightLost(f"Night {night_id} has ended or was taken over by another worker; this one must stop.")
    return row


def _night(row: dict[str, Any]) -> Night:
    steps = {
        name: Step(
            step["state"], datetime.datetime.fromisoformat(step["started_at"]), step["seconds"], step.get("result", {})
        )
        for name, step in sorted(row["steps"].items(), key=lambda item: item[1]["started_at"])
    }
    return made(Night, {**row, "steps": steps})


@cache
def _owner(pid: int) -> str:
    """This process among all that share the database: its place, its pid, and a mark of its own (pids come again)."""
    return f"{_place()}/{pid}/{uuid.uuid4().hex}"


@cache
def _place() -> str:
    """Within which pids mean something: this boot of this machine and this container's process space."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()}:{uuid.getnode()}"


def _is_dead(owner: str) -> bool:
    """Whether an owner is surely gone: of this very place, and no living process has its pid. In doubt it lives."""
    place, pid, _ = owner.rsplit("/", 2)
    if place != _place() or not Path("/proc/self/stat").exists():
        return False
    try:
        # "1234 (name) S …": Z is a zombie.
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[-1].startswith("Z")
    except OSError:
        return True
