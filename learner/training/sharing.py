"""Sequences of a batch as one tree of tokens: no padding, and what several begin with is computed once.

Training examples begin alike (the system prompt, a template's opening, a preference pair's prompt). In a causal model equal
beginnings have equal states, so each is computed once, and its gradient is the sum over the sequences that share it: the
same loss and the same gradients as a padded batch's, for a third to a half fewer tokens. Only attention looks across tokens;
it gathers each sequence from the tree.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from transformers import AttentionInterface

ATTENTION = "nightschool_tree"
"""The attention's name in transformers' registry."""

_LONG = 512
"""From this many tokens on, attention that keeps no matrix of scores saves memory; below it, plain products are five
times faster on a CPU (60 tokens: 3.7 ms a layer forward and backward, against 14)."""


class Tree:
    """The tokens of a batch, each distinct beginning once.

    `tokens` and `positions` are [1, nodes]; `places` [sequences, longest] tells each token's node (padding: node 0).
    """

    def __init__(self, sequences: Sequence[Sequence[int]], device: torch.device) -> None:
        longest = max(len(sequence) for sequence in sequences)
        nodes: dict[tuple[int, int], int] = {}
        tokens: list[int] = []
        positions: list[int] = []
        homes: list[int] = []
        places: list[list[int]] = []
        for row, sequence in enumerate(sequences):
            node, place = -1, []
            for position, token in enumerate(sequence):
                node = nodes.setdefault((node, token), len(tokens))
                if node == len(tokens):
                    tokens.append(token)
                    positions.append(position)
                    homes.append(row * longest + position)
                place.append(node)
            places.append(place + [0] * (longest - len(sequence)))
        self.tokens = torch.tensor([tokens], device=device)
        self.positions = torch.tensor([positions], device=device)
        self.places = torch.tensor(places, device=device)
        self._homes = torch.tensor(homes, device=device)
        self._made: dict[Any, torch.Tensor] = {}

    def gather(self, states: torch.Tensor, groups: int) -> torch.Tensor:
        """States [1, heads, nodes, d] as sequences [sequences * heads / groups, groups * longest, d]."""
        heads, nodes, width = states.shape[1:]
        key = ("gather", heads, groups)
        if key not in self._made:
            head = torch.arange(heads, device=states.device).view(1, heads // groups, groups, 1)
            self._made[key] = (self.places[:, None, None, :] * heads + head).reshape(-1)
        rows = states[0].transpose(0, 1).reshape(nodes * heads, width)
        return rows.index_select(0, self._made[key]).view(-1, groups * self.places.shape[1], width)

    def scatter(self, states: torch.Tensor, heads: int) -> torch.Tensor:
        """Sequences [sequences, heads, longest, d] as nodes [1, nodes, heads, d]."""
        longest, width = self.places.shape[1], states.shape[-1]
        key = ("scatter", heads)
        if key not in self._made:
            row, position = self._homes // longest, self._homes % longest
            head = torch.arange(heads, device=states.device)
            self._made[key] = ((row[:, None] * heads + head) * longest + position[:, None]).reshape(-1)
        return states.reshape(-1, width).index_select(0, self._made[key]).view(1, -1, heads, width)

    def bias(self, groups: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
        """What is added to scores [groups * longest, longest]: minus infinity where a token must not look."""
        key = ("bias", groups, window, like.dtype)
        if key not in self._made:
            at = torch.arange(self.places.shape[1], device=like.device)
            ago = at[:, None] - at
            hidden = (ago < 0) if window is None else (ago < 0) | (ago >= window)
            mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill(hidden, float("-inf"))
            self._made[key] = mask.repeat(groups, 1)
        return self._made[key]


_current: ContextVar[Tree | None] = ContextVar("tree", default=None)


@contextmanager
def along(tree: Tree) -> Iterator[None]:
    """Within it, the registered attention follows `tree`. One at a time a thread."""
    before = _current.set(tree)
    try:
        yield
    finally:
        _current.reset(before)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each sequence of the current tree (transformers' attention interface).

    `query` [1, heads, nodes, d], `key` and `value` [1, fewer heads, nodes, d]; gives [1, nodes, heads, d].
    """
    tree = _current.get()
    assert tree is not None, "the tree's attention is only for use within `along`"
    heads, groups = query.shape[1], query.shape[1] // key.shape[1]
    longest = tree.places.shape[1]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    q, k, v = tree.gather(query, groups), tree.gather(key, 1), tree.gather(value, 1)
    bias = tree.bias(groups, sliding_window, query)
    if softcap is not None:
        scores = torch.tanh(torch.bmm(q, k.transpose(1, 2)) * (scale / softcap)) * softcap + bias
    elif longest > _LONG or query.device.type != "cpu":
        # Four dimensions, of which the first is empty: the fused kernels take no fewer.
        attended = torch.nn.functional.scaled_dot_product_attention(
            q[None], k[None], v[None], attn_mask=bias, scale=scale, dropout_p=dropout
        )
        return tree.scatter(attended.view(-1, heads, longest, v.shape[-1]), heads), None
    else:
        scores = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=scale)
    weights = torch.softmax(scores, dim=-1)
    if dropout:
        weights = torch.nn.functional.dropout(weights, dropout)
    return tree.scatter(torch.bmm(weights, v).view(-1, heads, longest, v.shape[-1]), heads), None


AttentionInterface.register(ATTENTION, attend)
