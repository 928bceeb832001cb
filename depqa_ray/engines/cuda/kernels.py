"""Triton kernels of a packed step: norms, rotary positions with the write of keys and values, attention, activation.

Accumulation is in float32, whatever the type of the tensors. With ``TRITON_INTERPRET=1`` all of them run on a CPU.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_KEYS = 64
"""Keys between two updates of the running softmax."""

_LOG2_E = math.log2(math.e)


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    kernel[grid](*arguments, **options)  # triton's own types do not cover this


@triton.jit
def _add_rms_norm(hidden, delta, weight, out, size, eps, HAS_DELTA: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < size
    at = row * size + columns
    value = tl.load(hidden + at, mask=inside, other=0.0)
    if HAS_DELTA:
        value = value + tl.load(delta + at, mask=inside, other=0.0)  # rounded to its type, as the residual is
        tl.store(hidden + at, value, mask=inside)
    value = value.to(tl.float32)
    scale = tl.rsqrt(tl.sum(value * value) / size + eps)
    scaled = (value * scale).to(out.dtype.element_ty)
    tl.store(out + at, scaled * tl.load(weight + columns, mask=inside), mask=inside)


def add_rms_norm(hidden: Tensor, delta: Tensor | None, weight: Tensor, eps: float) -> Tensor:
    """Add ``delta`` to ``hidden`` in place, both [tokens, size]; returns the root mean square norm of the sum."""
    tokens, size = hidden.shape
    out = torch.empty_like(hidden)
    _launch(
        _add_rms_norm,
        (tokens,),
        *(hidden, hidden if delta is None else delta, weight, out, size, eps),
        HAS_DELTA=delta is not None,
        BLOCK=triton.next_power_of_2(size),
        num_warps=8,
    )
    return out


@triton.jit
def _silu_mul(both, out, size, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < size
    gate = tl.load(both + row * 2 * size + columns, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(both + row * 2 * size + size + columns, mask=inside, other=0.0)
    activated = (gate / (1.0 + tl.exp(-gate))).to(up.dtype)
    tl.store(out + row * size + columns, activated * up, mask=inside)


def silu_mul(both: Tensor) -> Tensor:
    """silu(gate) * up for ``both`` [tokens, 2 * size], the gates first; returns [tokens, size]."""
    tokens, size = both.shape[0], both.shape[1] // 2
    out = both.new_empty(tokens, size)
    block = 1024
    _launch(_silu_mul, (tokens, triton.cdiv(size, block)), both, out, size, BLOCK=block)
    return out


@triton.jit
def _rotate_and_write(
    qkv, q_weight, k_weight, cosines, sines, slots, query, keys, values, tokens, eps,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, HAS_NORM: tl.constexpr,
):  # fmt: skip
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    half = tl.arange(0, DIM // 2)
    source = qkv + (token * (HEADS + 2 * KV_HEADS) + head) * DIM
    low, high = tl.load(source + half), tl.load(source + DIM // 2 + half)
    kind = low.dtype
    is_query, is_key = head < HEADS, head < HEADS + KV_HEADS
    if is_key:
        low, high = low.to(tl.float32), high.to(tl.float32)
        if HAS_NORM:
            scale = tl.rsqrt((tl.sum(low * low) + tl.sum(high * high)) / DIM + eps)
            weight = q_weight if is_query else k_weight
            low = (low * scale).to(kind).to(tl.float32) * tl.load(weight + half).to(tl.float32)
            high = (high * scale).to(kind).to(tl.float32) * tl.load(weight + DIM // 2 + half).to(tl.float32)
        at = token * DIM + half
        first = low * tl.load(cosines + at).to(tl.float32) - high * tl.load(sines + at).to(tl.float32)
        high = high * tl.load(cosines + at + DIM // 2) + low * tl.load(sines + at + DIM // 2)
        low, high = first.to(kind), high.to(kind)
    if is_query:
        target = query + (token * HEADS + head) * DIM
        tl.store(target + half, low)
        tl.store(target + DIM // 2 + half, high)
    else:
        kv_head = head - HEADS if is_key else head - HEADS - KV_HEADS
        slot = tl.load(slots + kv_head * tokens + token)
        target = (keys if is_key else values) + slot * DIM
        if slot >= 0:  # padding has none
            tl.store(target + half, low)
            tl.store(target + DIM // 2 + half, high)


def rotate_and_write(
    qkv: Tensor,
    norms: tuple[Tensor, Tensor] | None,
    eps: float,
    cosines: Tensor,
    sines: Tensor,
    slots: Tensor,
    keys: Tensor,
    values: Tensor,
    heads: int,
    kv_heads: int,
) -> Tensor:
    """Norm and rotate queries and keys, and write keys and values to the pool; returns the queries.

    ``qkv`` [tokens, (heads + 2 * kv_heads) * dim], ``cosines`` and ``sines`` [tokens, dim], ``slots`` of
    :meth:`KVPool.slot_indices`, -1 for what is not written; ``keys`` and ``values`` are a layer's. ``norms`` are the
    weights of the norms of queries and keys. The queries are [tokens, heads, dim].
    """
    tokens, dim = qkv.shape[0], keys.shape[1]
    query = qkv.new_empty(tokens, heads, dim)
    weights = norms or (qkv, qkv)
    _launch(
        _rotate_and_write,
        (tokens, heads + 2 * kv_heads),
        *(qkv, *weights, cosines, sines, slots, query, keys, values, tokens, eps),
        HEADS=heads,
        KV_HEADS=kv_heads,
        DIM=dim,
        HAS_NORM=norms is not None,
        num_warps=1,
    )
    return query


@triton.jit
def _attend_block(
    q, keys, values, row, at, length, last, acc, highest, total, scaling,
    DIM: tl.constexpr, BLOCK: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """One update of the running softmax: the keys from ``at`` on, of ``length``, each row sees those up to ``last``."""
    dims = tl.arange(0, DIM)
    index = at + tl.arange(0, BLOCK)
    offsets = (row + index)[:, None] * DIM + dims[None, :]
    inside = (index < length)[:, None]
    k = tl.load(keys + offsets, mask=inside, other=0.0)
    v = tl.load(values + offsets, mask=inside, other=0.0)
    if WIDEN:
        k, v = k.to(tl.float32), v.to(tl.float32)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scaling
    scores = tl.where(index[None, :] <= last[:, None], scores, float("-inf"))
    newest = tl.maximum(highest, tl.max(scores, 1))
    sees = last >= at  # the others stay as they are: zero times a NaN of another sequence would be NaN
    # A row that has seen no key yet has no maximum to subtract.
    base = tl.where(newest == float("-inf"), 0.0, newest)
    weights = tl.exp2(scores - base[:, None])
    shrink = tl.exp2(highest - base)
    total = tl.where(sees, total * shrink + tl.sum(weights, 1), total)
    added = tl.dot(weights.to(v.dtype), v, input_precision="ieee")
    acc = tl.where(sees[:, None], acc * shrink[:, None] + added, acc)
    return acc, tl.where(sees, newest, highest), total


@triton.jit
def _attention(
    query, keys, values, runs, ranges, chunks, out, scaling,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    run, kv_head = runs + tl.program_id(0) * 6, tl.program_id(1)
    first, count = tl.load(run), tl.load(run + 1)
    rows = tl.arange(0, ROWS)
    token = rows // GROUP
    asked = token < count
    dims = tl.arange(0, DIM)
    heads = kv_head * GROUP + rows % GROUP
    offsets = ((first + token).to(tl.int64) * (KV_HEADS * GROUP) + heads)[:, None] * DIM + dims[None, :]
    q = tl.load(query + offsets, mask=asked[:, None], other=0.0)
    if WIDEN:
        q = q.to(tl.float32)
    acc = tl.zeros((ROWS, DIM), tl.float32)
    highest = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for part in range(tl.load(run + 2), tl.load(run + 3)):
        start, capacity = tl.load(ranges + part * 3).to(tl.int64), tl.load(ranges + part * 3 + 1)
        length = tl.load(ranges + part * 3 + 2)
        row = start * KV_HEADS + kv_head * capacity
        last = tl.zeros((ROWS,), tl.int32) + (length - 1)
        for at in range(0, length, BLOCK):
            acc, highest, total = _attend_block(
                q, keys, values, row, at, length, last, acc, highest, total, scaling, DIM, BLOCK, WIDEN
            )
    for part in range(tl.load(run + 4), tl.load(run + 5)):
        chunk = chunks + part * 5
        begin, tokens = tl.load(chunk) - first, tl.load(chunk + 1)
        start, capacity, index = tl.load(chunk + 2).to(tl.int64), tl.load(chunk + 3), tl.load(chunk + 4)
        row = start * KV_HEADS + kv_head * capacity
        own = (token >= begin) & (token < begin + tokens)
        last = tl.where(own, index + token - begin, -1)
        length = index + tokens
        for at in range(0, length, BLOCK):
            acc, highest, total = _attend_block(
                q, keys, values, row, at, length, last, acc, highest, total, scaling, DIM, BLOCK, WIDEN
            )
    result = acc / tl.where(total > 0.0, total, 1.0)[:, None]
    tl.store(out + offsets, result.to(out.dtype.element_ty), mask=asked[:, None])


def attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    plan: tuple[Tensor, Tensor, Tensor],
    scaling: float,
    kv_heads: int,
    rows: int,
) -> Tensor:
    """Packed attention of ``query`` [tokens, heads, dim] to a layer's ``keys`` and ``values``; returns its shape.

    ``plan`` has rows of runs, ranges and chunks as in ``engines/cpu/csrc/packed_attention.h``; a run without
    tokens is skipped. ``rows``: the most tokens of a run times the query heads that share keys, rounded up to a power
    of two, at least 16.
    """
    runs, ranges, chunks = plan
    heads, dim = query.shape[1:]
    out = torch.empty_like(query)
    _launch(
        _attention,
        (len(runs), kv_heads),
        *(query, keys, values, runs, ranges, chunks, out, scaling * _LOG2_E),
        KV_HEADS=kv_heads,
        GROUP=heads // kv_heads,
        DIM=dim,
        ROWS=rows,
        BLOCK=BLOCK_KEYS,
        WIDEN=query.device.type == "cpu",
        num_warps=4,
    )
    return out
