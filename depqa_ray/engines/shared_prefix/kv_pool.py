"""The keys and values themselves: one tensor of each for every layer, allocated once."""

from __future__ import annotations

import math
import mmap
from typing import Any

import torch
from torch import Tensor


class KVPool:
    """``capacity`` slots for every layer of a model with grouped-query attention.

    Each tensor is [capacity * kv_heads, head_dim]. A range of slots is a block in it: for each head in turn, the
    vectors of all its slots. So a head's vectors are contiguous, and equal ranges side by side are one strided batch.
    """

    def __init__(self, config: Any, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        self.kv_heads, self.head_dim = config.num_key_value_heads, head_dim(config)
        self.capacity, self.dtype, self.device = capacity, dtype, device
        shape = (capacity * self.kv_heads, self.head_dim)
        layers = range(config.num_hidden_layers)
        self.keys = [_zeros(shape, dtype, device) for _ in layers]
        self.values = [_zeros(shape, dtype, device) for _ in layers]

    def view(self, layer: int, start: int, capacity: int, length: int, count: int) -> tuple[Tensor, Tensor]:
        """Keys and values [count, kv_heads, length, head_dim]: the first slots of ``count`` ranges side by side."""
        dim = self.head_dim
        size = (count, self.kv_heads, length, dim)
        stride = (self.kv_heads * capacity * dim, capacity * dim, dim, 1)
        first = start * self.kv_heads * dim
        return self.keys[layer].as_strided(size, stride, first), self.values[layer].as_strided(size, stride, first)

    def write(self, layer: int, slot_mapping: Tensor, key: Tensor, value: Tensor) -> None:
        """Write ``key`` and ``value`` [kv_heads, tokens, head_dim] to the indices of :meth:`slot_indices`."""
        self.keys[layer].index_copy_(0, slot_mapping, key.reshape(-1, self.head_dim))
        self.values[layer].index_copy_(0, slot_mapping, value.reshape(-1, self.head_dim))

    def copy(self, layer: int, source: Tensor, target: Tensor) -> None:
        """Copy keys and values between indices of :meth:`slot_indices`."""
        for tensor in (self.keys[layer], self.values[layer]):
            tensor.index_copy_(0, target, tensor.index_select(0, source))

    def clear(self, start: int, capacity: int) -> None:
        """Write zeros to a range of slots."""
        block = slice(start * self.kv_heads, (start + capacity) * self.kv_heads)
        for tensor in (*self.keys, *self.values):
            tensor[block] = 0

    def slot_indices(self, starts: Tensor, capacities: Tensor, indices: Tensor) -> Tensor:
        """The tensors' rows [kv_heads * tokens] for tokens, each at an index in its range (all three [tokens])."""
        heads = torch.arange(self.kv_heads, device=starts.device)[:, None]
        rows: Tensor = (starts * self.kv_heads + heads * capacities + indices).flatten()
        return rows


def _zeros(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros, not empty memory: a kernel that multiplies a masked vector by zero must not meet a NaN.

    On a CPU the system creates a page on its first write, so unused slots take no memory. Raises MemoryError or
    torch's own error if there is not enough memory.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    try:
        pages = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(str(error)) from error
    return torch.frombuffer(pages, dtype=dtype).view(shape)


def head_dim(config: Any) -> int:
    """The size of one head's vectors."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def group_size(config: Any) -> int:
    """The query heads that share a head of keys."""
    return int(config.num_attention_heads // config.num_key_value_heads)


def slot_bytes(config: Any, dtype: torch.dtype) -> int:
    """The memory of one slot: keys and values of one token in all layers."""
    return int(2 * config.num_hidden_layers * config.num_key_value_heads * head_dim(config) * dtype.itemsize)
