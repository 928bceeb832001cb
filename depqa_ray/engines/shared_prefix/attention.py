"""Attention that reads each shared prefix once for all sequences below it.

One call covers a packed batch: the tokens of many nodes, one after the other, without padding. It first writes their
keys and values to the pool. Then the queries of all nodes below a prefix attend to it together, each node's queries
attend to the node itself (leaves that decode in one slab: as one batch), and the partial results are merged by their
log-sum-exp (Hydragen, arXiv 2402.05099).

:class:`TorchAttention` does so call by call. On a CPU the compiled kernel of ``engines/cpu/attention.py``, if it was
built, does it all in one call, with a running softmax that merges by the same formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface
from typing_extensions import override

from depqa_ray.engines.shared_prefix.kv_pool import KVPool

NAME = "depqa_shared_prefix"
"""The attention implementation's name in transformers."""


class AttentionBackend(Protocol):
    """Computes attention for one packed batch: it knows which tokens attend to which slots."""

    def attend(
        self, pool: KVPool, layer: int, slot_mapping: Tensor, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Write ``key`` and ``value`` [kv_heads, tokens, dim] to the pool, let ``query`` [heads, tokens, dim] attend.

        Returns [tokens, heads, dim].
        """


@dataclass(frozen=True, slots=True)
class AttentionMetadata:
    """The attention's input for one step: the pool, where to write the new tokens, and the backend.

    ``slot_mapping`` is of :meth:`KVPool.slot_indices`, and so are ``copies``: pairs of source and target, in order.
    """

    pool: KVPool
    slot_mapping: Tensor
    copies: list[tuple[Tensor, Tensor]]
    backend: AttentionBackend


@dataclass(frozen=True, slots=True)
class AttentionRange:
    """The packed tokens from ``first`` up to ``end`` (exclusive) attend to the first ``length`` slots of a node.

    ``level`` is the level of their partial results: 0 for the node's own tokens, then its ancestors, outermost first.
    ``mask`` is that of :func:`causal_mask`; None if each token sees all slots.
    """

    first: int
    end: int
    start: int
    capacity: int
    length: int
    level: int
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class SlabRange:
    """The packed ``tokens`` [leaves] attend, one each, to the leaf at ``index`` [leaves] of a part of a slab.

    The part has ``count`` ranges from slot ``start`` on, and ``length`` slots of each are read. ``mask``
    [count, 1, 1, length] hides slots that are not written yet. ``queries`` [count] are the tokens by range; ranges
    without a leaf in this step get any token.
    """

    tokens: Tensor
    index: Tensor
    queries: Tensor
    start: int
    capacity: int
    count: int
    length: int
    mask: Tensor


@dataclass(frozen=True, slots=True)
class TorchAttention(AttentionBackend):
    """Attention by torch's operations. ``levels`` is the depth of the tree of nodes."""

    levels: int
    ranges: list[AttentionRange]
    slabs: list[SlabRange]

    @override
    def attend(
        self, pool: KVPool, layer: int, slot_mapping: Tensor, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        pool.write(layer, slot_mapping, key, value)
        heads, tokens, dim = query.shape
        group = heads // pool.kv_heads
        # Heads that share keys are adjacent after each token: any range of tokens is then a view.
        queries = query.view(pool.kv_heads, group, tokens, dim).transpose(1, 2).contiguous()
        partial = queries.new_zeros(self.levels, *queries.shape)
        lse = torch.full(partial.shape[:-1], -torch.inf, dtype=torch.float32, device=query.device)
        for part in self.ranges:
            run = slice(part.first, part.end)
            out, weight = _attend(
                queries[:, run].flatten(1, 2)[None],
                *pool.view(layer, part.start, part.capacity, part.length, 1),
                scaling,
                part.mask,
            )
            partial[part.level, :, run] = out.view(pool.kv_heads, -1, group, dim)
            lse[part.level, :, run] = weight.view(pool.kv_heads, -1, group)
        for slab in self.slabs:
            out, weight = _attend(
                queries.index_select(1, slab.queries).transpose(0, 1),
                *pool.view(layer, slab.start, slab.capacity, slab.length, slab.count),
                scaling,
                slab.mask,
            )
            partial[0].index_copy_(1, slab.tokens, out.index_select(0, slab.index).transpose(0, 1))
            lse[0].index_copy_(1, slab.tokens, weight.index_select(0, slab.index).transpose(0, 1))
        return _merge(partial, lse).to(query.dtype).transpose(0, 1).reshape(tokens, heads, dim)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    scaling: float,
    attention_metadata: AttentionMetadata,
    **_: object,
) -> tuple[Tensor, None]:
    """transformers' attention interface: ``query`` [1, heads, tokens, dim] in, [1, tokens, heads, dim] out."""
    metadata, layer = attention_metadata, module.layer_idx
    pool, slot_mapping = metadata.pool, metadata.slot_mapping
    if metadata.copies:
        # Sources may be tokens of this very step: written first here, since the backend writes too late for them.
        pool.write(layer, slot_mapping, key[0], value[0])
        for source, target in metadata.copies:
            pool.copy(layer, source, target)
    return metadata.backend.attend(pool, layer, slot_mapping, query[0], key[0], value[0], scaling)[None], None


def _merge(partial: Tensor, lse: Tensor) -> Tensor:
    """Merge partial softmax results, each weighted by its share of the denominator."""
    if len(partial) == 1:
        return partial[0]
    weights = torch.softmax(lse, 0).unsqueeze(-1)
    # Level by level: one sum over all of them reads and writes several times as much memory.
    merged = partial[0] * weights[0]
    for part, weight in zip(partial[1:], weights[1:], strict=True):
        merged += part * weight
    return merged


def causal_mask(tokens: int, length: int, group: int, device: torch.device) -> Tensor | None:
    """The additive mask [1, 1, tokens * group, length] of ``tokens`` queries, the newest of ``length`` keys.

    Each sees the keys up to its own. None for one token, which sees all.
    """
    if tokens == 1:
        return None
    hidden = torch.ones(tokens, length, dtype=torch.bool, device=device).triu(length - tokens + 1)
    mask = torch.zeros(tokens, length, device=device).masked_fill(hidden, -torch.inf)
    return mask.repeat_interleave(group, 0)[None, None]


def _attend(query: Tensor, key: Tensor, value: Tensor, scaling: float, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax attention and its log-sum-exp: ``query`` [batch, heads, n, dim] in, that and [batch, heads, n] out.

    Plain products: for so few keys the kernels that give the log-sum-exp are slower on a CPU.
    """
    scores = torch.matmul(query, key.transpose(-1, -2))
    # Scale, mask and widen in one pass over the scores.
    scores = torch.add(torch.zeros(1, device=query.device) if mask is None else mask, scores, alpha=scaling)
    highest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(highest).exp_()
    total = weights.sum(-1, keepdim=True)
    return torch.matmul(weights.to(value.dtype), value).div_(total), (highest + total.log()).squeeze(-1)


def register() -> None:
    """Register the attention with transformers, which then builds no mask for it."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
