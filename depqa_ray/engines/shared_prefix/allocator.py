"""Hands out ranges of KV slots: contiguous ones, and slabs of equal ranges for rows that decode side by side."""

from __future__ import annotations

from dataclasses import dataclass, field


class Slots:
    """Hands out contiguous ranges of ``capacity`` slots, first fit.

    Invariant: ``_free`` holds disjoint ranges in ascending order, no two of them adjacent.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._free: list[tuple[int, int]] = [(0, capacity)] if capacity else []

    @property
    def free(self) -> int:
        """How many slots nobody owns."""
        return sum(end - start for start, end in self._free)

    def take(self, length: int) -> int | None:
        """The first slot of a range of that length; None where no gap is wide enough."""
        for index, (start, end) in enumerate(self._free):
            if end - start >= length:
                self._free[index : index + 1] = [(start + length, end)] if end - start > length else []
                return start
        return None

    def give_back(self, start: int, length: int) -> None:
        """Return a range that was taken. Raises ValueError where a part of it is free already."""
        end = start + length
        if start < 0 or end > self.capacity or any(start < other and begin < end for begin, other in self._free):
            raise ValueError(f"slots {start} to {end} are not taken")
        merged: list[tuple[int, int]] = []
        for gap in sorted([*self._free, (start, end)]):
            if merged and merged[-1][1] == gap[0]:
                merged[-1] = (merged[-1][0], gap[1])
            else:
                merged.append(gap)
        self._free = merged


@dataclass(slots=True, eq=False)
class Slab:
    """``places`` ranges of ``room`` slots each, from ``start`` on, for rows. ``free`` are the places without one."""

    start: int
    room: int
    places: int
    free: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.free = list(range(self.places))

    def take(self) -> int:
        """The first slot of the lowest free place: what is in use stays close together."""
        place = min(self.free)
        self.free.remove(place)
        return self.start + place * self.room

    def place(self, start: int) -> int:
        """The place whose first slot that is."""
        return (start - self.start) // self.room


def place_size(needed: int) -> int:
    """The slots of a place for a row that needs so many: 16, 24, 32, 48, 64, 96... Few sizes make full slabs."""
    size = 16
    while size < needed:
        size *= 2
    return size * 3 // 4 if size > 16 and size * 3 // 4 >= needed else size
