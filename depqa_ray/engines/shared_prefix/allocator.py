"""Allocates KV slots: contiguous ranges, and slabs of equal ranges for sequences that decode side by side."""

from __future__ import annotations

from dataclasses import dataclass, field


class SlotAllocator:
    """Allocates contiguous ranges of ``capacity`` slots, first fit.

    Invariant: ``_gaps`` are the free ranges in ascending order, disjoint and not adjacent.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._gaps: list[tuple[int, int]] = [(0, capacity)] if capacity else []

    @property
    def free_slots(self) -> int:
        """The number of free slots."""
        return sum(end - start for start, end in self._gaps)

    def allocate(self, length: int) -> int | None:
        """Return the first slot of a new range; None if no gap is wide enough."""
        for index, (start, end) in enumerate(self._gaps):
            if end - start >= length:
                self._gaps[index : index + 1] = [(start + length, end)] if end - start > length else []
                return start
        return None

    def free(self, start: int, length: int) -> None:
        """Free an allocated range. Raises ValueError if part of it is free already."""
        end = start + length
        if start < 0 or end > self.capacity or any(start < other and first < end for first, other in self._gaps):
            raise ValueError(f"slots {start} to {end} are not taken")
        merged: list[tuple[int, int]] = []
        for gap in sorted([*self._gaps, (start, end)]):
            if merged and merged[-1][1] == gap[0]:
                merged[-1] = (merged[-1][0], gap[1])
            else:
                merged.append(gap)
        self._gaps = merged


@dataclass(slots=True, eq=False)
class Slab:
    """``count`` ranges of ``capacity`` slots each, side by side from ``start`` on. ``free_indices`` are unused."""

    start: int
    capacity: int
    count: int
    free_indices: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.free_indices = list(range(self.count))

    def allocate(self) -> int:
        """Return the first slot of the lowest free range: used ranges stay close together."""
        index = min(self.free_indices)
        self.free_indices.remove(index)
        return self.start + index * self.capacity

    def free(self, start: int) -> None:
        """Free the range that starts at a slot."""
        self.free_indices.append(self.index(start))

    def index(self, start: int) -> int:
        """The index of the range that starts at a slot."""
        return (start - self.start) // self.capacity


def range_capacity(needed: int) -> int:
    """Round a number of slots up to 16, 24, 32, 48, 64, 96...: with few sizes of ranges, slabs fill up."""
    size = 16
    while size < needed:
        size *= 2
    return size * 3 // 4 if size > 16 and size * 3 // 4 >= needed else size
