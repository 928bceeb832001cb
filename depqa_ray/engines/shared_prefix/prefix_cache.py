"""Who owns which slots of the key-value store, without a tensor in sight: so that its invariants can be tested alone.

A slot holds the keys and values of one token in every layer. A sequence (a shared prefix, or one prompt's own part)
owns one contiguous range of slots, so that attention can read it as a view and nothing is copied as it grows. Rows
live in slabs, ranges of equal places side by side, so that attention can read many of them as one strided view.

Prefixes nest. Where two spans below one parent begin with the same few tokens, the later one borrows them: their keys
and values are copied once, which costs less than attending to a prefix of their own at every step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from depqa_ray.engines.shared_prefix.allocator import Slab, Slots, place_size

_PLACES = 32  # of a slab: enough rows for one call to attention to be worth it


@dataclass(slots=True, eq=False)
class Span:
    """Tokens that follow those of ``parent``; ``computed`` of them have their keys and values in the store.

    ``offset`` is the position of its first token, ``lineage`` its ancestors, the oldest first. ``room`` slots from
    ``start`` on are its own; ``slab`` is where those of a row lie, None for a prefix. While ``source`` is set, the
    first ``borrowed`` of its tokens are to be copied from there, once they are computed there.
    """

    tokens: list[int]
    parent: Span | None
    start: int
    room: int
    slab: Slab | None = None
    source: Span | None = None
    borrowed: int = 0
    computed: int = 0
    users: int = 0
    used_at: int = 0
    offset: int = field(init=False)
    lineage: tuple[Span, ...] = field(init=False)

    def __post_init__(self) -> None:
        above = self.parent
        self.offset = above.offset + len(above.tokens) if above else 0
        self.lineage = (*above.lineage, above) if above else ()


@dataclass(frozen=True, slots=True, order=True)
class _Member:
    """A span of a family and the tokens that it came with; ``number`` keeps spans themselves from being compared."""

    tokens: tuple[int, ...]
    number: int
    span: Span = field(compare=False)


class PrefixCache:
    """The shared prefixes in the store, nested, and the rows that build on them.

    A prefix is known by its parent and its tokens. Once computed it is kept after its last user has gone, until its
    slots are needed: then the one unused for longest goes first. Invariant: ``users`` of a prefix counts its children,
    prefixes and rows alike; what has users is never dropped. A slab without rows is given back. ``_families`` holds the
    spans below each parent, by the tokens that they had when they came, in ascending order. ``found`` counts the
    tokens of admitted rows that need not be computed.
    """

    def __init__(self, capacity: int) -> None:
        self.slots = Slots(capacity)
        self.prefixes: dict[tuple[int, tuple[int, ...]], Span] = {}
        self.rows: set[Span] = set()
        self.slabs: list[Slab] = []
        self.found = 0
        self._families: dict[int, list[_Member]] = {}
        self._clock = 0

    def admit(self, parts: list[list[int]], new_tokens: int) -> Span | None:
        """The row of a prompt: ``parts`` are its prefixes, the outermost first, then its own tokens.

        None where the store is too full now, which cannot be while there are no rows and capacity enough.
        """
        row = self._admit(parts, new_tokens)
        if row is None and not self.rows:
            # A prefix in the middle of the store can leave no gap wide enough: without rows, all of them may go.
            self.drop_unused()
            row = self._admit(parts, new_tokens)
        return row

    def _admit(self, parts: list[list[int]], new_tokens: int) -> Span | None:
        held: list[Span] = []
        slab = None
        found = 0
        try:
            for tokens in parts[:-1]:
                while tokens:
                    parent = held[-1] if held else None
                    node = self._known(parent, tokens)
                    if node is not None:
                        found += len(node.tokens)
                    elif (node := self._add(parent, tokens)) is None:
                        return None
                    # Held meanwhile, so that making room for the next part does not drop it.
                    node.users += 1
                    held.append(node)
                    tokens = tokens[len(node.tokens) :]
            slab = self._slab(len(parts[-1]) + new_tokens)
        finally:
            for node in reversed(held):
                node.users -= 1
                if slab is None:
                    self._forsake(node)
        if slab is None:
            return None
        parent = held[-1] if held else None
        row = self._join(Span(list(parts[-1]), self._use(parent), slab.take(), slab.room, slab))
        self._touch(row)
        self.rows.add(row)
        self.found += found
        return row

    def _add(self, parent: Span | None, tokens: list[int]) -> Span | None:
        """A new prefix below a parent; None where there is no room for it."""
        start = self._take(len(tokens))
        if start is None:
            return None
        node = self._join(Span(list(tokens), self._use(parent), start, len(tokens)))
        self.prefixes[(id(parent), tuple(tokens))] = node
        return node

    def _known(self, parent: Span | None, tokens: list[int]) -> Span | None:
        """The longest prefix below a parent that the tokens begin with."""
        exact = self.prefixes.get((id(parent), tuple(tokens)))
        if exact is not None:
            return exact
        shorter = [
            member.span
            for member in self._families.get(id(parent), [])
            if member.span.slab is None and tokens[: len(member.tokens)] == list(member.tokens)
        ]
        return max(shorter, key=lambda node: len(node.tokens), default=None)

    def _join(self, span: Span) -> Span:
        """Enter a new span into its family, and let it borrow from the member most like it: a neighbour in order."""
        self._clock += 1
        member = _Member(tuple(span.tokens), self._clock, span)
        family = self._families.setdefault(id(span.parent), [])
        index = bisect_left(family, member)
        for near in family[max(0, index - 1) : index + 1]:
            # The last token's output is what a row goes on from: it has to be computed.
            common = min(common_length(near.tokens, member.tokens), len(member.tokens) - 1)
            if common > span.borrowed:
                span.source, span.borrowed = near.span, common
        while span.source and span.source.source and span.borrowed <= span.source.borrowed:
            span.source = span.source.source  # what it would lend is only borrowed itself
        family.insert(index, member)
        self.found += span.borrowed
        return span

    def _part(self, span: Span) -> None:
        """Take a span out of its family. Who was still to borrow from it computes for itself."""
        family = self._families[id(span.parent)]
        for borrower in (span, *(member.span for member in family if member.span.source is span)):
            if borrower.source is not None:
                self.found -= borrower.borrowed
                borrower.source, borrower.borrowed = None, 0
        family.remove(next(member for member in family if member.span is span))
        if not family:
            del self._families[id(span.parent)]

    def release(self, row: Span) -> None:
        """The row is done, or nobody waits for it any more. Its prefixes stay until their slots are needed."""
        assert row.slab is not None, "only rows are released"
        self.rows.remove(row)
        self._part(row)
        self._touch(row)
        row.slab.free.append(row.slab.place(row.start))
        if len(row.slab.free) == row.slab.places:
            self.slabs.remove(row.slab)
            self.slots.give_back(row.slab.start, row.slab.room * row.slab.places)
        if row.parent is not None:
            row.parent.users -= 1
            self._forsake(row.parent)

    def _forsake(self, node: Span) -> None:
        """Drop a prefix that nobody uses and nobody will go on computing, and then its ancestors likewise."""
        if not node.users and node.computed < len(node.tokens):
            self._drop((id(node.parent), tuple(node.tokens)))
            if node.parent is not None:
                self._forsake(node.parent)

    def drop_unused(self) -> None:
        """Forget every prefix that nothing builds on."""
        while unused := self._unused():
            for key in unused:
                self._drop(key)

    def validate(self) -> None:
        """Raises AssertionError where an invariant is broken: for tests."""
        nodes = [*self.prefixes.values(), *self.rows]
        ranges = [(node.start, node.start + node.room) for node in nodes]
        ranges += [(s.start + i * s.room, s.start + (i + 1) * s.room) for s in self.slabs for i in s.free]
        ranges.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(ranges)), "ranges overlap"
        assert self.slots.free + sum(end - start for start, end in ranges) == self.slots.capacity, "slots have leaked"
        for node in self.prefixes.values():
            assert node.users == sum(other.parent is node for other in nodes), "users are miscounted"
        assert all(node.parent is None or node.parent in self.prefixes.values() for node in nodes), "orphan"
        unread = (node for node in self.prefixes.values() if node.computed < len(node.tokens))
        assert all(node.users for node in unread), "a prefix that nobody goes on computing"
        assert all(row.slab in self.slabs for row in self.rows), "a row outside the slabs"
        assert all(len(slab.free) < slab.places for slab in self.slabs), "an empty slab was kept"
        members = [member for family in self._families.values() for member in family]
        assert {id(member.span) for member in members} == {id(node) for node in nodes}, "a family has other members"
        assert all(family == sorted(family) for family in self._families.values()), "a family is out of order"
        for node in nodes:
            if node.source is not None:
                assert node.source in nodes and node.source.parent is node.parent, "borrows from a stranger"
                assert node.source.tokens[: node.borrowed] == node.tokens[: node.borrowed], "borrows other tokens"

    def _slab(self, needed: int) -> Slab | None:
        """One with a free place for that many slots."""
        # A small store has no slots to spare for round sizes, nor for places that may stay empty.
        room = place_size(needed) if 8 * place_size(needed) <= self.slots.capacity else needed
        for slab in self.slabs:
            if slab.room == room and slab.free:
                return slab
        places = max(1, min(_PLACES, self.slots.capacity // 8 // room))
        while (start := self._take(room * places)) is None:
            if places > 1:
                places //= 2
            elif room > needed:
                room = needed  # the last of the store, though it will fit few others
            else:
                return None
        slab = Slab(start, room, places)
        self.slabs.append(slab)
        return slab

    def _take(self, room: int) -> int | None:
        """The first slot of a free range, made free by dropping unused prefixes where it must be."""
        while (start := self.slots.take(room)) is None:
            unused = self._unused()
            if not unused:
                return None
            self._drop(min(unused, key=lambda key: self.prefixes[key].used_at))
        return start

    def _unused(self) -> list[tuple[int, tuple[int, ...]]]:
        return [key for key, node in self.prefixes.items() if not node.users]

    def _drop(self, key: tuple[int, tuple[int, ...]]) -> None:
        node = self.prefixes.pop(key)
        self._part(node)
        self.slots.give_back(node.start, node.room)
        if node.parent is not None:
            node.parent.users -= 1

    def _use(self, parent: Span | None) -> Span | None:
        if parent is not None:
            parent.users += 1
        return parent

    def _touch(self, row: Span) -> None:
        self._clock += 1
        for node in row.lineage:
            node.used_at = self._clock


def common_length(a: Sequence[object], b: Sequence[object]) -> int:
    """How many items two sequences have in common from the start."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
