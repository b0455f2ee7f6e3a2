"""Adapter files: complete or not there, verified, and nothing else is ever loaded."""

import asyncio
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
import uuid
from pathlib import Path

import fsspec
import pytest

from storage.adapter_files import AdapterFiles
from storage.errors import AdapterCorrupt, AdapterNotStored


@pytest.fixture
def staged(tmp_path):
    return adapter_in(tmp_path / "staged", 100_000)


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    return str(tmp_path / "store") if request.param == "folder" else f"memory://store-{uuid.uuid4().hex}"


def adapter_in(folder, size):
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(os.urandom(size))
    (folder / "adapter_config.json").write_text('{"r": 8}')
    (folder / "README.md").write_text("peft writes one")
    return folder


async def test_what_is_put_is_fetched_whole(root, staged, tmp_path):
    files = AdapterFiles(root)
    stored = await files.put(staged, "acme/1", {"night": 3})
    folder = await files.fetch(stored.uri, tmp_path / "cache", stored.sha256)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (folder / name).read_bytes() == (staged / name).read_bytes()
    assert not (folder / "README.md").exists()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["extra"] == {"night": 3}
    assert manifest["files"]["adapter_model.safetensors"]["bytes"] == 100_000
    assert stored.bytes > 100_000
    assert await files.fetch(stored.uri, tmp_path / "cache") == folder
    assert [p.name for p in tmp_path.rglob(".staging-*")] == []


async def test_a_version_never_changes_but_may_be_put_again(root, staged, tmp_path):
    files = AdapterFiles(root)
    stored = await files.put(staged, "acme/1", {})
    assert await files.put(staged, "acme/1", {}) == stored
    with pytest.raises(AdapterNotStored, match="another adapter"):
        await files.put(adapter_in(tmp_path / "other", 10), "acme/1", {})
    assert (await files.fetch(stored.uri, tmp_path / "cache")).is_dir()


async def test_what_is_removed_is_gone(root, staged, tmp_path):
    files = AdapterFiles(root)
    stored = await files.put(staged, "acme/1", {})
    await files.remove(stored.uri)
    await files.remove(stored.uri)
    with pytest.raises(AdapterCorrupt, match=r"no manifest.json"):
        await files.fetch(stored.uri, tmp_path / "cache")
    assert await files.put(staged, "acme/1", {}) == stored


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc", "", "a//b", "a/.hidden", "..", "a\\b", "a\n", "a/"])
async def test_names_that_lead_elsewhere_are_refused(root, staged, name):
    with pytest.raises(AdapterNotStored, match="cannot be stored as"):
        await AdapterFiles(root).put(staged, name, {})


async def test_a_store_may_move_with_its_versions(tmp_path, staged):
    stored = await AdapterFiles(str(tmp_path / "old" / "adapters")).put(staged, "acme/1", {})
    assert stored.uri == "acme/1"
    (tmp_path / "old").rename(tmp_path / "new")
    moved = AdapterFiles(str(tmp_path / "new" / "adapters"))
    folder = await moved.fetch(stored.uri, tmp_path / "cache", stored.sha256)
    assert folder == tmp_path / "new" / "adapters" / "acme" / "1"
    await moved.remove(stored.uri)
    assert not folder.exists()


async def test_full_paths_below_the_root_are_understood(root, staged, tmp_path):
    """Registries of older releases hold them."""
    files = AdapterFiles(root)
    stored = await files.put(staged, "acme/1", {})
    full = f"{root}/acme/1"
    folder = await files.fetch(stored.uri, tmp_path / "cache", stored.sha256)
    for uri in (full, full if "://" in full else f"file://{full}"):
        assert await files.fetch(uri, tmp_path / "cache", stored.sha256) == folder
    await files.remove(full)
    with pytest.raises(AdapterCorrupt, match=r"no manifest.json"):
        await files.fetch(stored.uri, tmp_path / "cache")


async def test_uris_outside_the_store_are_neither_read_nor_removed(tmp_path, staged):
    await AdapterFiles(str(tmp_path / "elsewhere")).put(staged, "acme/1", {})
    files = AdapterFiles(str(tmp_path / "store"))
    for uri in (
        str(tmp_path / "elsewhere" / "acme" / "1"),
        f"file://{tmp_path}/elsewhere/acme/1",
        str(tmp_path / "store" / ".." / "elsewhere" / "acme" / "1"),
        "../elsewhere/acme/1",
        "acme/../../elsewhere/acme/1",
        str(tmp_path / "store"),
        "",
        ".",
        "/etc",
    ):
        with pytest.raises(AdapterCorrupt, match="does not lie in"):
            await files.fetch(uri, tmp_path / "cache")
        with pytest.raises(AdapterCorrupt, match="does not lie in"):
            await files.remove(uri)
    assert (tmp_path / "elsewhere" / "acme" / "1" / "manifest.json").exists()


@pytest.mark.parametrize("odd", ["weights.bin", "weights.pt", "weights.pkl"])
async def test_pickle_is_neither_stored_nor_loaded(tmp_path, staged, odd):
    files = AdapterFiles(str(tmp_path / "store"))
    stored = await files.put(staged, "acme/1", {})
    (staged / odd).write_bytes(b"x")
    with pytest.raises(AdapterNotStored, match="pickle"):
        await files.put(staged, "acme/2", {})
    (tmp_path / "store" / "acme" / "1" / odd).write_bytes(b"x")
    with pytest.raises(AdapterCorrupt, match=odd):
        await files.fetch(stored.uri, tmp_path / "cache")


async def test_an_incomplete_adapter_is_not_stored(tmp_path, root):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(AdapterNotStored, match=r"adapter_config\.json missing"):
            await AdapterFiles(root).put(folder, "acme/1", {})


def spoil(folder, how):
    weights, manifest = folder / "adapter_model.safetensors", folder / "manifest.json"
    told = json.loads(manifest.read_bytes())
    match how:
        case "flipped":
            data = bytearray(weights.read_bytes())
            data[50_000] ^= 1
            weights.write_bytes(data)
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-1])
        case "missing":
            weights.unlink()
        case "unreadable manifest":
            manifest.write_text("{")
        case "manifest of another kind":
            manifest.write_text('["a"]')
        case "pickle in the manifest":
            (folder / "a.bin").write_bytes(b"x")
            told["files"]["a.bin"] = told["files"]["adapter_config.json"]
            manifest.write_text(json.dumps(told))
        case "a path in the manifest":
            told["files"]["../a.json"] = told["files"]["adapter_config.json"]
            manifest.write_text(json.dumps(told))
        case "weights left out of the manifest":
            del told["files"]["adapter_model.safetensors"]
            weights.unlink()
            manifest.write_text(json.dumps(told))


@pytest.mark.parametrize(
    "how",
    [
        "flipped", "truncated", "missing", "unreadable manifest", "manifest of another kind", "pickle in the manifest",
        "a path in the manifest", "weights left out of the manifest",
    ],
)  # fmt: skip
async def test_spoilt_files_are_refused_with_what_to_do(tmp_path, staged, how):
    files = AdapterFiles(str(tmp_path / "store"))
    stored = await files.put(staged, "acme/1", {})
    spoil(tmp_path / "store" / "acme" / "1", how)
    with pytest.raises(AdapterCorrupt, match="nightschool rollback"):
        await files.fetch(stored.uri, tmp_path / "cache")


async def test_a_manifest_that_is_not_the_registered_one_is_refused(tmp_path, staged, root):
    files = AdapterFiles(root)
    stored = await files.put(staged, "acme/1", {})
    with pytest.raises(AdapterCorrupt, match="not the registered one"):
        await files.fetch(stored.uri, tmp_path / "cache", "0" * 64)


async def test_a_spoilt_copy_in_the_cache_is_fetched_anew(tmp_path, staged):
    files = AdapterFiles(f"memory://store-{uuid.uuid4().hex}")
    stored = await files.put(staged, "acme/1", {})
    folder = await files.fetch(stored.uri, tmp_path / "cache")
    spoil(folder, "truncated")
    folder = await files.fetch(stored.uri, tmp_path / "cache")
    assert (folder / "adapter_model.safetensors").stat().st_size == 100_000


async def test_many_fetch_and_put_at_once(root, staged, tmp_path):
    files = AdapterFiles(root)
    stored = set(await asyncio.gather(*(files.put(staged, "acme/1", {}) for _ in range(6))))
    assert len(stored) == 1
    (one,) = stored
    folders = await asyncio.gather(*(files.fetch(one.uri, tmp_path / "cache", one.sha256) for _ in range(6)))
    assert len(set(folders)) == 1


async def test_readers_of_a_store_that_shares_its_file_objects_do_not_disturb_each_other(tmp_path):
    """fsspec's memory filesystem hands one file object to all who open a file; the files here are of several ranges."""
    files = AdapterFiles(f"memory://store-{uuid.uuid4().hex}")
    stored = await files.put(adapter_in(tmp_path / "large", 20_000_001), "acme/1", {})
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        folders = await asyncio.gather(
            *(files.fetch(stored.uri, tmp_path / f"cache{n}", stored.sha256) for n in range(4))
        )
    finally:
        sys.setswitchinterval(interval)
    weights = (tmp_path / "large" / "adapter_model.safetensors").read_bytes()
    assert all((folder / "adapter_model.safetensors").read_bytes() == weights for folder in folders)


async def test_a_truncated_file_of_a_remote_store_is_refused(tmp_path, staged):
    root = f"memory://store-{uuid.uuid4().hex}"
    files = AdapterFiles(root)
    stored = await files.put(staged, "acme/1", {})
    memory, weights = fsspec.filesystem("memory"), f"{root}/{stored.uri}/adapter_model.safetensors"
    memory.pipe_file(weights, memory.cat_file(weights)[:-1])
    with pytest.raises(AdapterCorrupt, match="truncated"):
        await files.fetch(stored.uri, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode != 0:
        pytest.skip("no right to mount a small disk here; the limit on a file's size below proves the same")
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_full_disk_leaves_nothing_half_done(small_disk, tmp_path, staged):
    files = AdapterFiles(str(small_disk / "store"))
    with pytest.raises(AdapterNotStored, match=r"No space left.*nothing half done"):
        await files.put(staged, "acme/1", {})
    assert [p for p in small_disk.rglob("*") if p.is_file() or p.name.startswith(".staging")] == []
    stored = await files.put(adapter_in(tmp_path / "small", 10_000), "acme/1", {})
    assert await files.fetch(stored.uri, tmp_path / "cache")


def _put_with_small_files(store, staged, outcome):
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        asyncio.run(AdapterFiles(store).put(Path(staged), "acme/1", {}))
    except AdapterNotStored as error:
        outcome.put(str(error))


async def test_a_write_that_fails_midway_leaves_nothing_half_done(tmp_path, staged):
    context = multiprocessing.get_context("spawn")
    outcome = context.Queue()
    process = context.Process(target=_put_with_small_files, args=(str(tmp_path / "store"), str(staged), outcome))
    process.start()
    assert "nothing half done" in await asyncio.to_thread(outcome.get, True, 60)
    process.join()
    assert [p for p in (tmp_path / "store").rglob("*") if p.is_file() or p.name.startswith(".staging")] == []


def _put_for_ever(store, staged, started):
    files, number = AdapterFiles(store), 0
    while True:
        number += 1
        asyncio.run(files.put(Path(staged), f"acme/{number}", {}))
        started.set()


async def test_killed_at_any_moment_no_folder_looks_complete_that_is_not(tmp_path):
    staged = adapter_in(tmp_path / "staged", 2_000_000)
    context = multiprocessing.get_context("spawn")
    complete = 0
    for round in range(5):
        store = tmp_path / f"store{round}"
        started = context.Event()
        process = context.Process(target=_put_for_ever, args=(str(store), str(staged), started))
        process.start()
        await asyncio.to_thread(started.wait, 60)
        await asyncio.sleep(0.013 * round)
        process.kill()
        process.join()
        files = AdapterFiles(str(store))
        for manifest in store.glob("acme/[0-9]*/manifest.json"):
            await files.fetch(str(manifest.parent), tmp_path / "cache")
            complete += 1
        assert all((folder / "manifest.json").exists() for folder in store.glob("acme/[0-9]*"))
        number = len(list(store.glob("acme/[0-9]*")))
        assert await files.put(staged, f"acme/{number + 1}", {})
    assert complete >= 5


async def test_a_folder_without_a_manifest_is_no_version_and_gives_way(tmp_path, staged):
    left = tmp_path / "store" / "acme" / "1"
    left.mkdir(parents=True)
    (left / "adapter_config.json").write_text("{}")
    stored = await AdapterFiles(str(tmp_path / "store")).put(staged, "acme/1", {})
    assert await AdapterFiles(str(tmp_path / "store")).fetch(stored.uri, tmp_path / "cache", stored.sha256)


async def test_what_killed_ones_left_long_ago_is_swept(tmp_path, staged):
    old, young = tmp_path / "store" / "acme" / ".staging-old", tmp_path / "store" / "acme" / ".staging-young"
    old.mkdir(parents=True)
    young.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    await AdapterFiles(str(tmp_path / "store")).put(staged, "acme/1", {})
    assert (old.exists(), young.exists()) == (False, True)
