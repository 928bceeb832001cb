"""The key-value store's bookkeeping under random schedules: nothing overlaps, nothing leaks, nothing in use goes."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from depqa_ray.engines.kv_cache import PrefixCache, Slots, Span, place_size


class Schedule(RuleBasedStateMachine):
    """Rows that join and leave a store of 40 slots; prefixes are evicted as room is needed."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = PrefixCache(40)
        self.rows: list[Span] = []

    @rule(
        prefixes=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=4), max_size=3),
        own=st.lists(st.integers(0, 1), min_size=1, max_size=5),
        new=st.integers(1, 8),
    )
    def join(self, prefixes: list[list[int]], own: list[int], new: int) -> None:
        admitted = self.cache.admit([*prefixes, own], new)
        if admitted is None:
            assert self.rows, "a store of 40 slots without rows has room for any of these"
            return
        row, found = admitted
        assert found <= row.offset
        assert [node.tokens for node in row.lineage] == prefixes
        assert row.offset == sum(map(len, prefixes))
        self.rows.append(row)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.rows:
            self.cache.release(self.rows.pop(data.draw(st.integers(0, len(self.rows) - 1))))

    @invariant()
    def holds(self) -> None:
        self.cache.validate()

    def teardown(self) -> None:
        for row in self.rows:
            self.cache.release(row)
        self.cache.validate()
        assert self.cache.admit([[9] * 40], 0) is not None, "all slots can be had once nobody uses them"


TestSchedule = Schedule.TestCase
TestSchedule.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_given_siblings_then_their_prefix_is_held_once_and_counted_as_a_hit() -> None:
    cache = PrefixCache(20)
    admitted = cache.admit([[1, 2, 3], [4]], 1), cache.admit([[1, 2, 3], [5]], 1)
    (first, found_first), (second, found_second) = filter(None, admitted)
    assert first.parent is second.parent
    assert (found_first, found_second) == (0, 3)


def test_given_rows_of_one_size_then_they_lie_side_by_side_and_a_place_is_used_again() -> None:
    cache = PrefixCache(1000)
    rows = [row for n in range(5) for row, _ in filter(None, [cache.admit([[1], [n]], 10 + n % 3)])]
    slab = cache.slabs[0]
    assert [row.start for row in rows] == [slab.start + 16 * place for place in range(5)]
    cache.release(rows[2])
    again = cache.admit([[2], [9]], 12)
    assert again is not None and again[0].start == rows[2].start
    assert len(cache.slabs) == 1


@pytest.mark.parametrize(("needed", "size"), [(1, 16), (17, 24), (25, 32), (48, 48), (49, 64), (65, 96), (97, 128)])
def test_given_a_need_then_the_place_holds_it_and_wastes_at_most_a_third(needed: int, size: int) -> None:
    assert place_size(needed) == size


def test_given_a_prefix_in_the_middle_then_a_row_that_needs_most_of_the_store_still_finds_room() -> None:
    cache = PrefixCache(100)
    for parts in ([[1] * 40, [5]], [[2] * 20, [5]], [[3] * 20, [5]]):
        row, _ = cache.admit(parts, 1) or pytest.fail("no room")
        cache.release(row)
    assert cache.admit([[2] * 20, [5]], 70) is not None


def test_given_too_little_room_then_the_prefix_unused_for_longest_goes_first() -> None:
    cache = PrefixCache(10)
    for tokens in ([1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 1, 1]):
        row, _ = cache.admit([tokens, [9]], 1) or pytest.fail("no room")
        cache.release(row)
    assert cache.admit([[3, 3, 3, 3], [9]], 1) is not None
    assert sorted(node.tokens[0] for node in cache.prefixes.values()) == [1, 3]


@pytest.mark.parametrize(("start", "length"), [(3, 2), (0, 11), (-1, 1)])
def test_given_slots_that_are_not_taken_then_they_cannot_be_given_back(start: int, length: int) -> None:
    slots = Slots(10)
    slots.take(4)
    with pytest.raises(ValueError, match="not taken"):
        slots.give_back(start, length)
