"""The prefix cache under random schedules: no slots overlap or leak, and no prefix in use is evicted."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from depqa_ray.engines.shared_prefix.allocator import SlotAllocator, range_capacity
from depqa_ray.engines.shared_prefix.prefix_cache import PrefixCache, PrefixNode


class Schedule(RuleBasedStateMachine):
    """Leaves that join and leave a pool of 40 slots; prefixes are evicted as slots are needed."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = PrefixCache(40)
        self.leaves: list[PrefixNode] = []

    @rule(
        prefixes=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=4), max_size=3),
        own=st.lists(st.integers(0, 1), min_size=1, max_size=5),
        new=st.integers(1, 8),
    )
    def join(self, prefixes: list[list[int]], own: list[int], new: int) -> None:
        leaf = self.cache.admit([*prefixes, own], new)
        if leaf is None:
            assert self.leaves, "40 slots without leaves have room for any of these"
            return
        assert [token for node in leaf.ancestors for token in node.tokens] == [t for tokens in prefixes for t in tokens]
        assert leaf.position == sum(map(len, prefixes))
        self.leaves.append(leaf)

    @rule(data=st.data())
    def compute(self, data: st.DataObject) -> None:
        """Compute the outermost incomplete node of a leaf, if what it copies is computed."""
        if self.leaves:
            leaf = data.draw(st.sampled_from(self.leaves))
            node = next((node for node in (*leaf.ancestors, leaf) if node.computed < len(node.tokens)), None)
            if node and (node.copy_from is None or node.copy_from.computed >= node.copied_tokens):
                node.copy_from, node.computed = None, len(node.tokens)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.leaves:
            self.cache.release(self.leaves.pop(data.draw(st.integers(0, len(self.leaves) - 1))))

    @invariant()
    def holds(self) -> None:
        self.cache.validate()

    def teardown(self) -> None:
        for leaf in self.leaves:
            self.cache.release(leaf)
        self.cache.validate()
        assert not self.cache.prefixes or all(node.computed for node in self.cache.prefixes.values())
        assert self.cache.admit([[9] * 40], 0) is not None, "all slots are free once nothing uses them"


TestSchedule = Schedule.TestCase
TestSchedule.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def admit(cache: PrefixCache, *segments: list[int], new: int = 1) -> PrefixNode:
    """A leaf that is admitted and, with its prefixes, computed at once."""
    leaf = cache.admit(list(segments), new)
    assert leaf is not None
    for node in (*leaf.ancestors, leaf):
        node.copy_from, node.computed = None, len(node.tokens)
    return leaf


def test_given_siblings_then_their_prefix_is_held_once_and_found() -> None:
    cache = PrefixCache(20)
    first, second = admit(cache, [1, 2, 3], [4]), admit(cache, [1, 2, 3], [5])
    assert first.parent is second.parent
    assert cache.hit_tokens == 3


def test_given_a_longer_prefix_then_it_builds_on_the_shorter_one() -> None:
    cache = PrefixCache(40)
    admit(cache, [1, 2], [3, 4], [9])
    leaf = admit(cache, [1, 2], [3, 4, 5, 6], [9])
    assert [node.tokens for node in leaf.ancestors] == [[1, 2], [3, 4], [5, 6]]
    assert cache.hit_tokens == 4


def test_later_sibling_copies_common_tokens_but_its_last() -> None:
    """If siblings start alike, the later one copies the common tokens, but never its own last one."""
    cache = PrefixCache(60)
    first = cache.admit([[1], [5, 6, 7]], 1)
    second, third = cache.admit([[1], [5, 6, 8]], 1), cache.admit([[1], [5, 6]], 1)
    assert first and second and third
    assert (second.copy_from, second.copied_tokens) == (first, 2)
    assert third.copied_tokens == 1 and third.copy_from in (first, second)
    assert cache.hit_tokens == 1 + 2 + 1 + 1


def test_copy_is_dropped_if_its_source_is_released_first() -> None:
    """If the source is released before it was copied, the other sequence computes the tokens itself."""
    cache = PrefixCache(60)
    first, second = cache.admit([[1], [5, 6, 7]], 1), cache.admit([[1], [5, 6, 8]], 1)
    assert first and second and cache.hit_tokens == 3
    cache.release(first)
    assert (second.copy_from, second.copied_tokens, cache.hit_tokens) == (None, 0, 1)
    cache.validate()


def test_prefix_released_before_it_is_computed_is_evicted() -> None:
    """If a prefix is released before it was computed, it is evicted and no sequence waits for it."""
    cache = PrefixCache(60)
    leaf = cache.admit([[1], [2, 3]], 1)
    assert leaf is not None
    cache.release(leaf)
    assert not cache.prefixes
    cache.validate()


def test_slots_of_equal_sequences_are_adjacent_and_reused() -> None:
    """If sequences need equal ranges, these lie side by side, and a freed range is used again."""
    cache = PrefixCache(1000)
    leaves = [admit(cache, [1], [n], new=10 + n % 3) for n in range(5)]
    slab = cache.slabs[0]
    assert [leaf.start for leaf in leaves] == [slab.start + 16 * index for index in range(5)]
    cache.release(leaves[2])
    assert admit(cache, [2], [9], new=12).start == leaves[2].start
    assert len(cache.slabs) == 1


@pytest.mark.parametrize(("needed", "size"), [(1, 16), (17, 24), (25, 32), (48, 48), (49, 64), (65, 96), (97, 128)])
def test_place_holds_the_need_and_wastes_at_most_a_third(needed: int, size: int) -> None:
    """A range holds the slots needed and, above the minimum of 16, wastes at most a third."""
    assert range_capacity(needed) == size


def test_large_sequence_fits_despite_a_prefix_in_the_middle() -> None:
    """If a prefix lies in the middle, a sequence that needs most of the slots still fits."""
    cache = PrefixCache(100)
    for segments in ([[1] * 40, [5]], [[2] * 20, [5]], [[3] * 20, [5]]):
        cache.release(admit(cache, *segments))
    assert cache.admit([[2] * 20, [5]], 70) is not None


@pytest.mark.parametrize(("prefix", "own", "new"), [(990, 5, 5), (900, 60, 40), (1, 990, 9)])
def test_given_a_row_that_just_fits_then_it_is_admitted(prefix: int, own: int, new: int) -> None:
    assert PrefixCache(1000).admit([[1] * prefix, [2] * own], new) is not None


def test_hit_tokens_stay_right_if_a_source_is_evicted() -> None:
    """If a source is evicted while a sequence looks for slots, the count of hit tokens stays right."""
    cache = PrefixCache(20)
    cache.release(admit(cache, [1, 2, 3, 4, 5, 6, 7, 8], [9]))
    found = cache.hit_tokens
    blocking = cache.admit([[3] * 4, [9]], 1)
    assert blocking is not None
    assert cache.admit([[1, 2, 3, 4, 5, 6], [7] * 8], 1) is None
    assert cache.hit_tokens == found
    cache.validate()


def test_least_recently_used_prefix_is_evicted_first() -> None:
    """If slots run short, the prefix that was unused for longest is evicted first."""
    cache = PrefixCache(10)
    for tokens in ([1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 1, 1]):
        cache.release(admit(cache, tokens, [9]))
    admit(cache, [3, 3, 3, 3], [9])
    assert sorted(node.tokens[0] for node in cache.prefixes.values()) == [1, 3]


@pytest.mark.parametrize(("start", "length"), [(3, 2), (0, 11), (-1, 1)])
def test_slots_that_are_not_allocated_cannot_be_freed(start: int, length: int) -> None:
    """If slots are not allocated, freeing them raises ValueError."""
    slots = SlotAllocator(10)
    slots.allocate(4)
    with pytest.raises(ValueError, match="not taken"):
        slots.free(start, length)
