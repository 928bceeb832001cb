"""Attention that reads each shared prefix once for all rows that follow it.

One call sees a packed batch: the tokens of many spans, one after the other, without padding. Their keys and values are
written into the store first. Then the queries of all spans below a prefix attend to it together, each span's queries
attend to the span itself (rows that decode in one slab: as one batch), and the partial results are merged by their
log-sum-exp (Hydragen, arXiv 2402.05099).

That is what :class:`TorchPlan` does, call by call. On a CPU one kernel does it all where it has been built, see
``native_attention``: it goes over the spans with a running softmax, which merges by the same formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from depqa_ray.engines.cpu.attention import NativePlan
from depqa_ray.engines.shared_prefix.kv_pool import KVStore

NAME = "depqa_shared_prefix"
"""The attention implementation's name in transformers."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The packed tokens ``first`` to ``last`` (exclusive) attend to the first ``length`` slots of a span.

    ``level`` says among whose results theirs belong: 0 is the span's own, then its ancestors from the outside in.
    ``mask`` is None where each token sees all slots; otherwise it is what :func:`causal_mask` makes.
    """

    first: int
    last: int
    start: int
    room: int
    length: int
    level: int
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class SlabReach:
    """The packed ``tokens`` [rows] attend, each alone, to the span at its ``place`` [rows] of a range of places.

    ``length`` slots of each of ``places`` places from ``start`` on are read; ``mask`` [places, 1, 1, length] hides
    what is not there yet. ``queries`` [places] are the tokens by place, any token where a place has no row here.
    """

    tokens: Tensor
    place: Tensor
    queries: Tensor
    start: int
    room: int
    places: int
    length: int
    mask: Tensor


@dataclass(frozen=True, slots=True)
class TorchPlan:
    """Who attends to what, for torch alone. ``levels`` is how many spans lie above one another at most."""

    levels: int
    reaches: list[Reach]
    slabs: list[SlabReach]

    def attend(
        self, store: KVStore, layer: int, where: Tensor, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Write ``key`` and ``value`` [kv_heads, tokens, dim], let ``query`` [heads, tokens, dim] attend.

        Returns [tokens, heads, dim].
        """
        store.write(layer, where, key, value)
        heads, tokens, dim = query.shape
        group = heads // store.kv_heads
        # Heads that share keys stand side by side after each token: any run of tokens is then a view.
        queries = query.view(store.kv_heads, group, tokens, dim).transpose(1, 2).contiguous()
        parts = queries.new_zeros(self.levels, *queries.shape)
        lse = torch.full(parts.shape[:-1], -torch.inf, dtype=torch.float32, device=query.device)
        for reach in self.reaches:
            run = slice(reach.first, reach.last)
            out, weight = _attend(
                queries[:, run].flatten(1, 2)[None],
                *store.view(layer, reach.start, reach.room, reach.length, 1),
                scaling,
                reach.mask,
            )
            parts[reach.level, :, run] = out.view(store.kv_heads, -1, group, dim)
            lse[reach.level, :, run] = weight.view(store.kv_heads, -1, group)
        for slab in self.slabs:
            out, weight = _attend(
                queries.index_select(1, slab.queries).transpose(0, 1),
                *store.view(layer, slab.start, slab.room, slab.length, slab.places),
                scaling,
                slab.mask,
            )
            parts[0].index_copy_(1, slab.tokens, out.index_select(0, slab.place).transpose(0, 1))
            lse[0].index_copy_(1, slab.tokens, weight.index_select(0, slab.place).transpose(0, 1))
        return _merge(parts, lse).to(query.dtype).transpose(0, 1).reshape(tokens, heads, dim)


@dataclass(frozen=True, slots=True)
class PackedStep:
    """What the attention of one step needs: the store, where the new tokens go, and who attends to what.

    ``where`` is what :meth:`KVStore.vectors` gave, and so are ``copies``, pairs of from where and to where, in order.
    """

    store: KVStore
    where: Tensor
    copies: list[tuple[Tensor, Tensor]]
    plan: TorchPlan | NativePlan


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
    step, layer = packed_step, module.layer_idx
    if step.copies:
        # What is lent may be of this very step: written first here, since the plan's own writing comes too late for it.
        step.store.write(layer, step.where, key[0], value[0])
        for source, where in step.copies:
            step.store.copy(layer, source, where)
    return step.plan.attend(step.store, layer, step.where, query[0], key[0], value[0], scaling)[None], None


def _merge(parts: Tensor, lse: Tensor) -> Tensor:
    """Merge partial softmax results: each weighs as much as its share of the denominator."""
    if len(parts) == 1:
        return parts[0]
    weights = torch.softmax(lse, 0).unsqueeze(-1)
    # Level by level: one sum over all of them reads and writes several times as much memory.
    merged = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        merged += part * weight
    return merged


def causal_mask(tokens: int, length: int, group: int, device: torch.device) -> Tensor | None:
    """The additive mask of ``tokens`` queries, the newest of ``length`` keys: each sees the keys up to its own.

    [1, 1, tokens * group, length]; None for one token, which sees all.
    """
    if tokens == 1:
        return None
    hidden = torch.ones(tokens, length, dtype=torch.bool, device=device).triu(length - tokens + 1)
    mask = torch.zeros(tokens, length, device=device).masked_fill(hidden, -torch.inf)
    return mask.repeat_interleave(group, 0)[None, None]


def _attend(query: Tensor, key: Tensor, value: Tensor, scaling: float, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax attention and its log-sum-exp: ``query`` [batch, heads, n, dim] in, that and [batch, heads, n] out.

    Plain products, since the kernels that give the log-sum-exp are slower on a CPU for so few keys.
    """
    scores = torch.matmul(query, key.transpose(-1, -2))
    # Scale, mask and widen in one pass over the scores.
    scores = torch.add(torch.zeros(1, device=query.device) if mask is None else mask, scores, alpha=scaling)
    highest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(highest).exp_()
    total = weights.sum(-1, keepdim=True)
    return torch.matmul(weights.to(value.dtype), value).div_(total), (highest + total.log()).squeeze(-1)


def register() -> None:
    """Make the attention known to transformers, with no mask to be built beside it."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
