"""Norm and argmax of bfloat16 rows, each as one call into the compiled kernel."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from depqa_ray.engines.cpu.attention import Kernel, load


def rms_norm(rows: Tensor, weight: Tensor, eps: float) -> Tensor | None:
    """Root mean square norm over the last dimension, of the shape of ``rows``; None if there is no kernel for it."""
    kernel = _kernel(rows)
    if kernel is None or weight.dtype != torch.bfloat16:
        return None
    rows = rows.contiguous()
    out = torch.empty_like(rows)
    size = rows.shape[-1]
    sizes = ctypes.c_int64(rows.numel() // size), ctypes.c_int64(size)
    _call(kernel, "rms_norm_rows", (rows, weight, out), *sizes, ctypes.c_float(eps))
    return out


def argmax(rows: Tensor) -> Tensor | None:
    """The index of the first maximum of each row of a matrix, [rows]; None if there is no kernel for it.

    It is -1 for a row that holds a NaN or whose maximum is infinite.
    """
    kernel = _kernel(rows)
    if kernel is None:
        return None
    rows = rows.contiguous()
    indices = torch.empty(len(rows), dtype=torch.int64)
    _call(kernel, "argmax_rows", (rows, indices), *map(ctypes.c_int64, rows.shape))
    return indices


def _kernel(rows: Tensor) -> Kernel | None:
    return load() if rows.device.type == "cpu" and rows.dtype == torch.bfloat16 and rows.numel() else None


def _call(kernel: Kernel, name: str, tensors: tuple[Tensor, ...], *numbers: Any) -> None:
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors)
    getattr(kernel.functions, name)(*pointers, *numbers, torch.get_num_threads(), ctypes.c_void_p(kernel.parallel))
