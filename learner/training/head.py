"""Logits only where an answer is trained: the largest matrix of a small model, used where it counts."""

import functools
import types
from typing import Any

import torch
from trl.trainer.utils import FusedCausalLMOutput

from learner.training.examples import IGNORED


def score_completions_only(model: Any) -> None:
    """Give `model` TRL's fused head (`model(..., labels=..., fused_lm_head=True)`) in a form that is fast on a CPU.

    TRL's own computes the logits of every position where it has no Triton. This one lets the model run its own forward
    and hands its output embedding only the rows whose next token is labelled, so soft-capping, scaling and whatever else
    an architecture does to its logits stay the model's business. Put it on after the trainer's own, before training.
    Padding must be on the right: a causal model then needs no mask for it.
    """
    original = type(model).forward

    @functools.wraps(original)
    def forward(self: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return original(self, *args, labels=labels, **kwargs)
        kwargs.pop("attention_mask", None)
        mask = labels[:, 1:] != IGNORED
        logits = _logits(self, original, torch.nonzero(mask), args, {**kwargs, "use_cache": False})
        scored = token_log_probs(logits, labels[:, 1:][mask])
        nothing = scored.new_zeros(mask.shape)
        log_probs = nothing.masked_scatter(mask, scored)
        # What only feeds TRL's metrics is not computed.
        return FusedCausalLMOutput(
            loss=-scored.mean(),
            log_probs=log_probs,
            entropy=nothing,
            mean_logits=nothing,
            is_top1=nothing > 0,
            label_mask=mask,
        )

    model.forward = types.MethodType(forward, model)


def _logits(model: Any, forward: Any, places: torch.Tensor, args: Any, kwargs: Any) -> torch.Tensor:
    """Logits [rows, vocabulary] at `places` [rows, 2] (sequence, position)."""
    rows, positions = places[:, 0], places[:, 1]
    selected: list[torch.Size] = []

    def select(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        hidden = inputs[0]
        if selected or hidden.dim() != 3:
            return None
        chosen = hidden[rows, positions].unsqueeze(0)
        selected.append(chosen.shape)
        return (chosen, *inputs[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        logits: torch.Tensor = forward(model, *args, **kwargs).logits
    finally:
        hook.remove()
    # A model that does not end in its output embedding still gives its logits, at every position.
    return logits[0] if selected else logits[rows, positions]


def token_log_probs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability [rows], fp32, of each target under its row of logits [rows, vocabulary]."""
    return -torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
