"""The network's element-wise operations with hand-written gradients.

Autograd's own gradients of these keep float32 copies of whatever was cast and pass over memory many times; on a CPU
that, and not the matrix products, is what training a small network spends its time on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``x`` over the root mean square of its last dimension, times ``weight`` ([dim] or [heads, dim]), in x's dtype."""
    normed: Tensor = _RmsNorm.apply(x, weight.to(x.dtype), eps)  # type: ignore[no-untyped-call]
    return normed


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding. ``x``: [..., dim]; ``cos``, ``sin``: [..., dim / 2] of each position's angles."""
    rotated: Tensor = _Rotate.apply(x, cos, sin)  # type: ignore[no-untyped-call]
    return rotated


def gated_silu(x: Tensor) -> Tensor:
    """``silu(a) * b`` of the two halves of the last dimension. ``x``: [..., 2 * dim], the result [..., dim]."""
    gated: Tensor = _GatedSilu.apply(x)  # type: ignore[no-untyped-call]
    return gated


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = (norm.square() / x.shape[-1] + eps).rsqrt().to(x.dtype)
        unit: Tensor = x * scale
        ctx.save_for_backward(unit, scale, weight)
        return unit * weight

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        unit, scale, weight = ctx.saved_tensors
        product = grad * unit
        grad_weight = product.reshape(-1, *weight.shape).sum(0, dtype=torch.float32).to(weight.dtype)
        if weight.ndim == 1:  # a matrix product is the cheapest weighted sum, but holds for one weight only
            mean = (product.reshape(-1, weight.shape[-1]) @ weight.unsqueeze(-1)).reshape(scale.shape)
        else:
            mean = (product * weight).sum(-1, keepdim=True)
        grad_x = (grad * weight).addcmul_(unit, mean / unit.shape[-1], value=-1).mul_(scale)
        return grad_x, grad_weight, None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(grads[0], cos, -sin), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    out = torch.empty_like(x)
    torch.mul(first, cos, out=out[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out[..., half:]).addcmul_(first, sin)
    return out


class _GatedSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        a, b = x.chunk(2, -1)
        return functional.silu(a).mul_(b)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        (grad,) = grads
        (x,) = ctx.saved_tensors
        a, b = x.chunk(2, -1)
        half = a.shape[-1]
        sigmoid = torch.sigmoid(a)
        silu = a * sigmoid
        out = torch.empty_like(x)
        torch.mul(grad, silu, out=out[..., half:])
        slope = silu.mul(sigmoid).neg_().add_(silu).add_(sigmoid)  # silu' = s + a s (1 - s)
        torch.mul(grad, b, out=out[..., :half]).mul_(slope)
        return out
