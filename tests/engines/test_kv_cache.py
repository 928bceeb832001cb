"""The key-value store's bookkeeping under random schedules: nothing overlaps, nothing leaks, nothing in use goes."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from depqa_ray.engines.kv_cache import PrefixCache, Slots, Span


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
        row = self.cache.admit([*prefixes, own], new)
        if row is None:
            assert self.rows, "an empty store of 40 slots has room for any of these"
            return
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
    first, second = cache.admit([[1, 2, 3], [4]], 1), cache.admit([[1, 2, 3], [5]], 1)
    assert first is not None and second is not None
    assert first.parent is second.parent
    assert cache.hit_tokens == 3


def test_given_too_little_room_then_the_prefix_unused_for_longest_goes_first() -> None:
    cache = PrefixCache(10)
    for tokens in ([1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 1, 1]):
        row = cache.admit([tokens, [9]], 1)
        assert row is not None
        cache.release(row)
    assert cache.admit([[3, 3, 3, 3], [9]], 1) is not None
    assert sorted(node.tokens[0] for node in cache.prefixes.values()) == [1, 3]


@pytest.mark.parametrize(("start", "length"), [(3, 2), (0, 11), (-1, 1)])
def test_given_slots_that_are_not_taken_then_they_cannot_be_given_back(start: int, length: int) -> None:
    slots = Slots(10)
    slots.take(4)
    with pytest.raises(ValueError, match="not taken"):
        slots.give_back(start, length)
