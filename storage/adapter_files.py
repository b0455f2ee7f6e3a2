"""The files of adapter versions: an immutable folder each, on a local disk or an object store (fsspec).

A folder holds safetensors, JSON configuration and manifest.json, which is written last: where it is, all before it is
complete.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import structlog
from fsspec.implementations.local import LocalFileSystem

from storage.errors import AdapterCorrupt, AdapterNotStored

log = structlog.get_logger(__name__)

MANIFEST = "manifest.json"
_REQUIRED = ("adapter_model.safetensors", "adapter_config.json")
_KEPT = (".safetensors", ".json")
_PICKLE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_STAGING = ".staging-"
_ABANDONED_SECONDS = 3600
_CHUNK = 1 << 20
_RANGE = 8 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """Where below the root a version's files lie ("acme/team-1/night-3": a root may move, a version's place in it does
    not), the sha256 of their manifest (which holds each file's), and their size in bytes.
    """

    uri: str
    sha256: str
    bytes: int


class AdapterFiles:
    """The store below one root: a folder, or any fsspec URL ("s3://bucket/adapters", "memory://adapters")."""

    def __init__(self, root: str) -> None:
        self._fs, path = fsspec.core.url_to_fs(root)
        self._local = isinstance(self._fs, LocalFileSystem)
        self._root = path.rstrip("/")

    async def put(self, staged: Path, name: str, extra: dict[str, Any]) -> Stored:
        """Stores the adapter that lies in the folder `staged` under `name` ("team/7"), with `extra` in its manifest.

        The same files under the same name again are stored already. Raises AdapterNotStored: a full disk, a name that
        is taken or leads out of the root, a folder without an adapter or with pickle; nothing half done is left.
        """
        return await asyncio.to_thread(self._put, staged, name, extra)

    async def fetch(self, uri: str, cache: Path, sha256: str | None = None) -> Path:
        """The local folder of a version, each file verified against the manifest, and that against `sha256` where
        given.

        `uri` is its place below the root; a full path or URL that leads below the root (older registries hold such) is
        taken too. From a local root it is the stored folder itself, else a copy below `cache`. Raises AdapterCorrupt:
        changed, truncated, foreign or missing files, pickle, no manifest, a `uri` that leads out of the root.
        """
        return await asyncio.to_thread(self._fetch, uri, cache, sha256)

    async def remove(self, uri: str) -> None:
        """Deletes a version's files, the manifest first; nothing happens where they are gone already."""
        await asyncio.to_thread(self._remove, uri)

    def _put(self, staged: Path, name: str, extra: dict[str, Any]) -> Stored:
        if not _NAME.fullmatch(name):
            raise AdapterNotStored(f"An adapter cannot be stored as {name!r}: use letters, digits, dots, dashes and /.")
        sources = _to_store(staged)
        manifest = json.dumps(
            {"format": 1, "files": {file.name: _described(file) for file in sources}, "extra": extra},
            indent=1,
            sort_keys=True,
        ).encode()
        target = f"{self._root}/{name}"
        where = self._fs.unstrip_protocol(target)
        size = sum(file.stat().st_size for file in sources) + len(manifest)
        stored = Stored(name, hashlib.sha256(manifest).hexdigest(), size)
        try:
            if self._fs.exists(f"{target}/{MANIFEST}"):
                if self._fs.cat_file(f"{target}/{MANIFEST}") == manifest:
                    return stored
                raise AdapterNotStored(
                    f"There is another adapter at {where} already. Versions never change: store it anew."
                )
            if self._local:
                self._put_local(sources, manifest, Path(target))
            else:
                self._put_remote(sources, manifest, target)
        except OSError as error:
            raise AdapterNotStored(
                f"The adapter could not be written to {where} ({error}); nothing half done is left. Free some "
                "space or check the permissions, then run the night again."
            ) from error
        return stored

    def _put_local(self, sources: list[Path], manifest: bytes, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        staging = target.parent / f"{_STAGING}{uuid.uuid4().hex}"
        try:
            staging.mkdir()
            for file in sources:
                with file.open("rb") as source, (staging / file.name).open("xb") as copy:
                    shutil.copyfileobj(source, copy, _CHUNK)
                    _sync(copy.fileno())
            with (staging / MANIFEST).open("xb") as copy:
                copy.write(manifest)
                _sync(copy.fileno())
            with _opened(staging) as folder:
                _sync(folder)
            _move(staging, target, manifest)
            with _opened(target.parent) as folder:
                _sync(folder)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def _put_remote(self, sources: list[Path], manifest: bytes, target: str) -> None:
        # An object store has no rename: here the manifest alone, last, makes the version.
        try:
            self._fs.makedirs(target, exist_ok=True)
            for file in sources:
                self._fs.put_file(str(file), f"{target}/{file.name}")
            self._fs.pipe_file(f"{target}/{MANIFEST}", manifest)
        except BaseException:
            with suppress(Exception):
                if not self._fs.exists(f"{target}/{MANIFEST}"):
                    self._fs.rm(target, recursive=True)
            raise

    def _fetch(self, uri: str, cache: Path, sha256: str | None) -> Path:
        path = self._inside(uri)
        uri = self._fs.unstrip_protocol(path)
        try:
            manifest = self._fs.cat_file(f"{path}/{MANIFEST}")
        except FileNotFoundError as error:
            raise _corrupt(uri, "it has no manifest.json: it is incomplete or gone") from error
        if sha256 is not None and hashlib.sha256(manifest).hexdigest() != sha256:
            raise _corrupt(uri, "its manifest.json is not the registered one")
        files = _files_of(uri, manifest)
        present = {Path(found).name for found in self._fs.ls(path, detail=False)} - {MANIFEST}
        if foreign := sorted(present - files.keys()):
            raise _corrupt(uri, f"it holds files that are not in its manifest: {', '.join(foreign)}")
        if self._local:
            return _verified(uri, Path(path), files)
        folder = cache / f"{hashlib.sha256(uri.encode()).hexdigest()[:8]}-{hashlib.sha256(manifest).hexdigest()[:16]}"
        if folder.exists():
            try:
                return _verified(uri, folder, files)
            except AdapterCorrupt:
                shutil.rmtree(folder)
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        staging = cache / f"{_STAGING}{uuid.uuid4().hex}"
        try:
            staging.mkdir()
            for name, file in files.items():
                try:
                    self._copy(f"{path}/{name}", staging / name, int(file["bytes"]))
                except FileNotFoundError as error:
                    raise _corrupt(uri, f"{name} is missing") from error
            _verified(uri, staging, files)
            (staging / MANIFEST).write_bytes(manifest)
            try:
                staging.rename(folder)
            except OSError:
                # Another process was faster; its copy is as good as ours.
                return _verified(uri, folder, files)
        except OSError as error:
            raise AdapterNotStored(
                f"The adapter {uri} could not be copied to {cache} ({error}). Free some space there."
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return folder

    def _copy(self, stored: str, copy: Path, size: int) -> None:
        """Copies `size` bytes of a stored file, in ranges, so that memory stays bounded."""
        # Never by a file object (`open`, `get_file`): a filesystem may hand the same one, with one position, to all who
        # read (fsspec's memory filesystem does), and each of two that read at once then misses what the other got.
        with copy.open("xb") as target:
            for start in range(0, size, _RANGE):
                end = min(start + _RANGE, size)
                piece = self._fs.cat_file(stored, start, end)
                target.write(piece)
                if len(piece) < end - start:
                    break  # truncated, as its hash will tell; some stores refuse a range behind the end

    def _remove(self, uri: str) -> None:
        path = self._inside(uri)
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{path}/{MANIFEST}")
        with suppress(FileNotFoundError):
            self._fs.rm(path, recursive=True)

    def _inside(self, uri: str) -> str:
        """The path behind a name or URI, which must lie below the root: nothing else is ever read or deleted."""
        if _NAME.fullmatch(uri):
            return f"{self._root}/{uri}"
        path = str(self._fs._strip_protocol(uri))
        inner = path.removeprefix(self._root + "/")
        if inner == path or not _NAME.fullmatch(inner):
            raise _corrupt(uri, f"it does not lie in the adapters' store {self._root}; set the store to where it lies")
        return path


def _to_store(staged: Path) -> list[Path]:
    """The files of an adapter that are kept: weights and configuration, no read-me; never pickle."""
    files = sorted(path for path in staged.iterdir() if path.is_file()) if staged.is_dir() else []
    if pickles := [file.name for file in files if file.suffix in _PICKLE]:
        raise AdapterNotStored(
            f"{staged} holds pickle ({', '.join(pickles)}), which is never stored. Save as safetensors."
        )
    if missing := [name for name in _REQUIRED if name not in {file.name for file in files}]:
        raise AdapterNotStored(f"{staged} is no complete adapter: {', '.join(missing)} missing. Train it again.")
    return [file for file in files if file.suffix in _KEPT and file.name != MANIFEST]


def _files_of(uri: str, manifest: bytes) -> dict[str, dict[str, Any]]:
    """The manifest's files, each with sha256 and bytes."""
    try:
        files = dict(json.loads(manifest)["files"])
        for name, file in files.items():
            if not _NAME.fullmatch(name) or "/" in name or Path(name).suffix not in _KEPT:
                raise _corrupt(uri, f"its manifest names {name!r}; only safetensors and JSON are ever loaded")
            str(file["sha256"]), int(file["bytes"])
    except (ValueError, KeyError, TypeError) as error:
        raise _corrupt(uri, "its manifest.json cannot be read") from error
    if missing := [name for name in _REQUIRED if name not in files]:
        raise _corrupt(uri, f"its manifest lacks {', '.join(missing)}")
    return files


def _verified(uri: str, folder: Path, files: dict[str, dict[str, Any]]) -> Path:
    for name, expected in files.items():
        try:
            if _described(folder / name) != {"sha256": expected["sha256"], "bytes": expected["bytes"]}:
                raise _corrupt(uri, f"{name} is not what was stored (changed or truncated)")
        except FileNotFoundError as error:
            raise _corrupt(uri, f"{name} is missing") from error
    return folder


def _described(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest(), "bytes": os.fstat(stream.fileno()).st_size}


def _corrupt(uri: str, what: str) -> AdapterCorrupt:
    return AdapterCorrupt(
        f"The adapter {uri} cannot be used: {what}. Roll back to another version (`nightschool rollback`)."
    )


def _sweep(folder: Path) -> None:
    """Deletes what killed processes left behind long ago."""
    for old in folder.glob(f"{_STAGING}*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(old, ignore_errors=True)


def _move(staging: Path, target: Path, manifest: bytes) -> None:
    """Renames a finished folder to its place. Where another process put the very same there meanwhile, that one stays."""
    try:
        staging.rename(target)
    except OSError:
        if (target / MANIFEST).exists():
            if (target / MANIFEST).read_bytes() == manifest:
                shutil.rmtree(staging)
                return
            raise
        # A folder without a manifest is no version but what was left of something else: out of the way with it.
        target.rename(target.with_name(f"{_STAGING}{uuid.uuid4().hex}"))
        staging.rename(target)


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
