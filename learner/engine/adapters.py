"""An adapter's folder, in peft's format, read and judged before it comes near the model."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_safetensors
from torch import Tensor, nn

from learner.engine.engine import AdapterCorrupt, AdapterForeign
from learner.engine.lora import Adapter, LowRank

_PREFIX = "base_model.model."
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
# What plain LoRA has not. Each changes the arithmetic, so ignoring one would silently answer wrongly.
_UNSUPPORTED = (
    "use_dora",
    "modules_to_save",
    "lora_bias",
    "alpha_pattern",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
)
# Other initialisations (pissa, olora, corda, loftq ...) alter the base model's own weights.
_INITIALISATIONS = (True, False, None, "gaussian", "orthogonal", "eva")


def layer_shapes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """(in, out) of each layer of `model` that an adapter may reach, by its name."""
    shapes = {}
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear):
            shapes[path] = (module.in_features, module.out_features)
        elif type(module).__name__ == "Conv1D" and isinstance(weight, Tensor) and weight.ndim == 2:
            shapes[path] = (weight.shape[0], weight.shape[1])
    return shapes


def read_adapter(
    folder: Path, base_model: str, shapes: dict[str, tuple[int, int]], dtype: torch.dtype, device: torch.device
) -> Adapter:
    """The adapter in `folder`, for the base model of that identity and those layers.

    Raises AdapterCorrupt (files missing, truncated, pickled or not finite) and AdapterForeign (another base model,
    other shapes, a kind of adapter that is not plain LoRA).
    """
    try:
        _check_base(folder, base_model)
        config = _read_config(folder)
        # Read, not mapped into memory: a file cut short under a mapping would kill the process.
        tensors = read_safetensors((folder / "adapter_model.safetensors").read_bytes())
    except FileNotFoundError as error:
        raise AdapterCorrupt(
            f"The adapter {folder.name} has no {Path(str(error.filename)).name}: fetch it again."
        ) from error
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AdapterCorrupt(
            f"The adapter {folder.name} is damaged or cut short ({error}): fetch it again, or roll back."
        ) from error
    alpha, rslora = float(config.get("lora_alpha", 8)), bool(config.get("use_rslora"))
    layers: dict[str, LowRank] = {}
    for path, (down, up) in _pairs(folder, tensors).items():
        rank = down.shape[0]
        inside, outside = shapes.get(path, (None, None))
        if down.ndim != 2 or tuple(up.shape) != (outside, rank) or down.shape[1] != inside:
            raise AdapterForeign(
                f"The adapter {folder.name} does not fit the base model {base_model}: its layer {path} has shapes "
                f"{tuple(down.shape)} and {tuple(up.shape)}, the model's layer is {(inside, outside)} "
                f"(None: there is none). Use the adapter with the model it was trained on."
            )
        scale = alpha / (math.sqrt(rank) if rslora else rank)
        layers[path] = LowRank(
            down.to(device, dtype).contiguous(), (up.to(device, torch.float32) * scale).to(dtype).contiguous()
        )
    if not layers:
        raise AdapterCorrupt(f"The adapter {folder.name} holds no LoRA weights: train it again.")
    size = sum(t.numel() * t.element_size() for pair in layers.values() for t in (pair.down, pair.up))
    return Adapter(layers, size)


def _check_base(folder: Path, base_model: str) -> None:
    for file in folder.glob("*"):
        if file.suffix in _PICKLES:
            raise AdapterCorrupt(
                f"The adapter {folder.name} holds a pickle ({file.name}), which can run code and is never loaded: "
                "save it as safetensors."
            )
    manifest = folder / "manifest.json"
    if manifest.is_file():
        content = json.loads(manifest.read_text(encoding="utf-8"))
        made_for = content.get("base_model") or (content.get("extra") or {}).get("base_model")
        if made_for and made_for != base_model:
            raise AdapterForeign(
                f"The adapter {folder.name} was made for the base model {made_for}, and {base_model} is running: "
                "set the model it was made for, or let tonight train a new one."
            )


def _read_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    odd = [key for key in _UNSUPPORTED if config.get(key)]
    if config.get("peft_type") != "LORA":
        odd.append(f"peft_type {config.get('peft_type')}")
    if config.get("bias", "none") != "none":
        odd.append(f"bias {config['bias']}")
    if config.get("init_lora_weights") not in _INITIALISATIONS:
        odd.append(f"init_lora_weights {config['init_lora_weights']}")
    if odd:
        raise AdapterForeign(
            f"The adapter {folder.name} uses {', '.join(odd)}, which this engine does not run: train plain LoRA."
        )
    return config


def _pairs(folder: Path, tensors: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """The two matrices of each layer, by the layer's name in the base model."""
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        path, dot, half = key.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".lora_")
        if not dot or half not in ("A", "B") or not key.endswith(".weight"):
            raise AdapterForeign(f"The adapter {folder.name} holds {key}, which is no plain LoRA: train plain LoRA.")
        # The sum is finite where all are: a quarter of isfinite's time, and loading is a matter of milliseconds.
        if not math.isfinite(tensor.sum(dtype=torch.float32).item()):
            raise AdapterCorrupt(
                f"The adapter {folder.name} holds numbers that are not finite (in {path}): its training diverged or "
                "the file is damaged; train it again, or roll back."
            )
        halves.setdefault(path, {})[half] = tensor
    for path, found in halves.items():
        if len(found) != 2:
            raise AdapterCorrupt(f"The adapter {folder.name} lacks one half of its layer {path}: fetch it again.")
    return {path: (found["A"], found["B"]) for path, found in halves.items()}
