"""Decoding steps captured once as CUDA graphs, and replayed: no launch of their kernels costs the host anything."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from depqa_ray.engines.cuda.inputs import Layout, StepInputs
from depqa_ray.engines.shared_prefix.batch import PackedBatch
from depqa_ray.engines.shared_prefix.kv_pool import KVPool

_DEPTH = 4  # ranges a run: prefixes above a sequence
_SMALL = (1, 2, 4, 8)
_STEP = 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Graph:
    layout: Layout
    inputs: Tensor
    graph: torch.cuda.CUDAGraph


class DecodeGraphs:
    """A graph for each of some numbers of sequences; a step runs in the next larger one, padded.

    ``run`` computes the logits of inputs, of ``vocabulary`` columns. All graphs are captured at once and share their
    memory and the logits, which would otherwise take the square of ``max_sequences``.
    """

    @torch.inference_mode()
    def __init__(self, run: Callable[[StepInputs], Tensor], pool: KVPool, max_sequences: int, vocabulary: int) -> None:
        started = time.perf_counter()
        largest = _layout(max_sequences, pool)
        self._staged = torch.empty(largest.size, dtype=torch.long, pin_memory=True)
        self._logits = torch.empty(max_sequences, vocabulary, dtype=pool.dtype, device=pool.device)
        self._graphs: list[_Graph] = []
        memory: Any = None
        for count in sorted(sizes(max_sequences), reverse=True):  # the largest first: the others reuse its memory
            captured = _capture(run, _layout(count, pool), self._logits[:count], memory)
            memory = memory or captured.graph.pool()
            self._graphs.insert(0, captured)
        _log.info("captured %d graphs in %.1f s", len(self._graphs), time.perf_counter() - started)

    def replay(self, layout: Layout, batch: PackedBatch, rows: Sequence[int]) -> Tensor | None:
        """The logits of a decoding step, valid until the next one; None if no graph has room for it."""
        found = next((graph for graph in self._graphs if layout.fits(graph.layout)), None)
        if found is None:
            return None
        staged = self._staged[: found.layout.size]
        found.layout.fill(staged, batch, rows)
        found.inputs.copy_(staged, non_blocking=True)
        found.graph.replay()
        return self._logits[: layout.rows]


def sizes(most: int) -> list[int]:
    """The numbers of sequences that graphs are captured for, up to ``most``."""
    found = {min(size, most) for size in (*_SMALL, *range(_STEP, most + _STEP, _STEP))}
    return sorted(found)


def _layout(count: int, pool: KVPool) -> Layout:
    return Layout(count, pool.kv_heads, count, _DEPTH * count, count, count)


def _capture(run: Callable[[StepInputs], Tensor], layout: Layout, logits: Tensor, memory: Any) -> _Graph:
    inputs = torch.zeros(layout.size, dtype=torch.long, device=logits.device)
    parts = layout.split(inputs)
    parts.slots.fill_(-1)
    parts.rows.copy_(torch.arange(layout.rows, device=logits.device))
    run(parts)  # compiles the kernels
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=memory, capture_error_mode="thread_local"):
        logits.copy_(run(parts))
    return _Graph(layout, inputs, graph)
