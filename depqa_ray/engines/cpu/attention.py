"""Packed attention as one call a layer into a compiled kernel (``csrc/packed_attention.c``), on CPUs only.

Building the kernel is optional. What it does not support is left to torch.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from depqa_ray.code_version import kernel_sources
from depqa_ray.engines.shared_prefix.attention import AttentionBackend
from depqa_ray.engines.shared_prefix.kv_pool import KVPool

RUN_QUERIES = 64
"""The most queries of a run: its tokens times the heads that share keys (MAX_QUERIES in the kernel)."""

_MAX_DIM = 256
_FOLDER = Path(__file__).parent
_BUILD = "install depqa-ray again where there is a C compiler, or in a checkout: python setup.py build_ext --inplace"
_DTYPES = (torch.bfloat16, torch.float32)


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
    return load() if _supports(pool, group) else None


def kernel_note(pool: KVPool, group: int) -> tuple[str, ...]:
    """A note for EngineInfo if the kernel would be used for such a pool but cannot be loaded: why, and what to do."""
    if not _supports(pool, group) or load() is not None:
        return ()
    slow = "Attention runs without its compiled kernel, several times slower"
    return (f"{slow}: {load_error()}.",)


def _supports(pool: KVPool, group: int) -> bool:
    return (
        pool.device.type == "cpu"
        and pool.dtype in _DTYPES
        and pool.head_dim % 16 == 0
        and pool.head_dim <= _MAX_DIM
        and group <= RUN_QUERIES
    )


def load(folder: Path = _FOLDER) -> Kernel | None:
    """The kernel as built into a folder; None if it cannot be used."""
    found = _load(folder)
    return found if isinstance(found, Kernel) else None


def load_error(folder: Path = _FOLDER) -> str:
    """Why the kernel in a folder cannot be used, and what to do; "" if it can."""
    found = _load(folder)
    return "" if isinstance(found, Kernel) else found


@lru_cache
def _load(folder: Path) -> Kernel | str:
    found = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f"_packed_attention{suffix}").exists()]
    parallel = _parallel()
    try:
        if not found:
            return f"it has not been built; {_BUILD}"
        if not parallel:
            return "torch's OpenMP was not found"
        functions = ctypes.CDLL(str(found[0]))
        for name in ("packed_attention", "rms_norm_rows", "argmax_rows"):  # missing ones raise AttributeError
            getattr(functions, name).restype = None
        functions.packed_attention_sources.restype = ctypes.c_char_p
        sources = kernel_sources()  # "" if they are not here: then the library is trusted
        is_current = not sources or functions.packed_attention_sources() == sources.encode()
        if functions.packed_attention_call_size() != ctypes.sizeof(_Call) or not is_current:
            return f"it was built from another version of its source; {_BUILD}"
        return Kernel(functions, parallel)
    except (OSError, AttributeError) as error:
        return f"it cannot be loaded ({' '.join(str(error).split())}); {_BUILD}"


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
