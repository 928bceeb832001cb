"""The memory of keys and values: zeros, and only as many pages as are used."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

CONFIG: Any = SimpleNamespace(num_hidden_layers=2, num_key_value_heads=2, head_dim=64)
SLOT_BYTES = 2 * 2 * 2 * 64 * 2  # keys and values, two layers of two heads, in bfloat16


def resident() -> int:
    """This process's resident memory in bytes."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here to read the memory from")
def test_unused_part_of_a_large_pool_takes_no_memory() -> None:
    """If a KV pool on a CPU is large, only its used part takes memory."""
    import torch

    from depqa_ray.engines.shared_prefix.kv_pool import KVPool

    before = resident()
    pool = KVPool(CONFIG, (512 << 20) // SLOT_BYTES, torch.bfloat16, torch.device("cpu"))
    assert resident() - before < 16 << 20
    tensors = pool.keys + pool.values
    assert sum(tensor.nbytes for tensor in tensors) == 512 << 20
    assert all(tensor[-1].eq(0).all() for tensor in tensors)
    for tensor in tensors:
        tensor[: len(tensor) // 4] = 1
    assert 128 << 20 <= resident() - before < 160 << 20


def test_more_slots_than_memory_is_a_memory_error() -> None:
    """If more slots are asked for than any machine can hold, MemoryError is raised."""
    import torch

    from depqa_ray.engines.shared_prefix.kv_pool import KVPool

    for capacity in (1 << 44, 1 << 60):
        with pytest.raises(MemoryError):
            KVPool(CONFIG, capacity, torch.bfloat16, torch.device("cpu"))
