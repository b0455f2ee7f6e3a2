"""A folder as a source: every readable file is a document, brought up to date at the cost of a stat where unchanged."""

import asyncio
import datetime as dt
import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from connectors import reading
from connectors.connector import Progress, Skipped, Synced, silent
from storage import audiences, documents, sources
from storage.database import Database
from storage.errors import NightschoolError

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

# What operating systems and editors leave behind; nobody wants it named.
_LITTER = re.compile(r"(?i)^(?:\..*|~\$.*|.*~|thumbs\.db|desktop\.ini|__MACOSX|\$RECYCLE\.BIN)$")
_KINDS = " ".join(sorted(reading.KINDS))
# A file changed this lately may change again within the same tick of the clock: it is read again next time.
_SETTLED_SECONDS = 2.0


class FolderMissing(NightschoolError):
    """The folder does not exist or cannot be opened: check its path, and that the share is mounted."""


class FolderEmpty(NightschoolError):
    """No file of the folder can be read: put documents there, or check that the share is mounted."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file as its stat tells it; `refused` says why it is not even opened."""

    key: str
    path: Path
    mtime_ns: int = 0
    size: int = 0
    refused: str | None = None

    @property
    def state(self) -> list[int]:
        """What must be equal for the file to be unchanged."""
        return [self.mtime_ns, self.size, reading.READER]


class FilesConnector:
    """A folder of .md .txt .html .pdf .docx .pptx .xlsx .csv files, its subfolders included.

    A document's key is the path below the folder ("travel/hotels.md"). A changed file is a new revision, a removed one
    is retracted, one that cannot be read now keeps its last revision and is named. Hidden files and links to folders
    are passed over.

    `max_bytes`: larger files are named, not read. `seconds`: how long the conversion of one file may take.
    `allow_empty`: an empty folder retracts everything it had, instead of being taken for an unmounted share.
    `training`: whether a source that is new may train (an admin can switch it later).
    """

    kind = "files"

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 50_000_000,
        seconds: float = 60.0,
        allow_empty: bool = False,
        training: bool = True,
    ) -> None:
        self.folder = folder.expanduser().absolute()
        self.max_bytes = max_bytes
        self.seconds = seconds
        self.allow_empty = allow_empty
        self.training = training

    async def sync(self, database: Database, team_id: int, progress: Progress = silent) -> Synced:
        """Brings storage up to date with the folder; each file in a transaction of its own.

        Raises FolderMissing, and FolderEmpty where nothing can be read; the documents of before then stay.
        """
        try:
            found, closed = await asyncio.to_thread(self._scan)
            if not found and not closed and not self.allow_empty:
                raise FolderEmpty(self._nothing([]))
        except NightschoolError as error:
            await self._failed(database, team_id, str(error))
            raise
        async with database.team(team_id) as connection:
            source = await sources.ensure(connection, self.kind, self._key, self.folder.name, training=self.training)
            audience = await audiences.whole_team(connection)
            known = await documents.metas(connection, source.id)
        refused_before: dict[str, Any] = source.cursor.get("skipped", {})
        refused: dict[str, Any] = {}

        synced = Synced(skipped=[Skipped(name, why) for name, why in closed.items()])
        # What is still there, readable or not; what lies in a folder that cannot be opened counts as there.
        there = {name for name in known for folder in closed if folder == "." or name.startswith(f"{folder}/")}
        for done, file in enumerate(found):
            progress(file.key, done, len(found))
            before = known.get(file.key)
            saved = None
            try:
                if before is None or before.get("state") != file.state:
                    read = await self._read(file, refused_before.get(file.key))
                    new = self._document(source.id, audience.id, file, read, before)
                    async with database.team(team_id) as connection:
                        saved = await documents.save(connection, new)
            except reading.Unreadable as error:
                synced.skipped.append(Skipped(file.key, str(error)))
                # An emptied file was read, and no longer says what it said: its document is retracted.
                empty = isinstance(error, reading.Empty)
                if before is not None and not empty:
                    there.add(file.key)
                if not isinstance(error, _Passing):
                    refused[file.key] = {"state": file.state, "why": str(error), "empty": empty}
                continue
            there.add(file.key)
            synced.unchanged += saved is None
            synced.added += saved is not None and before is None
            synced.changed += saved is not None and before is not None
        progress("", len(found), len(found))

        failure = self._nothing(synced.skipped) if not there and not self.allow_empty else None
        for name in sorted(known.keys() - there) if failure is None else ():
            async with database.team(team_id) as connection:
                await documents.retract(connection, source.id, name)
            synced.removed += 1
        async with database.team(team_id) as connection:
            cursor = {**source.cursor, "skipped": refused}
            await sources.record(
                connection, source.id, cursor=cursor, state="failed" if failure else "ok", error=failure
            )
        if failure:
            raise FolderEmpty(failure)
        log.info("folder_synced", source=source.id, documents=len(there), skipped=len(synced.skipped))
        return synced

    @property
    def _key(self) -> str:
        return str(self.folder.resolve())

    async def _failed(self, database: Database, team_id: int, why: str) -> None:
        """Notes it on the source, where there is one: a folder that never was there makes none."""
        async with database.team(team_id) as connection:
            for source in await sources.all(connection):
                if (source.kind, source.key) == (self.kind, self._key):
                    await sources.record(connection, source.id, cursor=source.cursor, state="failed", error=why)

    def _nothing(self, skipped: Sequence[Skipped]) -> str:
        named = "".join(f"\n  {item.key} {item.why}" for item in skipped[:5])
        return (
            f"{self.folder} holds no file that can be read ({_KINDS}), so nothing was changed. Put documents there; if "
            "it is a share, check that it is mounted; if all its documents are gone for good, sync with allow_empty."
            + named
        )

    def _scan(self) -> tuple[list[_File], dict[str, str]]:
        """The folder's files by key, and the folders that cannot be opened with the reason."""
        try:
            os.scandir(self.folder).close()
        except OSError as error:
            reason = error.strerror or "it cannot be opened"
            raise FolderMissing(
                f"{self.folder} cannot be read: {reason}. Check the path, its permissions, and that the share is "
                "mounted. Nothing was changed."
            ) from error
        root = self.folder.resolve()
        closed: dict[str, str] = {}

        def cannot_open(error: OSError) -> None:
            name = Path(error.filename).relative_to(self.folder).as_posix()
            closed[_storable(name)] = f"cannot be opened ({error.strerror}); check its permissions"

        found: list[_File] = []
        for folder, below, names in os.walk(self.folder, onerror=cannot_open):
            below[:] = sorted(name for name in below if not _LITTER.match(name))
            for name in [*below, *sorted(names)]:
                path = Path(folder, name)
                if not _LITTER.match(name) and (file := self._file(path, root)) is not None:
                    found.append(file)
        return sorted(found, key=lambda file: file.key), closed

    def _file(self, path: Path, root: Path) -> _File | None:
        """What a stat says of one entry; None for a folder."""
        name = path.relative_to(self.folder).as_posix()
        key = _storable(name)
        try:
            if path.is_symlink() and not path.resolve(strict=True).is_relative_to(root):
                return _File(key, path, refused="is a link that leaves the folder; copy the file here to have it read")
            status = path.stat()
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            reason = getattr(error, "strerror", None) or "a link in a circle"
            return _File(key, path, refused=f"cannot be opened ({reason}); mend or remove it")
        if stat.S_ISDIR(status.st_mode):
            return None
        refused = None
        if key != name:
            refused = "has a name that is not UTF-8; rename it"
        elif not stat.S_ISREG(status.st_mode):
            refused = "is a device or pipe, not a file; remove it"
        elif path.suffix.lower() not in reading.KINDS:
            refused = f"is of a kind that is not read; save it as one of {_KINDS}"
        elif status.st_size > self.max_bytes:
            refused = (
                f"is {status.st_size / 1e6:.3g} MB, the most is {self.max_bytes / 1e6:.3g}; split it or leave it out"
            )
        return _File(key, path, status.st_mtime_ns, status.st_size, refused)

    async def _read(self, file: _File, refused: dict[str, Any] | None) -> reading.Reading:
        """Reads in a thread, within the time limit; raises Unreadable, at no cost where it is as it was `refused`."""
        if file.refused:
            raise _Passing(file.refused)
        if refused is not None and refused["state"] == file.state:
            raise reading.Empty if refused["empty"] else reading.Unreadable(refused["why"])
        try:
            return await _within(self.seconds, lambda: reading.read(file.path))
        except reading.Unreadable:
            raise
        except TimeoutError as error:
            raise reading.Unreadable(f"took over {self.seconds:g} s to read; split it or leave it out") from error
        except OSError as error:
            raise _Passing(f"cannot be read now ({error.strerror}); check its permissions") from error
        except Exception as error:  # a converter's own failure must not stop the other files
            log.debug("file_not_read", key=file.key, exc_info=True)
            raise reading.Unreadable(f"cannot be read ({type(error).__name__}); open and save it anew") from error

    def _document(
        self, source_id: int, audience_id: int, file: _File, read: reading.Reading, before: Mapping[str, Any] | None
    ) -> documents.NewDocument:
        sha256 = hashlib.sha256(read.text.encode()).hexdigest()
        changed_at = dt.datetime.fromtimestamp(file.mtime_ns / 1e9, dt.UTC)
        written_at = read.written_at or changed_at
        if read.written_at is None and before is not None and before.get("sha256") == sha256:
            # Touched or checked out anew, not written anew: the words are as old as they were.
            written_at = dt.datetime.fromisoformat(before["written_at"])
        settled = dt.datetime.now(dt.UTC) - changed_at > dt.timedelta(seconds=_SETTLED_SECONDS)
        return documents.NewDocument(
            source_id=source_id,
            key=file.key,
            title=read.title or _titled(file.path.stem),
            uri=file.path.as_uri(),
            text=read.text,
            sha256=sha256,
            author=read.author or "",
            written_at=written_at,
            audience_id=audience_id,
            meta={"state": file.state if settled else None, "sha256": sha256, "written_at": written_at.isoformat()},
        )


class _Passing(reading.Unreadable):
    """Unreadable for a reason outside the file's content, so worth another try."""


def _storable(name: str) -> str:
    """A name with what is not UTF-8 in it replaced."""
    return name.encode("utf-8", "replace").decode()


def _titled(stem: str) -> str:
    """ "travel-policy" as words; what joins digits ("2024-05-01") stays."""
    return re.sub(r"(?<=[^\W\d_])[-_]+(?=[^\W\d_])", " ", stem)


async def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """`work` in a thread of its own, given up (not ended) after `seconds` with TimeoutError.

    A daemon thread and no executor: a converter that never returns must not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Result] = loop.create_future()

    def tell(result: Result | None, error: BaseException | None) -> None:
        if not outcome.done():
            if error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except Exception as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, name="reading", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await outcome
