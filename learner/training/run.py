"""Starts a training process, follows it, and makes sure that it never outlives its purpose."""

import asyncio
import contextlib
import ctypes
import json
import os
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from learner.training.job import TrainingJob, TrainingProgress, TrainingResult
from storage.errors import NightschoolError

log = structlog.get_logger(__name__)


class TrainingFailed(NightschoolError):
    """The training process stopped without an adapter. Its last words say why; the night can be run again."""


async def train(
    folder: Path, job: TrainingJob, on_progress: Callable[[TrainingProgress], None] | None = None
) -> TrainingResult:
    """Train one stage in a process of its own; the adapter then lies in folder/job.out.

    Writes folder/job.json. Raises TrainingFailed, with the process's reason. Cancelled, it kills the process and leaves
    no adapter; killed, the process dies with it.
    """
    job.write(folder)
    _give_back_memory()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "learner.training",
        str(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(job.settings.threads),
        limit=1 << 24,
        # Ctrl-C is for the night to handle: it ends this process by cancelling.
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    words: deque[str] = deque(maxlen=20)
    listening = asyncio.create_task(_listen(process.stderr, words))
    last: dict[str, Any] = {}
    try:
        async for line in process.stdout:
            last = json.loads(line)
            if "step" in last and on_progress is not None:
                on_progress(TrainingProgress(**last))
        await process.wait()
        await listening
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        listening.cancel()
    if process.returncode != 0 or not last.get("done"):
        reason = last.get("error") or "\n".join(words) or f"it ended with code {process.returncode} and no word"
        raise TrainingFailed(f"The {job.stage} training did not finish: {reason}")
    log.info(
        "trained", stage=job.stage, tokens=last["tokens"], seconds=round(last["seconds"], 1), stopped=last["stopped"]
    )
    return TrainingResult(
        folder=folder / job.out,
        tokens=last["tokens"],
        seconds=last["seconds"],
        stopped=last["stopped"],
        losses=tuple(last["losses"]),
        skipped=last["skipped"],
        scale=last["scale"],
        peak_memory_bytes=last["peak_memory_bytes"],
    )


def environment(threads: int) -> dict[str, str]:
    """The process's environment: quiet, and with threads that sleep while they wait (spinning ones starve serving)."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONWARNINGS": "ignore",
    }


def _give_back_memory() -> None:
    """Hands what this process has freed back to the machine, for the training to use.

    glibc keeps it for itself otherwise: 1.2 GB after questions were written, a fifth of a small machine.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


async def _listen(stream: asyncio.StreamReader, words: deque[str]) -> None:
    async for line in stream:
        if text := line.decode(errors="replace").rstrip():
            words.append(text)
