"""A long wire to PostgreSQL: a proxy for the database that delays whatever a client sends."""

import asyncio
import contextlib
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_BYTES = 65536


class Wire:
    """`async with Wire(url, seconds) as wire`: what is sent to `wire.url` reaches the database at `url` `seconds` later.

    Each chunk is delayed alone, so a round trip costs `seconds`, however much goes on at the same time. `seconds` may be
    changed at any time.
    """

    def __init__(self, url: str, seconds: float = 0.0) -> None:
        self._there = url
        self.seconds = seconds
        self.url = ""
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = make_conninfo(self._there, host="127.0.0.1", port=port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._joined(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            back, forth = await self._reached()
            with contextlib.closing(forth):
                ways = [
                    asyncio.create_task(self._carried(reader, forth, delayed=True)),
                    asyncio.create_task(self._carried(back, writer, delayed=False)),
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)

    async def _reached(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        info = conninfo_to_dict(self._there)
        host, port = str(info.get("host") or "127.0.0.1"), int(info.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(str(Path(host) / f".s.PGSQL.{port}"))
        return await asyncio.open_connection(host, port)

    async def _carried(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, delayed: bool) -> None:
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                due, chunk = await under_way.get()
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
                if not chunk:
                    return
                target.write(chunk)
                await target.drain()

        arriving = asyncio.create_task(arrive())
        try:
            chunk = b"."
            while chunk and not arriving.done():
                chunk = await source.read(_BYTES)
                under_way.put_nowait((loop.time() + (self.seconds if delayed else 0.0), chunk))
            await arriving
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)
