"""The reader's network, and a lean forward pass for training it on a CPU.

The network is transformers' ``Qwen3ForCausalLM`` and nothing else, so that its checkpoint loads like any other. Training
runs the same maths over the same weights by other means: bfloat16 throughout (float32 weights are cast where they are
used), hand-written gradients for the element-wise parts, and attention over a passage and its exercises in blocks.
The generic path spends three quarters of its time on element-wise float32 work and on masked-out scores.

Shapes below: B lessons, P passage tokens, E exercises of S tokens in a group, H heads of D dimensions, N tokens in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3ForCausalLM


@dataclass(frozen=True, slots=True)
class Layout:
    """How a batch's tokens lie in one row a lesson: P passage tokens, then groups of (exercises, tokens in each).

    ``passage``: P. ``groups``: the (E, S) of each group. ``present``: [B, P], False where the passage is padding.
    """

    passage: int
    groups: tuple[tuple[int, int], ...]
    present: Tensor


class _Norm(torch.autograd.Function):
    """RMS norm over the last dimension without leaving the input's dtype for more than the row's scale."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = (torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square() / x.shape[-1] + eps).rsqrt()
        unit = x * scale.to(x.dtype)
        ctx.save_for_backward(unit, scale.to(x.dtype), weight)
        return unit * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, scale, weight = ctx.saved_tensors
        product = grad * unit
        grad_weight = product.reshape(-1, *weight.shape).sum(0, dtype=torch.float32).to(weight.dtype)
        mean = (product.reshape(-1, weight.shape[-1]) @ weight.unsqueeze(-1) if weight.ndim == 1 else (product * weight).sum(-1, keepdim=True))
        mean = mean.reshape(scale.shape) / unit.shape[-1]
        return (grad * weight).addcmul_(unit, mean, value=-1).mul_(scale), grad_weight, None


class _Rotate(torch.autograd.Function):
    """Rotary position embedding; its gradient is the rotation back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotate(grad, cos, -sin), None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """``x``: [..., D]; ``cos`` and ``sin``: [..., D / 2]."""
    half = x.shape[-1] // 2
    out = torch.empty_like(x)
    a, b = x[..., :half], x[..., half:]
    torch.mul(a, cos, out=out[..., :half]).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=out[..., half:]).addcmul_(a, sin)
    return out


class _Gate(torch.autograd.Function):
    """``silu(a) * b`` of the two halves of the last dimension."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        a, b = x.chunk(2, -1)
        return F.silu(a).mul_(b)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        a, b = x.chunk(2, -1)
        sigmoid = torch.sigmoid(a)
        silu = a * sigmoid
        out = torch.empty_like(x)
        half = a.shape[-1]
        torch.mul(grad, silu, out=out[..., half:])
        slope = silu.mul(sigmoid).neg_().add_(silu).add_(sigmoid)  # s + a s (1 - s)
        torch.mul(grad, b, out=out[..., :half]).mul_(slope)
        return out


def _attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Attention of passages to themselves and of exercises to their passage and themselves. All [B, H, N / B, D]."""
    batch, heads, _, size = q.shape
    passage = layout.passage
    qp, kp, vp = q[:, :, :passage], k[:, :, :passage], v[:, :, :passage]
    out = [F.scaled_dot_product_attention(qp, kp, vp, is_causal=True)]
    bias = torch.zeros(layout.present.shape, dtype=q.dtype).masked_fill_(~layout.present, float("-inf"))[:, None, None]
    scale = size**-0.5
    at = passage
    kp_t = kp.transpose(-1, -2)
    for count, length in layout.groups:
        end = at + count * length
        qs = q[:, :, at:end] * scale
        shape = (batch, heads, count, length, size)
        own_q, own_k, own_v = qs.reshape(shape), k[:, :, at:end].reshape(shape), v[:, :, at:end].reshape(shape)
        to_passage = (qs @ kp_t) + bias
        causal = torch.full((length, length), float("-inf"), dtype=q.dtype).triu_(1)
        to_own = (own_q @ own_k.transpose(-1, -2)) + causal
        scores = torch.cat([to_passage.reshape(batch, heads, count, length, passage), to_own], -1).softmax(-1)
        seen = scores[..., :passage].reshape(batch, heads, count * length, passage) @ vp
        out.append(seen + (scores[..., passage:] @ own_v).reshape(batch, heads, count * length, size))
        at = end
    return torch.cat(out, 2)


def hidden_states(model: Qwen3ForCausalLM, ids: Tensor, positions: Tensor, layout: Layout, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """The final hidden states, [B, N / B, hidden], of what the model reads. ``ids``, ``positions``: [B, N / B]."""
    config = model.config
    heads, kv, size, eps = config.num_attention_heads, config.num_key_value_heads, config.head_dim, config.rms_norm_eps
    batch, length = ids.shape
    x = F.embedding(ids, model.model.embed_tokens.weight).to(dtype)
    inverse = model.model.rotary_emb.inv_freq
    angles = positions[:, :, None, None] * inverse
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        h = _norm(x, layer.input_layernorm.weight, eps)
        qkv = F.linear(h, _cast([attention.q_proj, attention.k_proj, attention.v_proj], dtype)).view(batch, length, -1, size)
        gains = torch.cat([attention.q_norm.weight.expand(heads, size), attention.k_norm.weight.expand(kv, size)])
        qk = _Rotate.apply(_norm(qkv[:, :, : heads + kv], gains, eps), cos, sin).transpose(1, 2)
        q, k, v = qk[:, :heads], qk[:, heads:], qkv[:, :, heads + kv :].transpose(1, 2)
        if kv < heads:
            k, v = k.repeat_interleave(heads // kv, 1), v.repeat_interleave(heads // kv, 1)
        mixed = _attend(q, k, v, layout).transpose(1, 2).reshape(batch, length, heads * size)
        x = x + F.linear(mixed, attention.o_proj.weight.to(dtype))
        h = _norm(x, layer.post_attention_layernorm.weight, eps)
        x = x + F.linear(_Gate.apply(F.linear(h, _cast([mlp.gate_proj, mlp.up_proj], dtype))), mlp.down_proj.weight.to(dtype))
    return _norm(x, model.model.norm.weight, eps)


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _Norm.apply(x, weight.to(x.dtype), eps)


def _cast(layers: list[nn.Linear], dtype: torch.dtype) -> Tensor:
    return torch.cat([layer.weight for layer in layers]).to(dtype)


def new_model(vocabulary: int, hidden: int, layers: int, heads: int, kv: int, head_dim: int, ffn: int, init: float, qk: float, theta: float) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv, head_dim=head_dim, intermediate_size=ffn, max_position_embeddings=4096,
        tie_word_embeddings=True, initializer_range=init,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
    )
    model = Qwen3ForCausalLM(config)
    for layer in model.model.layers:
        for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm):
            norm.weight.data.fill_(qk)
    return model


