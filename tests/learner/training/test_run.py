"""The training process from outside: what the night sees of it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from learner.training import stage
from learner.training.errors import TrainingStopped
from learner.training.job import TrainingJob, TrainingProgress, TrainingSettings
from learner.training.run import TrainingFailed, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*")

Job = Callable[..., TrainingJob]


@pytest.fixture
def job(
    tiny: Callable[[str], Path], sft_lines: list[dict[str, Any]], dpo_lines: list[dict[str, Any]], tmp_path: Path
) -> Job:
    for name, lines in (("sft", sft_lines), ("dpo", dpo_lines)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")

    def make(name: str = "sft", *, budget: float | None = None, **settings: Any) -> TrainingJob:
        usual = {"rank": 4, "alpha": 4, "learning_rate": 2e-2, "epochs": 3, "batch_size": 4, "threads": 1}
        return TrainingJob(
            stage=name,
            base=str(tiny("llama")),
            data=f"{name}.jsonl",
            out=name,
            start="sft" if name == "dpo" else None,
            settings=TrainingSettings(**{**usual, **settings}),
            budget_seconds=budget,
        )

    return make


def running(folder: Path) -> list[int]:
    """Training processes on `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if b"learner.training" in words and str(folder).encode() in words and state != "Z":
                found.append(int(entry.name))
    return found


async def gone(folder: Path) -> bool:
    for _ in range(100):
        if not running(folder):
            return True
        await asyncio.sleep(0.1)
    return False


async def test_sft_then_dpo_leave_adapters_and_say_how_it_went(job: Job, tmp_path: Path) -> None:
    heard: list[TrainingProgress] = []
    result = await train(tmp_path, job(), heard.append)
    assert [each.step for each in heard] == list(range(1, 10))
    assert heard[-1].steps == 9 and heard[-1].tokens == result.tokens
    assert [each.loss for each in heard] == list(result.losses)
    assert result.stopped == "finished" and sum(result.losses[-3:]) < sum(result.losses[:3])
    assert result.skipped == 0 and result.peak_memory_bytes > 10**8
    files = {file.name for file in result.folder.iterdir()}
    assert files == {"adapter_model.safetensors", "adapter_config.json"}
    before = load_file(result.folder / "adapter_model.safetensors")

    after = load_file((await train(tmp_path, job("dpo", epochs=1))).folder / "adapter_model.safetensors")
    assert after.keys() == before.keys()  # no reference adapter among them
    assert any(not after[name].equal(before[name]) for name in after)
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


async def test_the_budget_ends_it(job: Job, tmp_path: Path) -> None:
    result = await train(tmp_path, job(epochs=1000, budget=1.0))
    assert result.stopped == "budget" and len(result.losses) < 100
    assert (tmp_path / "sft" / "adapter_model.safetensors").is_file()


async def test_what_is_known_ends_it_long_before_the_showings_are_used_up(
    job: Job, sft_lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    lines = [line | {"topic": number} for number, line in enumerate(sft_lines[:3])]
    (tmp_path / "sft.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    result = await train(tmp_path, job(showings=1000, batch_size=3))
    assert result.stopped == "known" and len(result.losses) < 200
    assert sum(result.losses[-3:]) < 0.3 * sum(result.losses[:3])


async def test_an_example_beyond_the_context_is_left_out(job: Job, tmp_path: Path) -> None:
    line = {"prompt": [{"role": "user", "content": "long " * 300}], "completion": "Yes."}
    with (tmp_path / "sft.jsonl").open("a", encoding="utf-8") as data:
        data.write("\n" + json.dumps(line))
    result = await train(tmp_path, job(epochs=0.5))
    assert result.skipped == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": ""}, "no examples"),
        ({"data": '{"prompt": "no messages"}'}, "line 1"),
        ({"base": "/nowhere"}, "no base model in /nowhere"),
        ({"start": "absent"}, "no adapter in"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], reason: str, job: Job, tmp_path: Path) -> None:
    given = job().model_copy(update={key: value for key, value in change.items() if key != "data"})
    if "data" in change:
        (tmp_path / "sft.jsonl").write_text(change["data"], encoding="utf-8")
    with pytest.raises(TrainingStopped, match=reason):
        stage.run(tmp_path, given, lambda _progress: None)
    assert not (tmp_path / "sft").exists()


def test_a_full_disk_leaves_no_half_adapter(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingStopped, match="Free some disk space"):
        stage.run(tmp_path, job(epochs=0.3), lambda _progress: None)
    assert not [entry for entry in tmp_path.iterdir() if entry.is_dir()]


async def test_numbers_that_overflow_end_it_with_nothing_kept(job: Job, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="not a finite number"):
        await train(tmp_path, job(learning_rate=1e30, max_grad_norm=0.0, epochs=20))
    assert not (tmp_path / "sft").exists()
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


async def test_cancelled_it_kills_the_process(job: Job, tmp_path: Path) -> None:
    begun = asyncio.Event()
    training = asyncio.create_task(train(tmp_path, job(epochs=5000), lambda _progress: begun.set()))
    await asyncio.wait_for(begun.wait(), 120)
    assert running(tmp_path)
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    assert await gone(tmp_path) and not (tmp_path / "sft").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_killed_with_its_night_it_does_not_go_on(job: Job, tmp_path: Path) -> None:
    job(epochs=5000).write(tmp_path)
    program = """
        import asyncio, sys
        from pathlib import Path
        from learner.training.job import TrainingJob
        from learner.training.run import train
        folder = Path(sys.argv[1])
        asyncio.run(train(folder, TrainingJob.read(folder), lambda progress: print("begun", flush=True)))
    """
    night = subprocess.Popen(  # noqa: ASYNC220 - it is to be killed, not awaited
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert night.stdout is not None
    with night.stdout:
        await asyncio.to_thread(night.stdout.readline)
        assert running(tmp_path)
        night.send_signal(signal.SIGKILL)
        night.wait()
    started = time.monotonic()
    assert await gone(tmp_path)
    assert time.monotonic() - started < 10
