"""Packs the chunks of a step side by side, and works out which of their tokens attend to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from depqa_ray.engines.cpu.attention import RUN_QUERIES, Kernel, NativeAttention, kernel_for
from depqa_ray.engines.cuda.plan import PlannedAttention, run_queries, supports_kernels
from depqa_ray.engines.shared_prefix.allocator import Slab
from depqa_ray.engines.shared_prefix.attention import (
    AttentionBackend,
    AttentionMetadata,
    AttentionRange,
    SlabRange,
    TorchAttention,
    causal_mask,
)
from depqa_ray.engines.shared_prefix.kv_pool import KVPool
from depqa_ray.engines.shared_prefix.prefix_cache import PrefixNode


@dataclass(slots=True)
class Chunk:
    """The ``count`` tokens of a node, from ``index`` on, that a step computes: of a prompt, or the one that decodes.

    ``first`` is the packed index of its first token. If the node copies, it does so before attention, in round
    ``copy_round``: its source may itself be copied to in the same step.
    """

    node: PrefixNode
    index: int
    count: int
    copy_round: int = 0
    first: int = 0

    @property
    def end(self) -> int:
        """The number of the node's tokens that are computed after this step."""
        return self.index + self.count


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A step's chunks in packed order, its tokens and positions (each [1, tokens]), and its attention.

    If the attention is planned for the kernels of a GPU, all tensors but the pool's are on the host still.
    """

    chunks: list[Chunk]
    tokens: Tensor
    positions: Tensor
    metadata: AttentionMetadata


def pack(chunks: Sequence[Chunk], pool: KVPool, group: int) -> PackedBatch:
    """Pack chunks: those below one prefix side by side. ``group``: query heads for each key-value head."""
    ordered = sorted(chunks, key=lambda chunk: [node.start for node in (*chunk.node.ancestors, chunk.node)])
    table: list[tuple[int, int, int, int, int]] = []  # token, position, start, capacity, index
    for chunk in ordered:
        chunk.first = len(table)
        node = chunk.node
        table += [
            (node.tokens[i], node.position + i, node.start, node.capacity, i) for i in range(chunk.index, chunk.end)
        ]
    backend = _backend(ordered, pool, group)
    device = torch.device("cpu") if isinstance(backend, PlannedAttention) else pool.device
    tokens, positions, starts, capacities, indices = torch.tensor(table, device=device).T
    slot_mapping = pool.slot_indices(starts, capacities, indices)
    metadata = AttentionMetadata(pool, slot_mapping, _copies(ordered, pool), backend)
    return PackedBatch(ordered, tokens[None], positions[None], metadata)


def _backend(ordered: Sequence[Chunk], pool: KVPool, group: int) -> AttentionBackend:
    if supports_kernels(pool, group):
        return PlannedAttention(*_tensors(_runs(ordered, run_queries(group) // group)))
    kernel = kernel_for(pool, group)
    if kernel is not None:
        return native_attention(ordered, kernel, group, pool.dtype)
    return torch_attention(ordered, group, pool.device)


def native_attention(ordered: Sequence[Chunk], kernel: Kernel, group: int, dtype: torch.dtype) -> NativeAttention:
    """The attention of ``ordered`` chunks by the compiled kernel's fastest variant."""
    tensors = _tensors(_runs(ordered, RUN_QUERIES // group))
    return NativeAttention(kernel, group, kernel.variants(dtype) - 1, *tensors)


def _runs(ordered: Sequence[Chunk], most: int) -> tuple[list[Any], list[Any], list[Any]]:
    """The rows of ``Run``, ``Range`` and ``Chunk`` of ``packed_attention.h``: runs of tokens of sibling nodes.

    A run has ``most`` tokens at most; a chunk may be split between two runs.
    """
    runs: list[list[int]] = []
    ranges: list[tuple[int, int, int]] = []
    chunks: list[tuple[int, int, int, int, int]] = []
    parent: PrefixNode | None = None
    above = (0, 0)
    for chunk in ordered:
        node, done = chunk.node, 0
        siblings = bool(runs) and node.parent is parent
        if not siblings:
            parent, above = node.parent, (len(ranges), len(ranges) + len(node.ancestors))
            # The innermost first: what all runs have in common is cached anyway, and the rest is fetched meanwhile.
            ranges += [(prefix.start, prefix.capacity, len(prefix.tokens)) for prefix in reversed(node.ancestors)]
        while done < chunk.count:
            if not siblings or runs[-1][1] == most:
                runs.append([chunk.first + done, 0, *above, len(chunks), len(chunks)])
                siblings = True
            count = min(chunk.count - done, most - runs[-1][1])
            chunks.append((chunk.first + done, count, node.start, node.capacity, chunk.index + done))
            runs[-1][1] += count
            runs[-1][-1] += 1
            done += count
    return runs, ranges, chunks


def _tensors(rows: tuple[list[Any], list[Any], list[Any]]) -> tuple[Tensor, Tensor, Tensor]:
    runs, ranges, chunks = (torch.tensor(part, dtype=torch.long) for part in rows)
    return runs, ranges, chunks


def torch_attention(ordered: Sequence[Chunk], group: int, device: torch.device) -> TorchAttention:
    """Ranges of tokens that attend together; single tokens of leaves by slab."""
    ranges: list[AttentionRange] = []
    by_slab: dict[Slab, list[Chunk]] = {}
    below: dict[PrefixNode, list[int]] = {}
    for chunk in ordered:
        node, end = chunk.node, chunk.first + chunk.count
        for ancestor in node.ancestors:
            below.setdefault(ancestor, [chunk.first, 0])[1] = end
        if chunk.count == 1 and node.slab is not None:
            by_slab.setdefault(node.slab, []).append(chunk)
        else:
            mask = causal_mask(chunk.count, chunk.end, group, device)
            ranges.append(AttentionRange(chunk.first, end, node.start, node.capacity, chunk.end, 0, mask))
    ranges += [
        AttentionRange(first, end, node.start, node.capacity, len(node.tokens), 1 + len(node.ancestors))
        for node, (first, end) in below.items()
    ]
    slabs = [_slab_range(slab, chunks, device) for slab, chunks in by_slab.items()]
    return TorchAttention(1 + max(len(chunk.node.ancestors) for chunk in ordered), ranges, slabs)


def _copies(chunks: Sequence[Chunk], pool: KVPool) -> list[tuple[Tensor, Tensor]]:
    """Source and target of the keys and values that nodes copy, one pair a round."""
    rounds: dict[int, list[tuple[int, int, int, int, int]]] = {}
    for chunk in chunks:
        node, source = chunk.node, chunk.node.copy_from
        if source is not None:
            rounds.setdefault(chunk.copy_round, []).extend(
                (source.start, source.capacity, node.start, node.capacity, i) for i in range(node.copied_tokens)
            )
    copies = []
    for _, table in sorted(rounds.items()):
        sources, source_capacities, targets, capacities, indices = torch.tensor(table, device=pool.device).T
        from_slots = pool.slot_indices(sources, source_capacities, indices)
        copies.append((from_slots, pool.slot_indices(targets, capacities, indices)))
    return copies


def _slab_range(slab: Slab, chunks: Sequence[Chunk], device: torch.device) -> SlabRange:
    indices = [slab.index(chunk.node.start) for chunk in chunks]
    lowest, highest = min(indices), max(indices)
    count = highest - lowest + 1
    lengths = torch.zeros(count, dtype=torch.long)
    queries = torch.full((count,), chunks[0].first)
    index = torch.tensor(indices) - lowest
    tokens = torch.tensor([chunk.first for chunk in chunks])
    queries[index] = tokens
    lengths[index] = torch.tensor([chunk.end for chunk in chunks])
    length = int(lengths.max())
    # A range without a leaf still sees its first slot: a softmax over nothing would be NaN.
    hidden = torch.arange(length) >= lengths.clamp(min=1)[:, None]
    mask = torch.zeros(count, length).masked_fill(hidden, -torch.inf)[:, None, None]
    tokens, index, queries, mask = (tensor.to(device) for tensor in (tokens, index, queries, mask))
    return SlabRange(tokens, index, queries, slab.start + lowest * slab.capacity, slab.capacity, count, length, mask)
