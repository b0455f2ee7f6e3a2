"""A PostgreSQL cluster of a test's own, which is stopped as by a power cut and started again."""

import os
import signal
import time
from pathlib import Path

import psutil

from storage import embedded


class Cluster:
    """The server in a folder; `url` is the same after each start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starts = 0
        self.url = ""
        self.start()

    def start(self) -> None:
        """Starts it; after a stop it mends itself from its log first."""
        self.url = embedded.start(self.folder)
        self.starts += 1

    def stop(self) -> None:
        """What `pg_ctl stop -m immediate` does: nobody is waited for, nothing is finished."""
        server = psutil.Process(int((self.folder / "postmaster.pid").read_text().split()[0]))
        os.kill(server.pid, signal.SIGQUIT)
        deadline = time.monotonic() + 30
        while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "PostgreSQL does not stop"
            time.sleep(0.02)

    def close(self) -> None:
        """Stops it in good order."""
        for _ in range(self.starts):
            embedded.stop(self.folder)
