"""`nightschool serve`, or the worker, as a real process, to be killed and started again."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import aiohttp

_ROOT = Path(__file__).parents[1]


class Served:
    """The process; its words go to `log`, over all its lives."""

    def __init__(
        self, environment: Mapping[str, str], log: Path, command: Literal["serve", "worker"] = "serve"
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.lives = 0
        self.command = command
        port = "NIGHTSCHOOL_LISTEN_PORT" if command == "serve" else "NIGHTSCHOOL_WORKER_METRICS_PORT"
        self._environment = {**environment, port: str(self.port)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; it listens some seconds later."""
        self.lives += 1
        with self.log.open("ab") as words:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bot.cli", self.command],
                stdin=subprocess.DEVNULL, stdout=words, stderr=words, cwd=_ROOT, env=os.environ | self._environment,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    async def ready(self, seconds: float = 180) -> float:
        """Waits until it can do its work; returns how long that took. Raises TimeoutError, or where it ended."""
        return await self.says("/readyz", 200, seconds)

    async def says(self, path: str, status: int, seconds: float) -> float:
        """Waits until a path replies with a status (0: nobody listens); returns how long that took."""
        started = time.monotonic()
        async with asyncio.timeout(seconds), aiohttp.ClientSession() as http:
            while await self._status(http, path) != status:
                if self._process is not None and self._process.poll() is not None:
                    raise RuntimeError(f"{self.command} ended: see {self.log}\n{self.log.read_text()[-2000:]}")
                await asyncio.sleep(0.05)
        return time.monotonic() - started

    async def _status(self, http: aiohttp.ClientSession, path: str) -> int:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with http.get(self.url + path, timeout=aiohttp.ClientTimeout(total=5)) as reply:
                return reply.status
        return 0

    def kill(self) -> None:
        """SIGKILL: nothing is finished."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and waits; SIGKILL after half a minute."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, 30)
        except subprocess.TimeoutExpired:
            self.kill()
