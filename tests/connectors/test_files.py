"""A folder as a source, on a real database: what is read, what is kept, what is refused."""

import asyncio
import datetime as dt
import os
import time
from pathlib import Path

import pytest

from connectors import reading
from connectors.files import FilesConnector, FolderEmpty, FolderMissing
from storage import documents, sources
from storage.database import Database
from storage.documents import Document
from storage.sources import Source
from storage.teams import Team
from tests.connectors import writers


def put(folder: Path, name: str, text: str | bytes, *, age: float = 3600) -> Path:
    """A file as if written `age` seconds ago, so that it counts as settled."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    os.utime(path, (time.time() - age,) * 2)
    return path


async def current(database: Database, team: Team) -> dict[str, Document]:
    async with database.team(team.id) as connection:
        return {document.key: document for document in await documents.current(connection)}


async def the_source(database: Database, team: Team) -> Source:
    async with database.team(team.id) as connection:
        (source,) = await sources.all(connection)
        return source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "handbook"
    put(folder, "travel.md", "# Travel\n\nTrains first.")
    put(folder, "rules/expense-claims.txt", "Claims are paid within 30 days.")
    return folder


async def test_a_folder_is_read_with_progress(database: Database, team: Team, folder: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    synced = await FilesConnector(folder).sync(database, team.id, lambda *step: told.append(step))
    assert (synced.added, synced.changed, synced.removed, synced.unchanged, synced.skipped) == (2, 0, 0, 0, [])
    assert told == [("rules/expense-claims.txt", 0, 2), ("travel.md", 1, 2), ("", 2, 2)]
    found = await current(database, team)
    assert {key: document.title for key, document in found.items()} == {
        "travel.md": "Travel",
        "rules/expense-claims.txt": "expense claims",
    }
    assert found["travel.md"].uri == (folder / "travel.md").as_uri()
    assert found["travel.md"].written_at == dt.datetime.fromtimestamp((folder / "travel.md").stat().st_mtime, dt.UTC)
    source = await the_source(database, team)
    assert (source.kind, source.key, source.name, source.state, source.training) == (
        "files", str(folder), "handbook", "ok", True,
    )  # fmt: skip


async def test_unchanged_files_are_not_opened(
    database: Database, team: Team, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "broken.docx", b"PK broken")
    first = await FilesConnector(folder).sync(database, team.id)

    def opened(path: Path) -> reading.Reading:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(reading, "read", opened)
    again = await FilesConnector(folder).sync(database, team.id)
    assert (again.unchanged, again.added, again.changed) == (2, 0, 0)
    assert again.skipped == first.skipped  # one that cannot be read is not tried again either, and still named


async def test_a_changed_file_is_a_new_revision_and_a_removed_one_retracted(
    database: Database, team: Team, folder: Path
) -> None:
    await FilesConnector(folder).sync(database, team.id)
    put(folder, "travel.md", "# Travel\n\nPlanes first.", age=1800)
    (folder / "rules/expense-claims.txt").unlink()
    synced = await FilesConnector(folder).sync(database, team.id)
    assert (synced.added, synced.changed, synced.removed, synced.unchanged) == (0, 1, 1, 0)
    found = await current(database, team)
    assert [(d.key, d.revision, d.text) for d in found.values()] == [("travel.md", 2, "# Travel\n\nPlanes first.")]
    put(folder, "rules/expense-claims.txt", "Claims are paid within 30 days.")
    assert (await FilesConnector(folder).sync(database, team.id)).added == 1


async def test_a_touched_file_is_no_new_revision_and_keeps_its_date(
    database: Database, team: Team, folder: Path
) -> None:
    await FilesConnector(folder).sync(database, team.id)
    before = (await current(database, team))["travel.md"]
    os.utime(folder / "travel.md", (time.time() - 60,) * 2)
    synced = await FilesConnector(folder).sync(database, team.id)
    assert (synced.changed, synced.unchanged) == (0, 2)
    after = (await current(database, team))["travel.md"]
    assert (after.revision, after.written_at) == (1, before.written_at)


async def test_a_change_in_the_same_tick_and_of_the_same_size_is_seen(
    database: Database, team: Team, folder: Path
) -> None:
    path = put(folder, "travel.md", "# Travel\n\nFirst words", age=0)
    await FilesConnector(folder).sync(database, team.id)
    status = path.stat()
    path.write_text("# Travel\n\nOther words")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (await FilesConnector(folder).sync(database, team.id)).changed == 1


async def test_bad_files_are_named_and_the_rest_goes_on(database: Database, team: Team, folder: Path) -> None:
    put(folder, "photo.jpg", b"\xff\xd8\xff\0")
    put(folder, "data.txt", b"\x7fELF\0\0\0")
    put(folder, "blank.md", " \n")
    put(folder, "guess.txt", bytes(range(128, 256)) * 3)
    writers.protected_office(folder / "board.docx")
    writers.pdf(folder / "pay.pdf", ["Secret"], password="x")
    put(folder, "cut.docx", writers.docx(folder / "whole.docx", [("", "Lunch is at noon.")]).read_bytes()[:300])
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(200_000_000)
    outside = put(folder.parent, "outside.md", "# Not ours")
    (folder / "link.md").symlink_to(outside)
    (folder / "dangling.md").symlink_to(folder / "nowhere.md")
    (folder / "elsewhere").symlink_to(folder.parent, target_is_directory=True)
    (folder / "same.md").symlink_to(folder / "travel.md")
    os.mkfifo(folder / "pipe.txt")
    put(folder, ".git/config.txt", "hidden")
    put(folder, "~$travel.docx", "Office's lock")
    started = time.perf_counter()
    synced = await FilesConnector(folder).sync(database, team.id)
    assert time.perf_counter() - started < 30
    assert set(await current(database, team)) == {"travel.md", "rules/expense-claims.txt", "whole.docx", "same.md"}
    whys = {item.key: item.why for item in synced.skipped}
    for key, why in {
        "photo.jpg": "of a kind that is not read",
        "data.txt": "binary",
        "blank.md": "is empty",
        "guess.txt": "save it as UTF-8",
        "board.docx": "password-protected",
        "pay.pdf": "password-protected",
        "cut.docx": "truncated or damaged",
        "huge.txt": "is 200 MB, the most is 50",
        "link.md": "leaves the folder",
        "dangling.md": "cannot be opened",
        "elsewhere": "leaves the folder",
        "pipe.txt": "not a file",
    }.items():
        assert why in whys.pop(key)
    assert whys == {}


async def test_what_cannot_be_read_any_more_keeps_its_last_revision(
    database: Database, team: Team, folder: Path
) -> None:
    path = writers.docx(folder / "lunch.docx", [("", "Lunch is at noon.")])
    await FilesConnector(folder).sync(database, team.id)
    put(folder, "lunch.docx", path.read_bytes()[:300], age=60)
    synced = await FilesConnector(folder).sync(database, team.id)
    assert (synced.removed, [item.key for item in synced.skipped]) == (0, ["lunch.docx"])
    assert (await current(database, team))["lunch.docx"].text == "Lunch is at noon."
    writers.docx(path, [("", "Lunch is at one.")])
    assert (await FilesConnector(folder).sync(database, team.id)).changed == 1


async def test_an_emptied_file_says_nothing_any_more(database: Database, team: Team, folder: Path) -> None:
    await FilesConnector(folder).sync(database, team.id)
    put(folder, "travel.md", "", age=60)
    synced = await FilesConnector(folder).sync(database, team.id)
    assert (synced.removed, [item.key for item in synced.skipped]) == (1, ["travel.md"])
    assert set(await current(database, team)) == {"rules/expense-claims.txt"}


async def test_a_subfolder_that_cannot_be_opened_keeps_its_documents(
    database: Database, team: Team, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await FilesConnector(folder).sync(database, team.id)
    honest = os.scandir

    def refusing(path: str) -> object:  # the tests may run as root, whom no permission stops
        if Path(path).name == "rules":
            raise PermissionError(13, "Permission denied", str(path))
        return honest(path)

    monkeypatch.setattr(os, "scandir", refusing)
    synced = await FilesConnector(folder).sync(database, team.id)
    assert (synced.removed, synced.unchanged, [item.key for item in synced.skipped]) == (0, 1, ["rules"])
    assert set(await current(database, team)) == {"travel.md", "rules/expense-claims.txt"}


async def test_a_missing_folder(database: Database, team: Team, folder: Path) -> None:
    with pytest.raises(FolderMissing, match="Check the path"):
        await FilesConnector(folder.parent / "nowhere").sync(database, team.id)
    async with database.team(team.id) as connection:
        assert await sources.all(connection) == []
    await FilesConnector(folder).sync(database, team.id)
    folder.rename(folder.parent / "away")
    with pytest.raises(FolderMissing, match="Nothing was changed"):
        await FilesConnector(folder).sync(database, team.id)
    source = await the_source(database, team)
    assert source.state == "failed" and source.error and "share is mounted" in source.error
    assert len(await current(database, team)) == 2
    with pytest.raises(FolderMissing):
        await FilesConnector(folder.parent / "away" / "travel.md").sync(database, team.id)


async def test_an_empty_folder_retracts_nothing_unless_told(database: Database, team: Team, folder: Path) -> None:
    (folder.parent / "new").mkdir()
    with pytest.raises(FolderEmpty, match="Put documents there"):
        await FilesConnector(folder.parent / "new").sync(database, team.id)
    await FilesConnector(folder).sync(database, team.id)
    for path in (folder / "travel.md", folder / "rules/expense-claims.txt"):
        path.unlink()
    for extra in (None, "NOT-MOUNTED.bin"):
        if extra:
            put(folder, extra, b"\0")
        with pytest.raises(FolderEmpty, match="check that it is mounted"):
            await FilesConnector(folder).sync(database, team.id)
        assert len(await current(database, team)) == 2
        assert (await the_source(database, team)).state == "failed"
    synced = await FilesConnector(folder, allow_empty=True).sync(database, team.id)
    assert (synced.removed, await current(database, team)) == (2, {})
    assert (await the_source(database, team)).error is None


async def test_a_conversion_has_a_time_limit_and_ends_nothing_else(
    database: Database, team: Team, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = reading.read

    def slow(path: Path) -> reading.Reading:
        if path.name == "travel.md":
            time.sleep(1.5)
        return honest(path)

    monkeypatch.setattr(reading, "read", slow)
    synced = await FilesConnector(folder, seconds=0.2).sync(database, team.id)
    assert [(item.key, "0.2 s" in item.why) for item in synced.skipped] == [("travel.md", True)]
    assert synced.added == 1
    await asyncio.sleep(1.5)


async def test_stopped_in_the_middle_it_goes_on_where_it_was(database: Database, team: Team, folder: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(item: str, done: int, total: int | None) -> None:
        if done == 1:
            raise Killed

    with pytest.raises(Killed):
        await FilesConnector(folder).sync(database, team.id, kill)
    assert set(await current(database, team)) == {"rules/expense-claims.txt"}
    synced = await FilesConnector(folder).sync(database, team.id)
    assert (synced.added, synced.unchanged) == (1, 1)


async def test_teams_do_not_meet_and_the_training_switch_is_the_admins(
    database: Database, team: Team, folder: Path
) -> None:
    await FilesConnector(folder, training=False).sync(database, team.id)
    await FilesConnector(folder).sync(database, team.id)
    assert not (await the_source(database, team)).training


async def test_odd_names_and_words(database: Database, team: Team, folder: Path) -> None:
    put(folder, "Ünïcode – 日本 #1%.md", "Text with a \u2028 break and an emoji 🎒.")
    (folder / os.fsdecode(b"caf\xe9.md")).write_text("Latin name")
    synced = await FilesConnector(folder).sync(database, team.id)
    assert "rename it" in synced.skipped[0].why
    document = (await current(database, team))["Ünïcode – 日本 #1%.md"]
    assert document.text == "Text with a \u2028 break and an emoji 🎒."
    assert document.uri.endswith("%231%25.md")
