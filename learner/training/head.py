"""Log-probabilities of the answers in a batch, for no more arithmetic than they take."""

import functools
import types
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import structlog
import torch
from trl.trainer.utils import FusedCausalLMOutput

from learner.training import sharing
from learner.training.examples import IGNORED

log = structlog.get_logger(__name__)

_TOLERANCE = {torch.float32: 1e-3}
_ROUNDING = 0.15
"""How far log-probabilities of the two ways may lie apart, on average, by rounding. A wrong mask costs whole units."""


@dataclass
class _Rows:
    """What one pass wants of its output embedding: the rows at `places` of hidden states [*shape, width]."""

    shape: torch.Size
    places: torch.Tensor
    selected: bool = False


_wanted: ContextVar[_Rows | None] = ContextVar("rows", default=None)
"""Of the pass that this thread is in: several threads may run one model."""


@dataclass
class Scored(FusedCausalLMOutput):  # type: ignore[misc]
    """TRL's output, and the logits [labelled tokens, vocabulary] it was read from, row by row: for losses on distributions."""

    logits: torch.Tensor | None = None


class AnswerHead:
    """A causal model's forward pass with TRL's fused head (`model(..., labels=..., fused_lm_head=True)`).

    TRL's own computes every position's logits where it has no Triton. This one lets the model run its own forward over the
    batch's tree of tokens (see `sharing`) and hands its output embedding only the rows whose next token is labelled, so
    soft-capping, scaling and whatever else an architecture does to its logits stay the model's business. A model whose
    attention is not open to that runs the padded batch. Put it on after the trainer's own and before training; padding
    must be on the right.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.sharing = False
        self.usual_attention = model.config._attn_implementation
        self.original = type(model).forward
        own = self.original

        # The signature stays visible: transformers validates arguments against it.
        @functools.wraps(own)
        def forward(model: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any) -> Any:
            if fused_lm_head:
                return self._score(labels=labels, **kwargs)
            return own(model, *args, labels=labels, **kwargs)

        model.forward = types.MethodType(forward, model)
        model.get_output_embeddings().register_forward_pre_hook(_select)

    def share(self, samples: Sequence[Sequence[int]]) -> bool:
        """Share beginnings from now on, if the model takes it: `samples` of token ids must score the same either way."""
        longest = max(map(len, samples))
        device = self.model.device
        ids = torch.tensor([[*sample, *[sample[-1]] * (longest - len(sample))] for sample in samples], device=device)
        mask = torch.tensor([[1] * len(sample) + [0] * (longest - len(sample)) for sample in samples], device=device)
        labels = ids.masked_fill(mask == 0, IGNORED)
        with torch.no_grad():
            padded = self._score(ids, labels, mask).log_probs
            try:
                self.model.set_attn_implementation(sharing.ATTENTION)
                self.sharing = self.model.config._attn_implementation == sharing.ATTENTION
                apart = float((self._score(ids, labels, mask).log_probs - padded).abs().mean())
            except Exception as error:  # Whatever a foreign architecture makes of it, the padded way is left.
                log.debug("sharing refused", error=repr(error))
                apart = float("nan")
        self.sharing = self.sharing and apart <= _TOLERANCE.get(self.model.dtype, _ROUNDING)
        if not self.sharing:
            self.unshare()
        log.info("beginnings shared" if self.sharing else "beginnings not shared", apart=apart)
        return self.sharing

    def unshare(self) -> None:
        """Run padded batches from now on, with the model's usual attention."""
        self.sharing = False
        self.model.set_attn_implementation(self.usual_attention)

    def _score(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Scored:
        mask = labels[:, 1:] != IGNORED
        kwargs["use_cache"] = False
        if self.sharing:
            lengths = (
                [input_ids.shape[1]] * len(input_ids) if attention_mask is None else attention_mask.sum(1).tolist()
            )
            rows = [ids[:length] for ids, length in zip(input_ids.tolist(), lengths, strict=True)]
            tree = sharing.Tree(rows, input_ids.device)
            kwargs["position_ids"] = tree.positions
            with sharing.along(tree):
                logits = self._logits(tree.tokens, tree.places[:, :-1][mask], kwargs)
        else:
            # Right of a causal row's tokens, padding is not seen: no mask is needed for it.
            at = torch.arange(input_ids.numel(), device=input_ids.device).view_as(input_ids)
            logits = self._logits(input_ids, at[:, :-1][mask], kwargs)
        scored = _TokenLogProbs.apply(logits, labels[:, 1:][mask])  # type: ignore[no-untyped-call]
        nothing = scored.new_zeros(mask.shape)
        # What only feeds TRL's metrics is not computed.
        return Scored(
            loss=-scored.mean(),
            log_probs=nothing.masked_scatter(mask, scored),
            entropy=nothing,
            mean_logits=nothing,
            is_top1=nothing > 0,
            label_mask=mask,
            logits=logits,
        )

    def _logits(self, input_ids: torch.Tensor, places: torch.Tensor, kwargs: Any) -> torch.Tensor:
        """Logits [rows, vocabulary] after the tokens at `places` [rows] of the flattened `input_ids`."""
        wanted = _Rows(input_ids.shape, places)
        before = _wanted.set(wanted)
        try:
            logits: torch.Tensor = self.original(self.model, input_ids=input_ids, **kwargs).logits
        finally:
            _wanted.reset(before)
        rows = logits.reshape(-1, logits.shape[-1])
        # A model that does not end in its output embedding has given its logits at every position.
        return rows if wanted.selected else rows.index_select(0, places)


def _select(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Before the output embedding: its first input of the pass's shape is cut to the rows that are wanted."""
    wanted, hidden = _wanted.get(), inputs[0]
    if wanted is None or wanted.selected or hidden.shape[:-1] != wanted.shape:
        return None
    wanted.selected = True
    return (hidden.reshape(-1, hidden.shape[-1]).index_select(0, wanted.places).unsqueeze(0), *inputs[1:])


class _TokenLogProbs(torch.autograd.Function):
    """Log-probability [rows], fp32, of each target under its row of logits [rows, vocabulary].

    A few rows at a time in fp32, so that they stay in the processor's cache: four times faster than cross_entropy over
    all of them in fp32 (27 against 99 ms for 200 rows of 49,152), and no fp32 copy of all logits is ever made.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        chosen = torch.empty(len(targets), dtype=torch.float32, device=logits.device)
        norms = torch.empty_like(chosen)
        for at in _chunks(logits):
            rows = logits[at].float()
            torch.logsumexp(rows, -1, out=norms[at])
            chosen[at] = rows.gather(1, targets[at, None])[:, 0]
        ctx.save_for_backward(logits, targets, norms)
        return chosen - norms

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        logits, targets, norms = ctx.saved_tensors
        (grad,) = grads
        result = torch.empty_like(logits)
        for at in _chunks(logits):
            rows = logits[at].float().sub_(norms[at, None]).exp_().mul_(-grad[at, None])
            result[at] = rows.scatter_add_(1, targets[at, None], grad[at, None])
        return result, None


def _chunks(logits: torch.Tensor) -> list[slice]:
    size = 16 if logits.device.type == "cpu" else 1024
    return [slice(at, at + size) for at in range(0, len(logits), size)]
