"""The forward and backward pass of a LoRA layer in as few operations as it takes."""

import types
from typing import Any

import torch
from peft.tuners.lora import Linear


def fuse(model: Any) -> None:
    """Let every plain LoRA layer of a peft `model` compute its sum in place; other kinds are left as they are.

    peft's own forward makes a tensor for each of A(x), B(A(x)), its scaling and the sum, and autograd keeps or refills as
    many on the way back. The results agree up to rounding: here the sum is rounded once.
    """
    for layer in model.modules():
        if type(layer) is Linear and type(layer.get_base_layer()) is torch.nn.Linear:
            layer.forward = types.MethodType(_forward, layer)


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    base = layer.get_base_layer()
    active = layer.active_adapters
    plain = (
        len(active) == 1
        and active[0] in layer.lora_A
        and not (args or kwargs or layer.disable_adapters or layer.merged or layer.lora_variant)
        and isinstance(layer.lora_dropout[active[0]], torch.nn.Identity)
        and layer.lora_B[active[0]].bias is None
        and layer.lora_A[active[0]].weight.dtype == x.dtype
        and not torch.is_autocast_enabled(x.device.type)
    )
    if not plain:
        return type(layer).forward(layer, x, *args, **kwargs)  # type: ignore[no-any-return]
    name = active[0]
    result: torch.Tensor = _LoraLinear.apply(  # type: ignore[no-untyped-call]
        x, base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    )
    return result


class _LoraLinear(torch.autograd.Function):
    """y = x Wᵀ + b + scale · (x Aᵀ) Bᵀ for frozen W [out, in] and b, and trained A [r, in], B [out, r]."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        low = rows @ a.t()
        y = torch.nn.functional.linear(rows, weight, bias)
        y.addmm_(low, b.t(), alpha=scale)
        ctx.save_for_backward(rows, low, weight, a, b)
        ctx.scale, ctx.shape = scale, x.shape
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        rows, low, weight, a, b = ctx.saved_tensors
        dy = grads[0].reshape(-1, grads[0].shape[-1])
        dlow = (dy @ b).mul_(ctx.scale) if ctx.scale != 1 else dy @ b
        da = dlow.t() @ rows if ctx.needs_input_grad[3] else None
        db = dy.t() @ low if ctx.needs_input_grad[4] else None
        if db is not None and ctx.scale != 1:
            db.mul_(ctx.scale)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (dy @ weight).addmm_(dlow, a).view(ctx.shape)
        return dx, None, None, da, db, None
