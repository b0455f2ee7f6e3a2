"""Where models run on this machine, and in which precision."""

import platform
from pathlib import Path

import psutil
import torch


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def best_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the device has instructions for it, else fp32 (emulated bf16 is slower than fp32)."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "mps":
        return torch.bfloat16
    info = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not info.is_file():
        return torch.float32
    words = set(info.read_text(encoding="utf-8", errors="replace").split())
    return torch.bfloat16 if words & {"avx512_bf16", "amx_bf16", "bf16"} else torch.float32


def memory_bytes(device: torch.device) -> int:
    """Memory that models on the device may fill: the GPU's own, else the machine's, or the container's limit below it."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limit = Path("/sys/fs/cgroup/memory.max")
    words = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    total = int(psutil.virtual_memory().total)
    return total if words == "max" else min(total, int(words))
