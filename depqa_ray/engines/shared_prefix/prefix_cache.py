"""Assigns the slots of the key-value pool to a tree of prefixes. Holds no tensors: its invariants are tested alone.

Each node owns one contiguous range of slots, so attention reads it as a view and a leaf grows without copies. Leaves
are allocated in slabs, ranges of equal size side by side, so attention reads many of them as one strided view.

If siblings start with the same few tokens, the later one copies their keys and values once. That costs less than
a prefix of their own that every step attends to.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter

from depqa_ray.engines.local.chat import common_length
from depqa_ray.engines.shared_prefix.allocator import Slab, SlotAllocator, range_capacity

_SLAB_RANGES = 32  # enough leaves for one call to attention to pay


@dataclass(slots=True, eq=False)
class PrefixNode:
    """Tokens that follow those of ``parent``: a shared prefix, or the leaf of one sequence, which grows.

    - ``key`` are the tokens that it was created with, ``position`` that of the first, ``ancestors`` outermost first.
    - It owns ``capacity`` slots from ``start`` on. ``slab`` holds those of a leaf; None for a prefix.
    - The keys and values of ``computed`` tokens are in the pool.
    - While ``copy_from`` is set, the first ``copied_tokens`` are to be copied from there, once computed there.
    """

    tokens: list[int]
    parent: PrefixNode | None
    start: int
    capacity: int
    slab: Slab | None = None
    copy_from: PrefixNode | None = None
    copied_tokens: int = 0
    computed: int = 0
    ref_count: int = 0
    last_used: int = 0
    key: tuple[int, ...] = field(init=False)
    position: int = field(init=False)
    ancestors: tuple[PrefixNode, ...] = field(init=False)

    def __post_init__(self) -> None:
        above = self.parent
        self.key = tuple(self.tokens)
        self.position = above.position + len(above.tokens) if above else 0
        self.ancestors = (*above.ancestors, above) if above else ()


class PrefixCache:
    """The tree of shared prefixes in the pool, and the leaves of running sequences below them.

    - A prefix is identified by its parent and its tokens.
    - ``ref_count`` of a prefix is the number of its children, prefixes and leaves. With references it is never evicted.
    - A computed prefix is kept without references until its slots are needed; the least recently used goes first.
    - A prefix that is not fully computed always has references.
    - A slab without leaves is freed.
    - ``_siblings`` holds the nodes below each parent, in the order of their ``key``.
    - ``hit_tokens`` counts the tokens of admitted prompts that need not be computed.
    """

    def __init__(self, capacity: int) -> None:
        self.slots = SlotAllocator(capacity)
        self.prefixes: dict[tuple[int, tuple[int, ...]], PrefixNode] = {}
        self.leaves: set[PrefixNode] = set()
        self.slabs: list[Slab] = []
        self.hit_tokens = 0
        self._siblings: dict[int, list[PrefixNode]] = {}
        self._clock = 0

    def admit(self, segments: list[list[int]], max_new_tokens: int) -> PrefixNode | None:
        """Return the leaf of a prompt: ``segments`` are its prefixes, outermost first, then its own tokens.

        None if there are too few free slots, which cannot be if there are no leaves and the capacity suffices.
        """
        leaf = self._try_admit(segments, max_new_tokens)
        if leaf is None and not self.leaves:
            # A prefix in the middle of the pool can leave no gap wide enough. Without leaves, all may go.
            self.evict_unused()
            leaf = self._try_admit(segments, max_new_tokens)
        return leaf

    def _try_admit(self, segments: list[list[int]], max_new_tokens: int) -> PrefixNode | None:
        path: list[PrefixNode] = []
        slab = None
        hit_tokens = 0
        try:
            for tokens in segments[:-1]:
                while tokens:
                    parent = path[-1] if path else None
                    node = self._match(parent, tokens)
                    if node is not None:
                        hit_tokens += len(node.tokens)
                    elif (node := self._insert(parent, tokens)) is None:
                        return None
                    node.ref_count += 1  # so that allocating for the next segment does not evict it
                    path.append(node)
                    tokens = tokens[len(node.tokens) :]
            slab = self._slab_for(len(segments[-1]) + max_new_tokens)
        finally:
            for node in reversed(path):
                node.ref_count -= 1
                if slab is None:
                    self._evict_if_abandoned(node)
        if slab is None:
            return None
        parent = path[-1] if path else None
        leaf = self._attach(PrefixNode(list(segments[-1]), parent, slab.allocate(), slab.capacity, slab))
        self._touch(leaf)
        self.leaves.add(leaf)
        self.hit_tokens += hit_tokens
        return leaf

    def _match(self, parent: PrefixNode | None, tokens: list[int]) -> PrefixNode | None:
        """The longest prefix below a parent that the tokens start with."""
        exact = self.prefixes.get((id(parent), tuple(tokens)))
        if exact is not None:
            return exact
        shorter = [
            node
            for node in self._siblings.get(id(parent), [])
            if node.slab is None and tokens[: len(node.tokens)] == node.tokens
        ]
        return max(shorter, key=lambda node: len(node.tokens), default=None)

    def _insert(self, parent: PrefixNode | None, tokens: list[int]) -> PrefixNode | None:
        """A new prefix below a parent; None if there are too few free slots."""
        start = self._allocate(len(tokens))
        if start is None:
            return None
        node = self._attach(PrefixNode(list(tokens), parent, start, len(tokens)))
        self.prefixes[id(parent), node.key] = node
        return node

    def _attach(self, node: PrefixNode) -> PrefixNode:
        """Enter a new node below its parent; let it copy from the sibling most like it, a neighbour in order."""
        siblings = self._siblings.setdefault(id(node.parent), [])
        index = bisect_right(siblings, node.key, key=attrgetter("key"))
        for near in siblings[max(0, index - 1) : index + 1]:
            # The last token must be computed: its output gives the sequence's next token.
            common = min(common_length(near.key, node.key), len(node.key) - 1)
            if common > node.copied_tokens:
                node.copy_from, node.copied_tokens = near, common
        while node.copy_from and node.copy_from.copy_from and node.copied_tokens <= node.copy_from.copied_tokens:
            node.copy_from = node.copy_from.copy_from  # all of it would itself be copied from there
        siblings.insert(index, node)
        self.hit_tokens += node.copied_tokens
        if node.parent is not None:
            node.parent.ref_count += 1
        return node

    def _detach(self, node: PrefixNode) -> None:
        """Remove a node from its parent. Nodes that were still to copy from it compute for themselves."""
        siblings = self._siblings[id(node.parent)]
        for copier in (node, *(other for other in siblings if other.copy_from is node)):
            if copier.copy_from is not None:
                self.hit_tokens -= copier.copied_tokens
                copier.copy_from, copier.copied_tokens = None, 0
        siblings.remove(node)
        if not siblings:
            del self._siblings[id(node.parent)]
        if node.parent is not None:
            node.parent.ref_count -= 1

    def release(self, leaf: PrefixNode) -> None:
        """Remove the leaf of a sequence that has finished or was cancelled. Computed prefixes stay cached."""
        slab = leaf.slab
        assert slab is not None, "only leaves are released"
        self.leaves.remove(leaf)
        self._detach(leaf)
        self._touch(leaf)
        slab.free(leaf.start)
        if len(slab.free_indices) == slab.count:
            self.slabs.remove(slab)
            self.slots.free(slab.start, slab.capacity * slab.count)
        if leaf.parent is not None:
            self._evict_if_abandoned(leaf.parent)

    def _evict_if_abandoned(self, node: PrefixNode) -> None:
        """Evict an unused, incomplete prefix, then its ancestors under the same rule."""
        if not node.ref_count and node.computed < len(node.tokens):
            self._evict(node)
            if node.parent is not None:
                self._evict_if_abandoned(node.parent)

    def evict_unused(self) -> None:
        """Evict every prefix that no leaf builds on."""
        while unused := self._unused():
            for node in unused:
                self._evict(node)

    def validate(self) -> None:
        """Raise AssertionError if an invariant is broken: for tests."""
        nodes = [*self.prefixes.values(), *self.leaves]
        ranges = [(node.start, node.start + node.capacity) for node in nodes]
        for slab in self.slabs:
            starts = [slab.start + index * slab.capacity for index in slab.free_indices]
            ranges += [(start, start + slab.capacity) for start in starts]
        ranges.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(ranges)), "ranges overlap"
        allocated = sum(end - start for start, end in ranges)
        assert self.slots.free_slots + allocated == self.slots.capacity, "slots have leaked"
        for node in self.prefixes.values():
            assert node.ref_count == sum(other.parent is node for other in nodes), "references are miscounted"
        assert all(node.parent is None or node.parent in self.prefixes.values() for node in nodes), "orphan"
        incomplete = (node for node in self.prefixes.values() if node.computed < len(node.tokens))
        assert all(node.ref_count for node in incomplete), "an incomplete prefix without references"
        assert all(leaf.slab in self.slabs for leaf in self.leaves), "a leaf outside the slabs"
        assert all(len(slab.free_indices) < slab.count for slab in self.slabs), "an empty slab was kept"
        siblings = [node for family in self._siblings.values() for node in family]
        assert len(siblings) == len(nodes) and set(siblings) == set(nodes), "siblings are not the nodes of the tree"
        keys = [[node.key for node in family] for family in self._siblings.values()]
        assert all(family == sorted(family) for family in keys), "siblings are out of order"
        for node in nodes:
            if node.copy_from is not None:
                assert node.copy_from in nodes and node.copy_from.parent is node.parent, "copies from no sibling"
                assert node.copy_from.tokens[: node.copied_tokens] == node.tokens[: node.copied_tokens], "other tokens"

    def _slab_for(self, needed: int) -> Slab | None:
        """A slab with a free range for ``needed`` slots; None if there are too few free slots."""
        # A small pool has no slots to spare for rounded sizes, nor for ranges that may stay empty.
        capacity = range_capacity(needed) if 8 * range_capacity(needed) <= self.slots.capacity else needed
        for slab in self.slabs:
            if slab.capacity == capacity and slab.free_indices:
                return slab
        count = max(1, min(_SLAB_RANGES, self.slots.capacity // 8 // capacity))
        while (start := self._allocate(capacity * count)) is None:
            if count > 1:
                count //= 2
            elif capacity > needed:
                capacity = needed  # the last free slots, though few other leaves will fit this slab
            else:
                return None
        slab = Slab(start, capacity, count)
        self.slabs.append(slab)
        return slab

    def _allocate(self, length: int) -> int | None:
        """Return the first slot of a new range, evicting unused prefixes as needed; None if that is not enough."""
        while (start := self.slots.allocate(length)) is None:
            unused = self._unused()
            if not unused:
                return None
            self._evict(min(unused, key=lambda node: node.last_used))
        return start

    def _unused(self) -> list[PrefixNode]:
        return [node for node in self.prefixes.values() if not node.ref_count]

    def _evict(self, node: PrefixNode) -> None:
        del self.prefixes[id(node.parent), node.key]
        self._detach(node)
        self.slots.free(node.start, node.capacity)

    def _touch(self, leaf: PrefixNode) -> None:
        self._clock += 1
        for node in leaf.ancestors:
            node.last_used = self._clock
