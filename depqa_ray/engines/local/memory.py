"""Memory that runs out: how torch says so, and how to give back what is not needed."""

from __future__ import annotations

import ctypes
import gc
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on a GPU or on a CPU."""
    # torch has no type of its own for it on a CPU, nor where a library of the GPU's finds none.
    untyped = any(words in str(error) for words in ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED"))
    return untyped or isinstance(error, (MemoryError, torch.OutOfMemoryError))


def give_back_memory() -> None:
    """Return what torch keeps for later to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def keep_freed_memory() -> None:
    """Let this process keep what it frees, where its C library is glibc.

    Each step's tensors are as large as the last one's. Left to itself glibc returns them to the system and gets them
    back page by page, which costs a twentieth of the time on a CPU. To be called before other threads are begun.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(option, value)
