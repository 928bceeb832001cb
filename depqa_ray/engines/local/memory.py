"""Running out of memory: how torch reports it, and how to release what is not needed."""

from __future__ import annotations

import ctypes
import gc
import sys

import torch

_OUT_OF_MEMORY = ("can't allocate memory", "Cannot allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error reports that no memory was left, on a GPU or on a CPU."""
    # torch has no own error type for this on a CPU, nor if a GPU library fails to allocate.
    untyped = any(words in str(error) for words in _OUT_OF_MEMORY)
    return untyped or isinstance(error, (MemoryError, torch.OutOfMemoryError))


def release_memory() -> None:
    """Return torch's cached memory to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, if its C library is glibc. Call before other threads start.

    Each step's tensors are as large as the last one's. By default glibc returns them to the system and gets them back
    page by page, which costs a twentieth of the time on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(option, value)
