"""Memory that runs out: how torch says so, and how to give back what is not needed."""

from __future__ import annotations

import gc

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on a GPU or on a CPU."""
    # On a CPU torch has no type of its own for it.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def give_back_memory() -> None:
    """Return what torch keeps for later to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
