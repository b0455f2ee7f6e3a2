"""Many LoRA adapters on one base model, mixed freely within a batch (S-LoRA, arXiv 2311.03285, in its simplest form).

A batch whose rows share an adapter pays two plain matrix products a layer. At a decoding step of a mixed batch the
adapters in use lie side by side as one wide adapter (ranks add up), and each row's hidden vector is masked to its own
adapter's ranks: again two plain products a layer, whatever the number of adapters. That wide adapter is laid out once
for a set of adapters, not once a step. At prefill, where arithmetic is what costs, neighbours of one adapter are done
together (so: put them side by side).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn

from learner.engine.packed import pack, product, product_plus


@dataclass(frozen=True, slots=True)
class LowRank:
    """One layer's share of an adapter: `down` of shape (rank, in), `up` of shape (out, rank) times alpha/rank."""

    down: Tensor
    up: Tensor


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter in memory: its low-rank pair for each layer, by the layer's name in the base model."""

    layers: dict[str, LowRank]
    bytes: int


@dataclass(slots=True)
class _Selection:
    """Which adapters the rows of the coming forward pass use; every wrapped layer reads it."""

    single: str | None = None  # the adapter of all rows
    runs: tuple[tuple[str, int, int], ...] = ()  # a mixed batch: adapter, first row, last row + 1
    mask: Tensor | None = None  # a mixed batch: (rows, all ranks), 1 where the rank belongs to the row's adapter
    rows: tuple[str | None, ...] = ()


class LoraLayer(nn.Module):
    """A linear layer of the base (nn.Linear, or the transposed Conv1D of GPT-2) with the adapters that reach it."""

    def __init__(self, base: nn.Module, selection: _Selection) -> None:
        super().__init__()
        self.base = base
        self.pairs: dict[str, LowRank] = {}
        self.wide: LowRank | None = None
        self._selection = selection

    def forward(self, x: Tensor) -> Tensor:
        """`x` of shape (rows, tokens, in); any shape (..., in) where every row uses the same adapter."""
        result: Tensor = self.base(x)
        chosen = self._selection
        if chosen.single is not None:
            pair = self.pairs.get(chosen.single)
            return result if pair is None else _plus(result, x, pair)
        if chosen.mask is None:
            return result
        if x.ndim != 3 or x.shape[0] != len(chosen.rows):
            raise ValueError("this model shuffles tokens between rows (experts?), so its adapters cannot share a batch")
        if x.shape[1] == 1:
            if self.wide is None:
                return result
            hidden = product(x[:, 0], self.wide.down).mul_(chosen.mask)
            return product_plus(hidden, self.wide.up, result[:, 0])[:, None]
        for name, start, end in chosen.runs:
            pair = self.pairs.get(name)
            if pair is not None:
                hidden = product(x[start:end].flatten(0, 1), pair.down)
                result[start:end].view(-1, result.shape[-1]).addmm_(hidden, pair.up.t())
        return result


def _plus(result: Tensor, x: Tensor, pair: LowRank) -> Tensor:
    hidden = product(x.reshape(-1, x.shape[-1]), pair.down)
    return product_plus(hidden, pair.up, result.reshape(-1, result.shape[-1])).view(result.shape)


class LoraBank:
    """The adapters in memory and the layers they act on. Used by one thread: the engine's."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._selection = _Selection()
        self._layers: dict[str, LoraLayer] = {}
        self._adapters: dict[str, Adapter] = {}
        self._wide: dict[str, tuple[int, int]] = {}  # adapter -> its ranks' place in the wide adapter

    def __contains__(self, name: str) -> bool:
        return name in self._adapters

    def put(self, name: str, adapter: Adapter) -> None:
        """Makes `adapter` selectable as `name`."""
        for path, pair in adapter.layers.items():
            if path not in self._layers:
                self._layers[path] = self._wrap(path)
            self._layers[path].pairs[name] = pair
        self._adapters[name] = adapter

    def drop(self, name: str) -> None:
        """Forgets `name`; no batch may be using it."""
        if self._adapters.pop(name, None) is None:
            return
        for layer in self._layers.values():
            layer.pairs.pop(name, None)
        if name in self._wide:
            self._clear_wide()
        self._selection.rows = ()

    def select(self, rows: Sequence[str | None], live: Iterable[str] = ()) -> None:
        """The adapter of each row of the coming forward pass; `live` names those that other batches use meanwhile.

        The wide adapter is laid out for both, so that batches that take turns do not lay it out anew each step.
        """
        chosen = self._selection
        used = {name for name in rows if name is not None}
        if chosen.rows == tuple(rows) and (chosen.mask is None or used <= self._wide.keys()):
            return
        chosen.rows, chosen.single, chosen.runs, chosen.mask = tuple(rows), None, (), None
        if len(used) == 1 and None not in rows:
            chosen.single = rows[0]
        elif used:
            self._mix(rows, used, used.union(live) & self._adapters.keys())

    def _mix(self, rows: Sequence[str | None], used: set[str], wanted: set[str]) -> None:
        if not used <= self._wide.keys() or len(self._wide) > 2 * len(wanted):
            self._lay_wide(sorted(wanted))
        like = next(pair.down for adapter in self._adapters.values() for pair in adapter.layers.values())
        mask = torch.zeros(len(rows), max(end for _, end in self._wide.values()), dtype=like.dtype)
        for row, name in enumerate(rows):
            if name is not None:
                start, end = self._wide[name]
                mask[row, start:end] = 1
        chosen = self._selection
        chosen.mask = mask.to(like.device)
        runs, end = [], 0
        for name, same in groupby(rows):
            start, end = end, end + len(list(same))
            if name is not None:
                runs.append((name, start, end))
        chosen.runs = tuple(runs)

    def _wrap(self, path: str) -> LoraLayer:
        parent, _, last = path.rpartition(".")
        layer = LoraLayer(self._model.get_submodule(path), self._selection)
        setattr(self._model.get_submodule(parent), last, layer)
        return layer

    def _clear_wide(self) -> None:
        self._wide = {}
        for layer in self._layers.values():
            layer.wide = None

    def _lay_wide(self, names: list[str]) -> None:
        self._clear_wide()
        ranks = {n: max(pair.down.shape[0] for pair in self._adapters[n].layers.values()) for n in names}
        end = 0
        for name in names:
            self._wide[name] = (end, end + ranks[name])
            end += ranks[name]
        for layer in self._layers.values():
            some = next((layer.pairs[n] for n in names if n in layer.pairs), None)
            if some is None:
                continue
            down = some.down.new_zeros(end, some.down.shape[1])  # zeros where an adapter lacks the layer or the rank
            up = some.up.new_zeros(some.up.shape[0], end)
            for name in names:
                if pair := layer.pairs.get(name):
                    start, rank = self._wide[name][0], pair.down.shape[0]
                    down[start : start + rank] = pair.down
                    up[:, start : start + rank] = pair.up
            layer.wide = LowRank(pack(down), pack(up))
