"""A batch of requests on its way through the model: prefill in pieces, then one token a row a step.

Rows are padded on the left, so that all of them end in the same column. Rows that are done leave at once; two batches
become one by padding the shorter cache on the left (for caches made of full or sliding attention; batches over other
kinds of cache stay apart). Greedy, so the same prompt gives the same reply alone or in company, up to rounding.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

PREFILL_TOKENS = 512
"""Prompt tokens of a batch's rows together that one forward pass takes: between two, other batches make a step."""

SHARED_TOKENS = 48
"""Shorter shared beginnings are read with each prompt."""


@dataclass(slots=True, eq=False)
class Row:
    """One request as the engine's thread sees it; `on_token` gets tokens and log-probabilities there."""

    prompt: list[int]
    adapter: str | None
    stops: Collection[int]
    max_tokens: int
    on_token: Callable[[int, float], None]
    on_end: Callable[[bool], None]  # True: stopped by itself, False: cut at max_tokens
    on_error: Callable[[Exception], None]
    cancelled: bool = False
    made: int = 0

    @property
    def reserved(self) -> int:
        """Tokens that the cache may have to hold for this row."""
        return len(self.prompt) + self.max_tokens


def pad_left(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and positions of `prompts`, each of shape (prompts, longest)."""
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return ids.to(device), mask.to(device), positions.to(device)


def shared_beginning(rows: Sequence[Row]) -> int:
    """How many tokens all prompts of one adapter begin with, where reading them once pays (few-shot prompts); else 0."""
    if len(rows) < 2 or len({row.adapter for row in rows}) > 1:
        return 0
    first, last = min(row.prompt for row in rows), max(row.prompt for row in rows)  # all others lie between them
    most = min(len(row.prompt) for row in rows) - 1
    shared = next((n for n in range(most) if first[n] != last[n]), most)
    return shared if shared >= SHARED_TOKENS else 0


@dataclass(slots=True, eq=False)
class Batch:
    """Rows, their cache, and where each is. Make it with `Batch.of`, then `advance` until no row is left."""

    model: Any
    rows: list[Row]
    cache: DynamicCache
    mask: Tensor  # (rows, columns in the cache and those of the next forward pass)
    ids: Tensor  # (rows, columns not yet in the cache)
    positions: Tensor  # as ids
    left: list[int] = field(default_factory=list)  # padding of each row
    shared: int = 0  # tokens that all prompts begin with, to be read by `read_shared` before the first `advance`

    @classmethod
    def of(cls, model: Any, rows: list[Row]) -> "Batch":
        """A batch of new `rows`, nothing of which is in the cache yet."""
        rows = sorted(rows, key=lambda row: row.adapter or "")  # neighbours of one adapter cost less
        cache = DynamicCache(config=model.config)
        shared = shared_beginning(rows)
        if shared and not any(layer.is_sliding for layer in cache.layers):
            ids, mask, positions = pad_left([row.prompt[shared:] for row in rows], model.device)
            mask = torch.cat([mask.new_ones(len(rows), shared), mask], dim=1)
            return cls(model, rows, cache, mask, ids, positions + shared, [0] * len(rows), shared)
        ids, mask, positions = pad_left([row.prompt for row in rows], model.device)
        width = ids.shape[1]
        left = [width - len(row.prompt) for row in rows]
        return cls(model, rows, cache, mask, ids, positions, left)

    @torch.inference_mode()
    def read_shared(self) -> None:
        """Reads the beginning that all prompts share once, for all rows; their adapter is to be selected for one row."""
        beginning = torch.tensor([self.rows[0].prompt[: self.shared]], device=self.model.device)
        self.model(input_ids=beginning, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self.cache.batch_repeat_interleave(len(self.rows))

    @property
    def filled(self) -> bool:
        """True once the whole prompts are in the cache."""
        return self.ids.shape[1] == 1 and any(row.made for row in self.rows)

    @property
    def width(self) -> int:
        """Columns of the attention mask."""
        return self.mask.shape[1]

    @torch.inference_mode()
    def advance(self) -> None:
        """One forward pass: a piece of the prompts, or the next token of every row."""
        step = max(1, PREFILL_TOKENS // len(self.rows))
        rest = self.ids.shape[1]
        columns = min(rest, step)
        logits = self.model(
            input_ids=self.ids[:, :columns],
            attention_mask=self.mask[:, : self.width - rest + columns],
            position_ids=self.positions[:, :columns],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        if columns < rest:
            self.ids, self.positions = self.ids[:, columns:], self.positions[:, columns:]
            return
        last = logits[:, -1].float()
        tokens = last.argmax(-1)
        chances = last.gather(1, tokens[:, None])[:, 0] - last.logsumexp(-1)
        self.ids = tokens[:, None]
        self.positions = self.positions[:, -1:] + 1
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], dim=1)
        staying = []
        for index, (row, token, chance) in enumerate(zip(self.rows, tokens.tolist(), chances.tolist(), strict=True)):
            row.made += 1
            row.on_token(token, chance)
            if token in row.stops:
                row.on_end(True)
            elif row.made >= row.max_tokens:
                row.on_end(False)
            else:
                staying.append(index)
        self.keep(staying)

    def drop_cancelled(self) -> None:
        """Lets rows go that nobody waits for any more."""
        self.keep([index for index, row in enumerate(self.rows) if not row.cancelled])

    def keep(self, staying: list[int]) -> None:
        """Lets all other rows go, and with them the columns that only they needed."""
        if len(staying) == len(self.rows):
            return
        self.rows = [self.rows[i] for i in staying]
        if not staying:
            return
        index = torch.tensor(staying, device=self.mask.device)
        self.cache.batch_select_indices(index)
        self.mask, self.ids, self.positions = self.mask[index], self.ids[index], self.positions[index]
        self.left = [self.left[i] for i in staying]
        if (spare := min(self.left)) and self.filled and self.joinable:
            for layer in self._layers():
                if layer.is_sliding:
                    layer.cumulative_length -= spare
                    kept = min(layer.cumulative_length, layer.keys.shape[-2])
                else:
                    kept = layer.keys.shape[-2] - spare
                layer.keys, layer.values = layer.keys[..., -kept:, :], layer.values[..., -kept:, :]
            self.mask = self.mask[:, spare:]
            self.left = [left - spare for left in self.left]

    @property
    def joinable(self) -> bool:
        """True where the cache's columns may be moved: full and sliding attention."""
        return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in self.cache.layers)

    def join(self, other: "Batch") -> None:
        """Takes the rows of `other` in; both are filled and joinable."""
        width = max(self.width, other.width)
        first, second = width - self.width, width - other.width
        for mine, theirs in zip(self._layers(), other._layers(), strict=True):
            mine.keys = _stack(mine.keys, theirs.keys)
            mine.values = _stack(mine.values, theirs.values)
            if mine.is_sliding:
                mine.cumulative_length = max(mine.cumulative_length, theirs.cumulative_length)
        pad = torch.nn.functional.pad
        self.mask = torch.cat([pad(self.mask, (first, 0)), pad(other.mask, (second, 0))])
        self.ids = torch.cat([self.ids, other.ids])
        self.positions = torch.cat([self.positions, other.positions])
        self.left = [left + first for left in self.left] + [left + second for left in other.left]
        self.rows = self.rows + other.rows

    def _layers(self) -> list[Any]:
        # A layer that shares another's keys and values (Gemma3n) holds none of its own.
        return [layer for layer in self.cache.layers if layer.is_initialized]


def _stack(one: Tensor, two: Tensor) -> Tensor:
    """Two caches of shape (rows, heads, columns, size) over one another, aligned at their last column."""
    columns = max(one.shape[-2], two.shape[-2])
    return torch.cat([torch.nn.functional.pad(t, (0, 0, columns - t.shape[-2], 0)) for t in (one, two)])


@torch.inference_mode()
def reply_logprobs(model: Any, prompts: Sequence[list[int]], replies: Sequence[list[int]]) -> list[list[float]]:
    """Log-probability of each token of each reply after its prompt, in one forward pass."""
    whole = [prompt + reply for prompt, reply in zip(prompts, replies, strict=True)]
    ids, mask, positions = pad_left(whole, model.device)
    longest = max(map(len, replies))
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=longest + 1
    ).logits[:, -longest - 1 : -1]
    targets = ids[:, -longest:, None]
    chances = torch.stack(
        [row.float().log_softmax(-1).gather(-1, t)[:, 0] for row, t in zip(logits, targets, strict=True)]
    )
    return [row[longest - len(reply) :].tolist() for row, reply in zip(chances, replies, strict=True)]
