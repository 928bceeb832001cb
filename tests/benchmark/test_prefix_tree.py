"""The fewest tokens that have to be computed and read, against counts made the slow way."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.benchmark.prefix_tree import fewest_prefix_reads, prompt_work

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=8)


@given(ROWS)
def test_each_distinct_prefix_is_computed_once(rows: list[list[int]]) -> None:
    """Each distinct prefix is computed once, but the last token of a prompt once for each prompt."""
    beginnings = {tuple(row[:end]) for row in rows for end in range(1, len(row) + 1)}
    ends = Counter(map(tuple, rows))
    work = prompt_work(rows)
    assert work.fewest == sum(max(1, ends[node]) for node in beginnings)
    assert work.keys == sum(len(node) * max(1, ends[node]) for node in beginnings)
    assert work.shareable == sum(map(len, rows)) - work.fewest >= 0


@given(ROWS, st.data())
def test_prefix_is_read_in_the_steps_of_its_longest_sequence(rows: list[list[int]], data: st.DataObject) -> None:
    """A prefix is read in as many steps as its longest sequence decodes."""
    steps = [data.draw(st.integers(0, 4)) for _ in rows]
    reads = 0
    for step in range(1, 5):  # step by step: what the rows that still decode have below them
        alive = [row for row, count in zip(rows, steps, strict=True) if count >= step]
        reads += len({tuple(row[:end]) for row in alive for end in range(1, len(row) + 1)})
    assert fewest_prefix_reads(rows, steps) == reads


def test_given_siblings_then_their_passage_counts_once() -> None:
    work = prompt_work([[1, 2, 3, 7], [1, 2, 3, 8], [1, 2, 3, 8]])
    assert (work.tokens, work.fewest, work.keys) == (12, 6, 1 + 2 + 3 + 4 + 4 + 4)
