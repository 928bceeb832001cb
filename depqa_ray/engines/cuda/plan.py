"""What the kernels of a GPU have to attend to in a step, and whether they support a pool. Imports no Triton."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from torch import Tensor
from typing_extensions import override

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
    """Whether the kernels run over such a pool: it is on a CUDA GPU, and Triton is installed."""
    return pool.device.type == "cuda" and pool.head_dim in _DIMS and group <= 2 * _LARGEST_GROUP and _has_triton()


def _has_triton() -> bool:
    return find_spec("triton") is not None
