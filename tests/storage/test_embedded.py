"""The embedded PostgreSQL: shared by processes, usable after any of them is killed, gone with the last."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from storage import embedded, teams
from storage.database import Database
from storage.errors import DatabaseAway


def _open_and_stay(folder, opened, leave):
    async def stay():
        database = await Database.open(None, folder)
        async with database.system() as connection:
            await teams.ensure(connection, f"team-{os.getpid()}")
        opened.set()
        await asyncio.to_thread(leave.wait)
        await database.close()

    asyncio.run(stay())


class Process:
    """Another process that has the folder's database open."""

    def __init__(self, folder):
        context = multiprocessing.get_context("spawn")
        self.opened, self.leave = context.Event(), context.Event()
        self.process = context.Process(target=_open_and_stay, args=(folder, self.opened, self.leave), daemon=True)
        self.process.start()

    def wait(self):
        assert self.opened.wait(60), "it did not open the database"

    def end(self):
        self.leave.set()
        self.process.join(60)
        assert self.process.exitcode == 0

    def kill(self):
        self.process.kill()
        self.process.join()


def postmaster(folder):
    """The server's process, or None where it is stopped."""
    try:
        return psutil.Process(int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0]))
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None


def runs(server):
    """A container without init keeps what has ended as a zombie."""
    return server.is_running() and server.status() != psutil.STATUS_ZOMBIE


async def keys(folder):
    database = await Database.open(None, folder)
    async with database.system() as connection:
        found = {team.key for team in await teams.all(connection)}
    await database.close()
    return found


async def test_processes_share_a_fresh_folder_and_the_last_one_stops_the_server(tmp_path):
    folder = tmp_path / "data"
    both = [Process(folder), Process(folder)]
    for process in both:
        await asyncio.to_thread(process.wait)
    server = postmaster(folder)
    assert server is not None
    await asyncio.to_thread(both[0].end)
    assert runs(server)
    assert await keys(folder) == {f"team-{process.process.pid}" for process in both}
    assert runs(server)
    await asyncio.to_thread(both[1].end)
    assert postmaster(folder) is None
    assert not runs(server)
    assert len(await keys(folder)) == 2
    assert postmaster(folder) is None


async def test_killed_processes_leave_it_usable_and_do_not_keep_it_running(tmp_path):
    folder = tmp_path / "data"
    first, second = Process(folder), Process(folder)
    await asyncio.to_thread(first.wait)
    await asyncio.to_thread(second.wait)
    server = postmaster(folder)
    await asyncio.to_thread(first.kill)
    assert len(await keys(folder)) == 2
    await asyncio.to_thread(second.kill)
    assert runs(server)
    assert len(await keys(folder)) == 2
    assert postmaster(folder) is None


async def test_a_killed_server_is_started_anew_and_has_lost_nothing(tmp_path):
    database = await Database.open(None, tmp_path / "data")
    async with database.system() as connection:
        await teams.ensure(connection, "acme")
    server = postmaster(tmp_path / "data")
    os.kill(server.pid, signal.SIGKILL)
    while runs(server):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    with pytest.raises(DatabaseAway):
        async with database.system() as connection:
            await teams.all(connection)
    assert await keys(tmp_path / "data") == {"acme"}
    await database.close()
    assert postmaster(tmp_path / "data") is None


async def test_whoever_listens_revives_a_killed_server_within_seconds(tmp_path):
    """As `serve` and the chat do: their database comes back though nobody opens it anew."""
    folder = tmp_path / "data"
    database = await Database.open(None, folder)
    connected: asyncio.Queue[str] = asyncio.Queue()

    async def listen():
        async for payload in database.listen("news", gap="gap"):
            connected.put_nowait(payload)

    listener = asyncio.create_task(listen())
    assert await asyncio.wait_for(connected.get(), 5) == "gap"
    os.kill(postmaster(folder).pid, signal.SIGKILL)
    assert await asyncio.wait_for(connected.get(), 15) == "gap"
    async with database.system() as connection:
        await teams.ensure(connection, "acme")
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    await database.close()
    assert postmaster(folder) is None
    # What has no users any more, or is gone, stays as it is.
    embedded.revive(folder / "postgres")
    embedded.revive(tmp_path / "nowhere")
    assert postmaster(folder) is None and not (tmp_path / "nowhere").exists()


async def test_killed_at_the_first_start_it_starts_at_the_second(tmp_path):
    for pause in (0.8, 1.3):
        folder = tmp_path / f"data{pause}"
        process = Process(folder)
        await asyncio.sleep(pause)
        await asyncio.to_thread(process.kill)
        assert len(await keys(folder)) <= 1


async def test_opening_twice_in_a_process_counts_twice(tmp_path):
    one, two = await asyncio.gather(*(Database.open(None, tmp_path / "data") for _ in range(2)))
    await one.close()
    async with two.system() as connection:
        await teams.ensure(connection, "acme")
    await two.close()
    assert postmaster(tmp_path / "data") is None


async def test_a_pid_file_of_before_a_crash_is_seen_through(tmp_path):
    """After a restart of the machine the pid in the file may be any other program's: this one's, here."""
    assert await keys(tmp_path / "data") == set()
    file = tmp_path / "data" / "postgres" / "postmaster.pid"
    file.write_text(f"{os.getpid()}\n{file.parent}\n{int(time.time())}\n5432\n{file.parent}\n\n  1 1\nready\n")
    assert await keys(tmp_path / "data") == set()
    file.write_text(f"{os.getpid()}\n")
    assert await keys(tmp_path / "data") == set()


async def test_a_path_too_long_for_a_socket_works(tmp_path):
    assert await keys(tmp_path / ("long" * 30)) == set()


async def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DatabaseAway, match=r"did not start.*DATABASE_URL"):
        await Database.open(None, tmp_path / "data")


def test_stopping_what_is_gone_is_no_error(tmp_path):
    embedded.stop(tmp_path / "gone")


def test_a_folder_that_is_removed_stays_removed_when_the_process_ends(tmp_path):
    """Benchmarks and tests work in temporary folders and must leave nothing."""
    script = (
        "import pathlib, shutil, sys\n"
        "from storage import embedded\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "for _ in range(2): embedded.start(folder / 'postgres')\n"
        "for _ in range(2): embedded.stop(folder / 'postgres')\n"
        "shutil.rmtree(folder)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "data")], check=True, cwd=Path(__file__).parents[2])
    assert list(tmp_path.iterdir()) == []
