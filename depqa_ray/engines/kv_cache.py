"""Who owns which slots of the key-value store, without a tensor in sight: so that its invariants can be tested alone.

A slot holds the keys and values of one token in every layer. A sequence (a shared prefix, or one prompt's own part)
owns one contiguous range of slots, so that attention can read it as a view and nothing is ever copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise


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
class Span:
    """Tokens that follow those of ``parent``; ``computed`` of them have their keys and values in the store.

    ``offset`` is the position of its first token. ``room`` slots from ``start`` on are its own.
    """

    tokens: list[int]
    parent: Span | None
    start: int
    room: int
    computed: int = 0
    users: int = 0
    used_at: int = 0
    offset: int = field(init=False)

    def __post_init__(self) -> None:
        self.offset = self.parent.offset + len(self.parent.tokens) if self.parent else 0

    @property
    def lineage(self) -> list[Span]:
        """Its ancestors, the oldest first."""
        found: list[Span] = []
        node = self.parent
        while node is not None:
            found.append(node)
            node = node.parent
        return found[::-1]


class PrefixCache:
    """The shared prefixes in the store, nested, and the rows that build on them.

    A prefix is known by its parent and its tokens. It is kept after its last user has gone, until its slots are
    needed: then the one unused for longest goes first. Invariant: ``users`` of a prefix counts its children, prefixes
    and rows alike; what has users is never dropped.
    """

    def __init__(self, capacity: int) -> None:
        self.slots = Slots(capacity)
        self.prefixes: dict[tuple[int, tuple[int, ...]], Span] = {}
        self.rows: set[Span] = set()
        self.hit_tokens = 0
        self._clock = 0

    def admit(self, parts: list[list[int]], new_tokens: int) -> Span | None:
        """The row of a prompt: ``parts`` are its prefixes from the outside in, then its own tokens.

        None where the store is too full now; the prefixes that did find room stay, without users.
        """
        parent: Span | None = None
        held: list[Span] = []
        hit = 0
        try:
            for tokens in parts[:-1]:
                key = (id(parent), tuple(tokens))
                node = self.prefixes.get(key)
                if node is not None:
                    hit += len(tokens)
                elif (node := self._place(tokens, parent, len(tokens))) is None:
                    return None
                self.prefixes[key] = node
                # Held meanwhile, so that making room for the next part does not drop it.
                node.users += 1
                held.append(node)
                parent = node
            row = self._place(parts[-1], parent, len(parts[-1]) + new_tokens)
        finally:
            for node in held:
                node.users -= 1
        if row is not None:
            self._touch(row)
            self.rows.add(row)
            self.hit_tokens += hit
        return row

    def release(self, row: Span) -> None:
        """The row is done, or nobody waits for it any more. Its prefixes stay until their slots are needed."""
        self.rows.remove(row)
        self._touch(row)
        self.slots.give_back(row.start, row.room)
        if row.parent is not None:
            row.parent.users -= 1

    def validate(self) -> None:
        """Raises AssertionError where an invariant is broken: for tests."""
        nodes = [*self.prefixes.values(), *self.rows]
        ranges = sorted((node.start, node.start + node.room) for node in nodes)
        assert all(end <= start for (_, end), (start, _) in pairwise(ranges)), "ranges overlap"
        assert self.slots.free + sum(node.room for node in nodes) == self.slots.capacity, "slots have leaked"
        for node in self.prefixes.values():
            assert node.users == sum(other.parent is node for other in nodes), "users are miscounted"
        assert all(node.parent is None or node.parent in self.prefixes.values() for node in nodes), "orphan"

    def _place(self, tokens: list[int], parent: Span | None, room: int) -> Span | None:
        while (start := self.slots.take(room)) is None:
            unused = [key for key, node in self.prefixes.items() if not node.users]
            if not unused:
                return None
            self._drop(min(unused, key=lambda key: self.prefixes[key].used_at))
        if parent is not None:
            parent.users += 1
        return Span(list(tokens), parent, start, room)

    def _drop(self, key: tuple[int, tuple[int, ...]]) -> None:
        node = self.prefixes.pop(key)
        self.slots.give_back(node.start, node.room)
        if node.parent is not None:
            node.parent.users -= 1

    def _touch(self, row: Span) -> None:
        self._clock += 1
        for node in row.lineage:
            node.used_at = self._clock
