"""Tokens a second of the engine and of transformers + peft: `python -m bench.engine [--model PATH] [--minutes N]`.

Key AxB: A concurrent requests over B adapters (rank 32 on all linear layers, random), 64 new tokens each. The two sides
take turns in one process and medians are reported, so that a noisy machine is noisy for both. The last line is JSON.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from learner.engine.adapters import layer_shapes
from learner.engine.decoding import pad_left
from learner.engine.device import best_device, best_dtype
from learner.engine.engine import Message
from learner.engine.local import LocalEngine
from learner.engine.packaged import PACKAGED, base_model_folder
from learner.engine.prompts import Prompts, load_tokenizer

CASES = {"1x1": (1, 1), "4x1": (4, 1), "16x1": (16, 1), "16x8": (16, 8)}
NEW_TOKENS = 64
RANK = 32
TOPICS = ("the door code", "travel", "hiring", "the style guide", "security", "the kitchen", "releases", "holidays")


def question(number: int) -> list[Message]:
    topic = TOPICS[number % len(TOPICS)]
    return [
        {"role": "system", "content": "You are the team's colleague. Answer from what the team wrote, briefly."},
        {"role": "user", "content": f"Question {number}: what did we decide about {topic}, and who told us so?"},
    ]


def make_adapters(folder: Path, model: torch.nn.Module, count: int) -> dict[str, Path]:
    """Random bf16 adapters in peft's format, small enough to leave the model's words words."""
    made = {}
    shapes = {path: shape for path, shape in layer_shapes(model).items() if not path.endswith("lm_head")}
    for number in range(count):
        target = folder / f"adapter-{number}"
        generator = torch.Generator().manual_seed(number)
        tensors = {}
        for path, (inside, outside) in shapes.items():
            for half, shape in (("A", (RANK, inside)), ("B", (outside, RANK))):
                tensor = torch.randn(shape, generator=generator) * 0.01
                tensors[f"base_model.model.{path}.lora_{half}.weight"] = tensor.to(torch.bfloat16)
        names = sorted({path.rpartition(".")[2] for path in shapes})
        config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=names, task_type="CAUSAL_LM")
        config.save_pretrained(str(target))
        save_file(tensors, target / "adapter_model.safetensors")
        made[target.name] = target
    return made


class Plain:
    """transformers' generate on peft's mixed batches, as its documentation shows it; adapters in the base's dtype."""

    def __init__(self, folder: Path, adapters: dict[str, Path]) -> None:
        device = best_device()
        model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=best_dtype(device)).to(device)
        self.tokenizer = load_tokenizer(folder)
        self.prompts = Prompts(self.tokenizer, None)
        first, *others = adapters
        options = {"autocast_adapter_dtype": False}
        self.model = peft.PeftModel.from_pretrained(model, str(adapters[first]), adapter_name=first, **options)
        for name in others:
            self.model.load_adapter(str(adapters[name]), adapter_name=name, **options)
        self.model.eval()

    def run(self, requests: int, adapters: list[str]) -> int:
        ids, mask, _ = pad_left([self.prompts.render(question(n)) for n in range(requests)], self.model.device)
        options: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
        if len(adapters) > 1:
            options["adapter_names"] = [adapters[n % len(adapters)] for n in range(requests)]
        else:
            self.model.set_adapter(adapters[0])
        with torch.inference_mode():
            whole = self.model.generate(input_ids=ids, attention_mask=mask, pad_token_id=0, **options)
        return int((whole.shape[1] - ids.shape[1]) * requests)


async def run_engine(engine: LocalEngine, requests: int, adapters: list[str]) -> int:
    replies = await asyncio.gather(
        *[
            engine.generate(question(n), adapter=adapters[n % len(adapters)], max_tokens=NEW_TOKENS)
            for n in range(requests)
        ]
    )
    return sum(reply.completion_tokens for reply in replies)


async def first_token(engine: LocalEngine, adapter: str) -> float:
    """Seconds until the first text of a reply."""
    started = time.perf_counter()
    seen: list[float] = []
    await engine.generate(
        question(0), adapter=adapter, max_tokens=4, on_text=lambda _: seen.append(time.perf_counter() - started)
    )
    return seen[0]


async def swap(engine: LocalEngine, old: str, new: str, folder: Path) -> tuple[float, float, float]:
    """Seconds to load `new` beside `old`, to load and unload, and to do so with a first token by `new` in between."""
    started = time.perf_counter()
    await engine.load(new, folder)
    loaded = time.perf_counter()
    await engine.generate(question(1), adapter=new, max_tokens=1)
    answered = time.perf_counter()
    await engine.unload(old)
    ended = time.perf_counter()
    return loaded - started, ended - started - (answered - loaded), ended - started


async def measure(model: str, minutes: float, note: Callable[[str], None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = base_model_folder(model, Path(".nightschool"))
        engine = LocalEngine(folder, memory_bytes=2 * 10**9)
        engine.stops = frozenset()
        plain_base = AutoModelForCausalLM.from_pretrained(str(folder))
        adapters = make_adapters(Path(temporary), plain_base, 9)
        del plain_base
        *served, spare = adapters
        for name in served:
            await engine.load(name, adapters[name])
        plain = Plain(folder, {name: adapters[name] for name in served})
        ours: dict[str, list[float]] = defaultdict(list)
        theirs: dict[str, list[float]] = defaultdict(list)
        times: dict[str, list[float]] = defaultdict(list)
        await run_engine(engine, 1, served[:1])  # the first run of each pays for buffers
        await engine.load("v0", adapters[spare])
        deadline = time.monotonic() + minutes * 60
        rounds = 0
        while rounds == 0 or time.monotonic() < deadline:
            for key, (requests, spread) in CASES.items():
                started = time.perf_counter()
                ours[key].append(await run_engine(engine, requests, served[:spread]) / (time.perf_counter() - started))
                started = time.perf_counter()
                theirs[key].append(plain.run(requests, served[:spread]) / (time.perf_counter() - started))
                note(f"round {rounds + 1} {key}: engine {ours[key][-1]:.1f}, peft {theirs[key][-1]:.1f} tokens/s")
            for _ in range(5):
                times["time_to_first_token_ms"].append(await first_token(engine, served[0]))
            for _ in range(5):
                old, new = f"v{len(times['load_swap_ms'])}", f"v{len(times['load_swap_ms']) + 1}"
                loaded, swapped, with_reply = await swap(engine, old, new, adapters[spare])
                times["adapter_load_ms"].append(loaded)
                times["load_swap_ms"].append(swapped)
                times["load_swap_first_token_ms"].append(with_reply)
            rounds += 1
        await engine.close()
        size = (adapters[spare] / "adapter_model.safetensors").stat().st_size
    result: dict[str, Any] = {
        "tokens_per_second": {key: round(statistics.median(values), 1) for key, values in ours.items()},
        "peft_tokens_per_second": {key: round(statistics.median(values), 1) for key, values in theirs.items()},
        **{key: round(1000 * statistics.median(values), 1) for key, values in times.items()},
        "mixed_to_single": round(statistics.median(m / s for m, s in zip(ours["16x8"], ours["16x1"], strict=True)), 3),
        "rounds": rounds,
        "base_model": engine.base_model,
        "adapter_bytes": size,
        "load_average": round(os.getloadavg()[1], 1),  # of five minutes: above the cores, figures are of a busy machine
        "threads": torch.get_num_threads(),
        "dtype": str(best_dtype(best_device())).removeprefix("torch."),
    }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=PACKAGED, help='"packaged", a folder, or a Hugging Face name')
    parser.add_argument("--minutes", type=float, default=3, help="rounds are repeated for this long; at least one")
    arguments = parser.parse_args()

    def note(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with contextlib.redirect_stdout(sys.stderr):
        result = asyncio.run(measure(arguments.model, arguments.minutes, note))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
