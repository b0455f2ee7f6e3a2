"""The engine on this machine: a transformers model with many LoRA adapters, in a thread of its own."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from learner.engine.adapters import layer_shapes, read_adapter
from learner.engine.decoding import Row
from learner.engine.device import best_device, best_dtype
from learner.engine.engine import (
    AdapterNotApplied,
    AdapterUnknown,
    EngineError,
    Generation,
    Message,
    PromptTooLong,
)
from learner.engine.loading import ALONE
from learner.engine.lora import Adapter, LoraBank
from learner.engine.packaged import identity, model_folder
from learner.engine.packed import pack_linears
from learner.engine.prompts import Prompts, TextStream, load_tokenizer
from learner.engine.worker import Scoring, Worker

log = structlog.get_logger(__name__)

_PROBE_TOKENS = 4


@dataclass(slots=True, eq=False)
class _Known:
    """An adapter by its folder; its weights are in memory or, evicted, only there."""

    folder: Path
    difference: float
    bytes: int
    used: float  # time.monotonic() of its last use


class LocalEngine:
    """Any causal Transformer by path or Hugging Face name, on a GPU or on CPU cores.

    Weights are bf16 where the machine has instructions for it, fp32 elsewhere. Adapters above `memory_bytes` together
    are evicted, least recently used first, and read again from their folders when asked for (the weights of those in
    one mixed batch lie in memory a second time). At most `max_batch` requests run at once; the others wait.

    Replies are greedy: a generation_config's sampling and penalties are not applied.

    `threads` sets PyTorch's threads for the whole process. OpenMP's threads spin while they wait: two of them beside
    another busy process on two cores are ten times slower than one. Set OMP_WAIT_POLICY=passive, or one thread,
    wherever training runs beside answering.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        memory_bytes: int,
        max_batch: int = 64,
        threads: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Loads `model` (about a second for 135M parameters). Raises ModelMissing, EngineError."""
        if threads is not None:
            torch.set_num_threads(threads)
        folder = model_folder(str(model))
        self.base_model: str = identity(folder)
        self._device = best_device()
        self._dtype = dtype or best_dtype(self._device)
        self._memory_bytes = memory_bytes
        transformers_logging.disable_progress_bar()
        try:
            config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
            with ALONE:
                loaded: Any = AutoModelForCausalLM.from_pretrained(
                    str(folder), dtype=self._dtype, local_files_only=True, use_safetensors=True
                )
            tokenizer = load_tokenizer(folder)
        except (OSError, ValueError, KeyError) as error:
            raise EngineError(
                f"The base model in {folder} cannot be loaded ({error}): it must be a causal language model saved by "
                "transformers as safetensors, with its tokenizer."
            ) from error
        self._model = loaded.to(self._device).eval().requires_grad_(False)
        self._context = _context(config, tokenizer)
        self._prompts = Prompts(tokenizer, self._model.generation_config.eos_token_id)
        self.stops: frozenset[int] = self._prompts.stops
        """Tokens that end a reply: the model's own; a benchmark that wants replies of equal length empties it."""
        self._shapes = layer_shapes(self._model)
        packed = pack_linears(self._model)
        self._bank = LoraBank(self._model)
        self._known: dict[str, _Known] = {}
        self._retiring: set[str] = set()
        self._uses: Counter[str] = Counter()
        self._unused: dict[str, asyncio.Future[None]] = {}  # of adapters that wait to be unloaded
        self._loading = asyncio.Lock()
        probe = tokenizer("The team met on Monday to decide what comes next.", add_special_tokens=True)["input_ids"]
        self._probe_ids = torch.tensor([probe[:_PROBE_TOKENS]], device=self._device)
        self._base_probe = self._probe(None)
        self._worker = Worker(self._model, self._bank, self._ready, max_batch)
        log.info(
            "base model loaded",
            model=self.base_model,
            device=str(self._device),
            dtype=str(self._dtype),
            context=self._context,
            packed_layers=packed,
            threads=torch.get_num_threads(),
        )

    @property
    def context(self) -> int:
        """Longest prompt and reply together, in tokens."""
        return self._context

    def loaded(self) -> tuple[str, ...]:
        """Names that generate accepts, in memory or evicted."""
        return tuple(name for name in self._known if name not in self._retiring)

    def count(self, messages: Sequence[Message]) -> int:
        """Prompt tokens of `messages`, chat template included."""
        return len(self._prompts.render(messages))

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        adapter: str | None = None,
        max_tokens: int = 128,
        on_text: Callable[[str], None] | None = None,
    ) -> Generation:
        """The greedy reply to `messages`. Raises PromptTooLong, AdapterUnknown, EngineClosed, EngineError."""
        started = time.perf_counter()
        prompt = self._prompts.render(messages)
        if len(prompt) >= self._context:
            raise PromptTooLong(
                f"The prompt has {len(prompt)} tokens and the model reads {self._context} in all: shorten it."
            )
        if max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens}, and must be at least 1.")
        loop = asyncio.get_running_loop()
        stream = TextStream(self._prompts, on_text)
        finished: asyncio.Future[bool] = loop.create_future()
        logprobs: list[float] = []

        def token_made(token: int, chance: float) -> None:
            logprobs.append(chance)
            if token not in row.stops and not finished.done():
                stream.push(token)

        row = Row(
            prompt,
            adapter,
            self.stops,
            min(max_tokens, self._context - len(prompt)),
            on_token=_threadsafe(loop, token_made),
            on_end=_threadsafe(loop, lambda by_itself: _settle(finished, by_itself)),
            on_error=_threadsafe(loop, lambda error: _settle(finished, error)),
        )
        with self._using(adapter):
            self._worker.submit(row)
            try:
                stopped = await finished
            except asyncio.CancelledError:
                row.cancelled = True
                raise
        stream.end()
        return Generation(
            stream.text, len(prompt), len(logprobs), tuple(logprobs), time.perf_counter() - started, stopped
        )

    async def score(self, messages: Sequence[Message], text: str, *, adapter: str | None = None) -> tuple[float, ...]:
        """Log-probability of each token of `text` as the reply. Raises as generate does."""
        prompt = self._prompts.render(messages)
        reply = self._prompts.reply(prompt, messages, text)
        if len(prompt) + len(reply) > self._context:
            raise PromptTooLong(
                f"Prompt and reply have {len(prompt)} + {len(reply)} tokens and the model reads {self._context} in "
                "all: shorten them."
            )
        if not reply:
            return ()
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[list[float]] = loop.create_future()
        request = Scoring(
            prompt,
            reply,
            adapter,
            done=_threadsafe(loop, lambda chances: _settle(finished, chances)),
            on_error=_threadsafe(loop, lambda error: _settle(finished, error)),
        )
        with self._using(adapter):
            self._worker.submit(request)
            try:
                return tuple(await finished)
            except asyncio.CancelledError:
                request.cancelled = True
                raise

    async def load(self, name: str, folder: Path) -> float:
        """Makes the adapter in `folder` usable as `name`; see Engine.load. The same name and folder again: no work."""
        async with self._loading:
            if (known := self._known.get(name)) is not None:
                if known.folder == folder and name not in self._retiring:
                    return known.difference
                raise EngineError(f"An adapter {name} is loaded already, from {known.folder}: unload it first.")
            adapter = await asyncio.to_thread(self._read, folder)
            if adapter.bytes > self._memory_bytes:
                raise EngineError(
                    f"The adapter {name} takes {adapter.bytes} bytes and all adapters together may take "
                    f"{self._memory_bytes}: raise the engine's memory_bytes."
                )
            difference = await asyncio.wrap_future(self._worker.call(lambda: self._install(name, folder, adapter)))
        log.info("adapter loaded", adapter=name, bytes=adapter.bytes, difference=difference)
        return difference

    async def unload(self, name: str) -> None:
        """Forgets the adapter once the answers under way with it are done. Raises AdapterUnknown."""
        if name not in self._known or name in self._retiring:
            raise _unknown(name)
        self._retiring.add(name)
        try:
            if self._uses[name]:
                self._unused[name] = asyncio.get_running_loop().create_future()
                await self._unused[name]
            await asyncio.wrap_future(self._worker.call(lambda: self._remove(name)))
        finally:
            self._retiring.discard(name)
            self._unused.pop(name, None)
        log.info("adapter unloaded", adapter=name)

    async def close(self) -> None:
        """Ends the engine; requests under way raise EngineClosed."""
        await asyncio.to_thread(self._worker.close)

    @contextmanager
    def _using(self, adapter: str | None) -> Iterator[None]:
        if adapter is None:
            yield
            return
        if adapter not in self._known or adapter in self._retiring:
            raise _unknown(adapter)
        self._uses[adapter] += 1
        try:
            yield
        finally:
            self._uses[adapter] -= 1
            if not self._uses[adapter]:
                del self._uses[adapter]
                if (waiting := self._unused.get(adapter)) is not None and not waiting.done():
                    waiting.set_result(None)

    # What follows runs on the engine's thread (or, _read, beside it).

    def _read(self, folder: Path) -> Adapter:
        return read_adapter(folder, self.base_model, self._shapes, self._dtype, self._device)

    def _install(self, name: str, folder: Path, adapter: Adapter) -> float:
        self._bank.put(name, adapter)
        difference = float((self._probe(name) - self._base_probe).abs().max())
        if difference == 0 or difference != difference:
            self._bank.drop(name)
            raise AdapterNotApplied(
                f"The adapter in {folder} changes nothing of what the model says (difference {difference}): it was "
                "never trained, or its numbers overflow. The one before it goes on serving."
            )
        self._known[name] = _Known(folder, difference, adapter.bytes, time.monotonic())
        self._evict(self._worker.in_use())
        return difference

    def _remove(self, name: str) -> None:
        self._bank.drop(name)
        del self._known[name]

    def _ready(self, name: str, in_use: set[str]) -> bool:
        """Sees to it that `name` is in memory, read anew if it was evicted; False: those in use leave no room yet."""
        known = self._known[name]
        known.used = time.monotonic()
        if name in self._bank:
            return True
        held = sum(self._known[other].bytes for other in in_use if other in self._known)
        if held + known.bytes > self._memory_bytes:
            return False
        self._bank.put(name, self._read(known.folder))
        self._evict(in_use | {name})
        return True

    def _evict(self, in_use: set[str]) -> None:
        resident = [name for name in self._known if name in self._bank]
        held = sum(self._known[name].bytes for name in resident)
        for name in sorted(resident, key=lambda name: self._known[name].used):
            if held <= self._memory_bytes:
                return
            if name not in in_use:
                self._bank.drop(name)
                held -= self._known[name].bytes

    @torch.inference_mode()
    def _probe(self, adapter: str | None) -> Tensor:
        self._bank.select([adapter])
        logits = self._model(input_ids=self._probe_ids, use_cache=False).logits
        return torch.log_softmax(logits.float(), dim=-1)


def _context(config: Any, tokenizer: Any) -> int:
    length = getattr(config.get_text_config(), "max_position_embeddings", None)  # other names are mapped to this one
    if isinstance(length, int) and length > 0:
        return length
    if tokenizer.model_max_length < 10**9:  # the tokenizer's word for "no limit known" is 10**30
        return int(tokenizer.model_max_length)
    raise EngineError(
        "Neither the model's config nor its tokenizer says how long a context it reads: add max_position_embeddings "
        "to its config.json."
    )


def _unknown(name: str) -> AdapterUnknown:
    return AdapterUnknown(f"No adapter {name} is loaded: load it first.")


def _threadsafe(loop: asyncio.AbstractEventLoop, function: Callable[..., None]) -> Callable[..., None]:
    """`function`, to be called from the engine's thread and run in the loop's."""

    def relay(*arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody is left who waits for the answer
            loop.call_soon_threadsafe(function, *arguments)

    return relay


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # cancelled meanwhile
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
