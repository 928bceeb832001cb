"""Packed attention as one call a layer into a compiled kernel (``csrc/packed_attention.c``), on CPUs only.

Building the kernel is optional. What it does not support is left to torch.
"""

from __future__ import annotations

import ctypes
import logging
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from depqa_ray.engines.shared_prefix.attention import AttentionBackend
from depqa_ray.engines.shared_prefix.kv_pool import KVPool

RUN_QUERIES = 64
"""The most queries of a run: its tokens times the heads that share keys (MAX_QUERIES in the kernel)."""

_MAX_DIM = 256
_DTYPES = (torch.bfloat16, torch.float32)

_log = logging.getLogger(__name__)


class _Call(ctypes.Structure):
    """``Call`` of the kernel's header, field by field."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("query", "key", "value")),
        *((f"{name}_{kind}", ctypes.c_int64) for name in ("query", "key", "value") for kind in ("head", "token")),
        *((name, ctypes.c_void_p) for name in ("keys", "values", "out", "slot_mapping", "runs", "ranges", "chunks")),
        *((name, ctypes.c_int64) for name in ("run_count", "tokens", "kv_heads", "group", "dim")),
        ("scaling", ctypes.c_float),
        *((name, ctypes.c_int32) for name in ("bf16", "variant", "threads")),
        ("parallel", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class Kernel:
    """The compiled library, and the address of the function that runs work in torch's own threads."""

    functions: Any
    parallel: int

    def variants(self, dtype: torch.dtype) -> int:
        """The number of variants that this processor can run; the last one is the fastest."""
        return int(self.functions.packed_attention_variants(int(dtype == torch.bfloat16)))


@dataclass(frozen=True, slots=True)
class NativeAttention(AttentionBackend):
    """Attention by the kernel: rows of ``Run``, ``Range`` and ``Chunk`` of its header.

    ``group`` query heads share a head of keys; ``variant`` counts from the kernel's slowest.
    """

    kernel: Kernel
    group: int
    variant: int
    runs: Tensor
    ranges: Tensor
    chunks: Tensor

    @override
    def attend(
        self, pool: KVPool, layer: int, slot_mapping: Tensor, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        query, key, value = (s if s.stride(-1) == 1 else s.contiguous() for s in (query, key, value))
        heads, tokens, dim = query.shape
        out = query.new_empty(tokens, heads, dim)
        call = _Call(
            *(states.data_ptr() for states in (query, key, value)),
            *(stride for states in (query, key, value) for stride in states.stride()[:2]),
            pool.keys[layer].data_ptr(),
            pool.values[layer].data_ptr(),
            *(tensor.data_ptr() for tensor in (out, slot_mapping, self.runs, self.ranges, self.chunks)),
            *(len(self.runs), tokens, pool.kv_heads, self.group, dim),
            scaling,
            *(int(query.dtype == torch.bfloat16), self.variant, torch.get_num_threads()),
            self.kernel.parallel,
        )
        self.kernel.functions.packed_attention(ctypes.byref(call))
        return out


def kernel_for(pool: KVPool, group: int) -> Kernel | None:
    """The kernel; None if it was not built or does not support such a pool."""
    supported = (
        pool.device.type == "cpu"
        and pool.dtype in _DTYPES
        and pool.head_dim % 16 == 0
        and pool.head_dim <= _MAX_DIM
        and group <= RUN_QUERIES
    )
    return load() if supported else None


@lru_cache
def load(folder: Path = Path(__file__).parent) -> Kernel | None:
    """The kernel as built into a folder; None if it was not built, or if torch's threads are out of reach."""
    found = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f"_packed_attention{suffix}").exists()]
    parallel = _parallel()
    try:
        if not found or not parallel:
            raise OSError("no OpenMP in reach" if found else "it has not been built")
        functions = ctypes.CDLL(str(found[0]))
        for name in ("packed_attention", "rms_norm_rows", "argmax_rows"):  # missing ones raise AttributeError
            getattr(functions, name).restype = None
        if functions.packed_attention_call_size() != ctypes.sizeof(_Call):
            raise OSError("it was built from another version of its source")
        return Kernel(functions, parallel)
    except (OSError, AttributeError) as error:
        _log.info("attention runs without its kernel: %s", error)
        return None


def _parallel() -> int:
    """The address of GOMP_parallel in the OpenMP runtime that torch has loaded; 0 if it is not found."""
    bundled = (Path(torch.__file__).parent / "lib").glob("lib*omp*.so*")
    for name in (None, *map(str, bundled)):
        try:
            function = ctypes.CDLL(name).GOMP_parallel
        except (OSError, AttributeError, TypeError):  # the last is what Windows makes of None
            continue
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    return 0
