"""The packed attention as one call a layer into a compiled kernel, where there is one: CPUs only.

The kernel is ``csrc/packed_attention.c``; building it is optional, and what it cannot do is left to torch.
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

from depqa_ray.engines.shared_prefix.kv_pool import KVStore

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
        *((name, ctypes.c_void_p) for name in ("keys", "values", "out", "where", "runs", "ranges", "pieces")),
        *((name, ctypes.c_int64) for name in ("run_count", "tokens", "kv_heads", "group", "dim")),
        ("scaling", ctypes.c_float),
        *((name, ctypes.c_int32) for name in ("bf16", "variant", "threads")),
        ("parallel", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class Kernel:
    """The compiled kernel, and the function that runs something in torch's own threads."""

    functions: Any
    parallel: int

    def variants(self, dtype: torch.dtype) -> int:
        """How many variants this processor can run, the last one being the fastest."""
        return int(self.functions.packed_attention_variants(int(dtype == torch.bfloat16)))


@dataclass(frozen=True, slots=True)
class NativePlan:
    """Who attends to what, as the kernel is told: rows of ``Run``, ``Range`` and ``Piece`` of its header.

    ``group`` is how many query heads share a head of keys; ``variant`` counts from the kernel's slowest.
    """

    kernel: Kernel
    group: int
    variant: int
    runs: Tensor
    ranges: Tensor
    pieces: Tensor

    def attend(
        self, store: KVStore, layer: int, where: Tensor, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Write ``key`` and ``value`` [kv_heads, tokens, dim], let ``query`` [heads, tokens, dim] attend.

        Returns [tokens, heads, dim].
        """
        query, key, value = (_rows(states) for states in (query, key, value))
        heads, tokens, dim = query.shape
        out = query.new_empty(tokens, heads, dim)
        call = _Call(
            *(states.data_ptr() for states in (query, key, value)),
            *(stride for states in (query, key, value) for stride in states.stride()[:2]),
            store.keys[layer].data_ptr(),
            store.values[layer].data_ptr(),
            *(tensor.data_ptr() for tensor in (out, where, self.runs, self.ranges, self.pieces)),
            *(len(self.runs), tokens, store.kv_heads, self.group, dim),
            scaling,
            *(int(query.dtype == torch.bfloat16), self.variant, torch.get_num_threads()),
            self.kernel.parallel,
        )
        self.kernel.functions.packed_attention(ctypes.byref(call))
        return out


def kernel_for(store: KVStore, group: int) -> Kernel | None:
    """The kernel, where there is one and it can serve such a store."""
    fits = (
        store.keys[0].device.type == "cpu"
        and store.keys[0].dtype in _DTYPES
        and store.head_dim % 16 == 0
        and store.head_dim <= _MAX_DIM
        and group <= RUN_QUERIES
    )
    return load() if fits else None


@lru_cache
def load(folder: Path = Path(__file__).parent) -> Kernel | None:
    """The kernel as it was built into a folder; None where it was not, or where torch's threads are out of reach."""
    found = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f"_packed_attention{suffix}").exists()]
    parallel = _parallel()
    try:
        if not found or not parallel:
            raise OSError("no OpenMP in reach" if found else "it has not been built")
        functions = ctypes.CDLL(str(found[0]))
        for name in ("packed_attention", "rms_norm_rows", "greatest_rows"):  # missing ones raise AttributeError
            getattr(functions, name).restype = None
        if functions.packed_attention_call_size() != ctypes.sizeof(_Call):
            raise OSError("it was built from another version of its source")
        return Kernel(functions, parallel)
    except (OSError, AttributeError) as error:
        _log.info("attention runs without its kernel: %s", error)
        return None


def _parallel() -> int:
    """The address of GOMP_parallel in the OpenMP runtime that torch has loaded; 0 where there is none."""
    bundled = (Path(torch.__file__).parent / "lib").glob("lib*omp*.so*")
    for name in (None, *map(str, bundled)):
        try:
            function = ctypes.CDLL(name).GOMP_parallel
        except (OSError, AttributeError, TypeError):  # the last is what Windows makes of None
            continue
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    return 0


def _rows(states: Tensor) -> Tensor:
    """The same, with vectors that are contiguous."""
    return states if states.stride(-1) == 1 else states.contiguous()
