"""What the kernels of a GPU have to attend to in a step, and whether they run over a pool. Triton: on a GPU only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor
from typing_extensions import override

from depqa_ray.engines.local.model_files import one_line
from depqa_ray.engines.shared_prefix.attention import AttentionBackend
from depqa_ray.engines.shared_prefix.kv_pool import KVPool

_DIMS = (16, 32, 64, 128)  # of a head: blocks are powers of two, and larger ones need too many registers
_QUERIES = 32
_LARGEST_GROUP = 16


@dataclass(frozen=True, slots=True)
class PlannedAttention(AttentionBackend):
    """Rows of ``Run``, ``Range`` and ``Chunk`` of ``engines/cpu/csrc/packed_attention.h``.

    ``PackedDecoder`` runs the kernel over them.
    """

    runs: Tensor
    ranges: Tensor
    chunks: Tensor

    @override
    def attend(
        self, pool: KVPool, layer: int, slot_mapping: Tensor, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        raise NotImplementedError("the layers of transformers do not run where the kernels do")


def run_queries(group: int) -> int:
    """The queries of one program: its tokens times the ``group`` of heads that share keys, and unused ones."""
    return _QUERIES if group <= _LARGEST_GROUP else 2 * _QUERIES


def supports_kernels(pool: KVPool, group: int) -> bool:
    """Whether the kernels run over such a pool: it is on a CUDA GPU, and nothing is missing."""
    return pool.device.type == "cuda" and not _missing(pool.head_dim, group)


def missing_note(pool: KVPool, group: int) -> tuple[str, ...]:
    """A note for EngineInfo if the pool is on a GPU and the kernels cannot run: why, and what to do."""
    why = _missing(pool.head_dim, group) if pool.device.type == "cuda" else ""
    return (f"Attention runs without the kernels for GPUs, which is slower: {why}.",) if why else ()


@lru_cache
def _missing(head_dim: int, group: int) -> str:
    if head_dim not in _DIMS:
        return f"they do not support heads of {head_dim}"
    if group > 2 * _LARGEST_GROUP:
        return f"they do not support {group} query heads for each head of keys"
    if find_spec("triton") is None:
        return "Triton is not installed; pip install triton"
    try:
        _run_one()
    except Exception as error:  # Triton compiles for the GPU and, in C, for the host: anything may be missing
        return f"one that was tried failed ({one_line(error)}); install a C compiler and Python's headers (python3-dev)"
    return ""


def _run_one() -> None:
    from depqa_ray.engines.cuda.kernels import add_rms_norm

    add_rms_norm(torch.zeros(1, 16, device="cuda"), None, torch.ones(16, device="cuda"), 1e-6)
