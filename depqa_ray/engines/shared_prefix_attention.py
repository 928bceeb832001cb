"""Attention that reads each shared prefix once for all rows that follow it.

One call sees a packed batch: the tokens of many spans, one after the other, without padding. Their keys and values are
written into the store's slots first. Then the queries of all spans below a prefix attend to it together, each span's
queries attend to its own slots, and the partial results are merged by their log-sum-exp (Hydragen, arXiv 2402.05099).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

NAME = "depqa_shared_prefix"
"""The attention implementation's name in transformers."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The packed tokens ``first`` to ``last`` (exclusive) attend to the ``length`` slots from ``start`` on.

    ``mask`` is None where each sees all of them; otherwise it is what :func:`causal_mask` makes.
    """

    first: int
    last: int
    start: int
    length: int
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class PackedStep:
    """What the attention of one step needs: the store, where the new tokens go, and who attends to what.

    ``keys`` and ``values`` hold [kv_heads, slots, head_dim] for each layer; ``slots`` is [tokens].
    """

    keys: list[Tensor]
    values: list[Tensor]
    slots: Tensor
    shared: list[Reach]
    own: list[Reach]


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    scaling: float,
    packed_step: PackedStep,
    **_: object,
) -> tuple[Tensor, None]:
    """transformers' attention interface: ``query`` [1, heads, tokens, dim] in, [1, tokens, heads, dim] out."""
    keys, values = packed_step.keys[module.layer_idx], packed_step.values[module.layer_idx]
    keys.index_copy_(1, packed_step.slots, key[0])
    values.index_copy_(1, packed_step.slots, value[0])
    heads, tokens, dim = query.shape[1:]
    kv_heads = keys.shape[0]
    queries = query[0].view(kv_heads, heads // kv_heads, tokens, dim)
    out = torch.empty_like(queries, dtype=torch.float32)
    lse = torch.empty(queries.shape[:3], dtype=torch.float32, device=queries.device)

    def attend(reach: Reach) -> tuple[Tensor, Tensor]:
        end = reach.start + reach.length
        span = queries[:, :, reach.first : reach.last]
        return _attend(span, keys[:, reach.start : end], values[:, reach.start : end], scaling, reach.mask)

    for own in packed_step.own:
        out[:, :, own.first : own.last], lse[:, :, own.first : own.last] = attend(own)
    for shared in packed_step.shared:
        _merge(out[:, :, shared.first : shared.last], lse[:, :, shared.first : shared.last], *attend(shared))
    return out.view(heads, tokens, dim).transpose(0, 1)[None].to(query.dtype), None


def _merge(out: Tensor, lse: Tensor, part_out: Tensor, part_lse: Tensor) -> None:
    """Merge partial softmax results into ``out`` and ``lse``: each weighs as much as its share of the denominator."""
    total = torch.logaddexp(lse, part_lse)
    out.mul_((lse - total).exp_().unsqueeze(-1)).add_(part_out * (part_lse - total).exp_().unsqueeze(-1))
    lse.copy_(total)


def causal_mask(tokens: int, length: int, group: int, like: Tensor) -> Tensor | None:
    """The additive mask of ``tokens`` queries, the newest of ``length`` keys: each sees the keys up to its own.

    [1, 1, group * tokens, length], of the dtype and on the device of ``like``; None for one token, which sees all.
    """
    if tokens == 1:
        return None
    hidden = torch.ones(tokens, length, dtype=torch.bool, device=like.device).triu(length - tokens + 1)
    return like.new_zeros(tokens, length).masked_fill(hidden, float("-inf")).repeat(group, 1)[None, None]


def _attend(query: Tensor, key: Tensor, value: Tensor, scaling: float, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax attention and its log-sum-exp: [kv_heads, group, tokens, dim] and [kv_heads, group, tokens]."""
    kv_heads, group, tokens, dim = query.shape
    flat = query.reshape(1, kv_heads, group * tokens, dim)
    if query.device.type == "cpu":
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            flat, key[None], value[None], attn_mask=mask, scale=scaling
        )
        # The kernel hands the log-sum-exp out as [batch, heads, tokens], whatever its strides are.
        return out.view(kv_heads, group, tokens, dim).float(), lse.reshape(kv_heads, group, tokens)
    scores = torch.matmul(flat, key[None].transpose(-1, -2)).float() * scaling
    if mask is not None:
        scores += mask
    lse = scores.logsumexp(-1, keepdim=True)
    out = torch.matmul((scores - lse).exp().to(value.dtype), value[None])
    return out.view(kv_heads, group, tokens, dim).float(), lse.view(kv_heads, group, tokens)


def register() -> None:
    """Make the attention known to transformers, with no mask to be built beside it."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
