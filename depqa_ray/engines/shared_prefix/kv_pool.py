"""The keys and values themselves: one tensor of each for every layer, allocated once."""

from __future__ import annotations

import math
import mmap
from typing import Any

import torch
from torch import Tensor


class KVStore:
    """``capacity`` slots for every layer of a model with grouped-query attention.

    A tensor is [capacity * kv_heads, head_dim]. A span of ``room`` slots from ``start`` on is a block in it: for each
    head in turn its ``room`` vectors. So a head's vectors lie one after the other, and blocks of the same size that
    lie side by side are one strided batch.
    """

    def __init__(self, config: Any, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        self.kv_heads, self.head_dim = config.num_key_value_heads, head_dim(config)
        shape = (capacity * self.kv_heads, self.head_dim)
        layers = range(config.num_hidden_layers)
        self.keys = [_zeros(shape, dtype, device) for _ in layers]
        self.values = [_zeros(shape, dtype, device) for _ in layers]

    def view(self, layer: int, start: int, room: int, length: int, places: int) -> tuple[Tensor, Tensor]:
        """Keys and values, [places, kv_heads, length, head_dim], of the first slots of spans side by side."""
        dim = self.head_dim
        size = (places, self.kv_heads, length, dim)
        stride = (self.kv_heads * room * dim, room * dim, dim, 1)
        first = start * self.kv_heads * dim
        return self.keys[layer].as_strided(size, stride, first), self.values[layer].as_strided(size, stride, first)

    def write(self, layer: int, where: Tensor, key: Tensor, value: Tensor) -> None:
        """Put ``key`` and ``value``, [kv_heads, tokens, head_dim], where :meth:`vectors` said."""
        self.keys[layer].index_copy_(0, where, key.reshape(-1, self.head_dim))
        self.values[layer].index_copy_(0, where, value.reshape(-1, self.head_dim))

    def copy(self, layer: int, source: Tensor, where: Tensor) -> None:
        """Copy keys and values from vectors to vectors."""
        for tensor in (self.keys[layer], self.values[layer]):
            tensor.index_copy_(0, where, tensor.index_select(0, source))

    def vectors(self, starts: Tensor, rooms: Tensor, places: Tensor) -> Tensor:
        """The indices [kv_heads * tokens] of tokens, each at a place of its span (all three are [tokens])."""
        heads = torch.arange(self.kv_heads, device=starts.device)[:, None]
        indices: Tensor = (starts * self.kv_heads + heads * rooms + places).flatten()
        return indices


def _zeros(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros, not empty memory: a kernel that multiplies a masked vector by zero must not meet a NaN.

    On a CPU they are pages that the system makes when they are first written to, so that slots which nobody has used
    yet take no memory. Raises MemoryError or torch's own error where there is no room for them.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    try:
        pages = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(str(error)) from error
    return torch.frombuffer(pages, dtype=dtype).view(shape)


def head_dim(config: Any) -> int:
    """The size of a head's vectors."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def slot_bytes(config: Any, dtype: torch.dtype) -> int:
    """The memory of one slot: keys and values of one token in all layers."""
    return int(2 * config.num_hidden_layers * config.num_key_value_heads * head_dim(config) * dtype.itemsize)
