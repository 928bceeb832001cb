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


def test_given_siblings_that_begin_alike_then_the_later_borrows_what_they_have_in_common_but_the_last_token() -> None:
    cache = PrefixCache(60)
    first = cache.admit([[1], [5, 6, 7]], 1)
    second, third = cache.admit([[1], [5, 6, 8]], 1), cache.admit([[1], [5, 6]], 1)
    assert first and second and third
    assert (second.copy_from, second.copied_tokens) == (first, 2)
    assert third.copied_tokens == 1 and third.copy_from in (first, second)
    assert cache.hit_tokens == 1 + 2 + 1 + 1


def test_given_a_lender_that_leaves_before_it_was_copied_then_the_borrower_computes_for_itself() -> None:
    cache = PrefixCache(60)
    first, second = cache.admit([[1], [5, 6, 7]], 1), cache.admit([[1], [5, 6, 8]], 1)
    assert first and second and cache.hit_tokens == 3
    cache.release(first)
    assert (second.copy_from, second.copied_tokens, cache.hit_tokens) == (None, 0, 1)
    cache.validate()


def test_given_a_prefix_that_was_given_up_before_it_was_read_then_nobody_waits_for_it() -> None:
    cache = PrefixCache(60)
    leaf = cache.admit([[1], [2, 3]], 1)
    assert leaf is not None
    cache.release(leaf)
    assert not cache.prefixes
    cache.validate()


def test_given_rows_of_one_size_then_they_lie_side_by_side_and_a_place_is_used_again() -> None:
    cache = PrefixCache(1000)
    leaves = [admit(cache, [1], [n], new=10 + n % 3) for n in range(5)]
    slab = cache.slabs[0]
    assert [leaf.start for leaf in leaves] == [slab.start + 16 * index for index in range(5)]
    cache.release(leaves[2])
    assert admit(cache, [2], [9], new=12).start == leaves[2].start
    assert len(cache.slabs) == 1


@pytest.mark.parametrize(("needed", "size"), [(1, 16), (17, 24), (25, 32), (48, 48), (49, 64), (65, 96), (97, 128)])
def test_given_a_need_then_the_place_holds_it_and_wastes_at_most_a_third(needed: int, size: int) -> None:
    assert range_capacity(needed) == size


def test_given_a_prefix_in_the_middle_then_a_row_that_needs_most_of_the_store_still_finds_room() -> None:
    cache = PrefixCache(100)
    for segments in ([[1] * 40, [5]], [[2] * 20, [5]], [[3] * 20, [5]]):
        cache.release(admit(cache, *segments))
    assert cache.admit([[2] * 20, [5]], 70) is not None


@pytest.mark.parametrize(("prefix", "own", "new"), [(990, 5, 5), (900, 60, 40), (1, 990, 9)])
def test_given_a_row_that_just_fits_then_it_is_admitted(prefix: int, own: int, new: int) -> None:
    assert PrefixCache(1000).admit([[1] * prefix, [2] * own], new) is not None


def test_given_a_lender_that_goes_while_a_borrower_looks_for_room_then_the_count_stays_right() -> None:
    cache = PrefixCache(20)
    cache.release(admit(cache, [1, 2, 3, 4, 5, 6, 7, 8], [9]))
    found = cache.hit_tokens
    blocking = cache.admit([[3] * 4, [9]], 1)
    assert blocking is not None
    assert cache.admit([[1, 2, 3, 4, 5, 6], [7] * 8], 1) is None
    assert cache.hit_tokens == found
    cache.validate()


def test_given_too_little_room_then_the_prefix_unused_for_longest_goes_first() -> None:
    cache = PrefixCache(10)
    for tokens in ([1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 1, 1]):
        cache.release(admit(cache, tokens, [9]))
    admit(cache, [3, 3, 3, 3], [9])
    assert sorted(node.tokens[0] for node in cache.prefixes.values()) == [1, 3]


@pytest.mark.parametrize(("start", "length"), [(3, 2), (0, 11), (-1, 1)])
def test_given_slots_that_are_not_taken_then_they_cannot_be_given_back(start: int, length: int) -> None:
    slots = SlotAllocator(10)
    slots.allocate(4)
    with pytest.raises(ValueError, match="not taken"):
        slots.free(start, length)
