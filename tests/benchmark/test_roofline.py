"""Operations and bytes by hand for a small shape, and properties of any shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.benchmark.prefix_tree import prompt_work
from depqa_ray.benchmark.roofline import Ceilings, ModelShape, Work, decode_work, prefill_work, step_floor

SHAPE = ModelShape(layers=2, heads=4, kv_heads=2, head_dim=8, body_parameters=1000, head_parameters=500, value_bytes=2)
CEILINGS = Ceilings(flops=1000.0, bytes=10.0, device="", dtype="", threads=1)
ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=6)


def test_bytes_of_a_shape_are_its_weights_and_kv() -> None:
    """A model shape counts the bytes of its weights and of the keys and values of one token."""
    assert (SHAPE.weight_bytes, SHAPE.kv_bytes) == (3000, 2 * 2 * 2 * 8 * 2)


def test_prefill_counts_shared_prefix_once_and_head_twice() -> None:
    """If two siblings are prefilled, their prefix counts once and the output head twice."""
    work = prefill_work(SHAPE, prompt_work([[1, 2, 3], [1, 2, 4]]))
    attention = 4 * 2 * 4 * 8 * (1 + 2 + 3 + 3)
    assert work == Work(2 * 1000 * 4 + 2 * 500 * 2 + attention, 3000)


def test_decoding_reads_weights_once_a_step_and_prefix_once() -> None:
    """Each decoding step reads the weights once, and once what the sequences share."""
    work, steps = decode_work(SHAPE, [[1, 2], [1, 3]], [3, 2])
    # The first row decodes twice and sees 2 + 1 and 2 + 2 keys, the second once and sees 2 + 1.
    assert steps == 2
    assert work.flops == 2 * 1500 * 3 + 4 * 2 * 4 * 8 * (3 + 4 + 3)
    assert work.bytes == 3000 * 2 + 128 * ((3 + 1 + 1) + (2 + 2))


def test_answers_of_one_token_need_no_decoding() -> None:
    """If answers have one token, there is nothing to decode."""
    work, steps = decode_work(SHAPE, [[1], [2]], [1, 0])
    assert (work, steps) == (Work(0, 0), 0)
    assert step_floor(SHAPE, CEILINGS, work, steps, 1.0) == 0.0


@pytest.mark.parametrize(("work", "seconds"), [(Work(5000, 10), 5.0), (Work(1000, 100), 10.0)])
def test_the_floor_is_the_larger_of_computing_and_reading(work: Work, seconds: float) -> None:
    assert work.seconds(CEILINGS) == seconds


@given(ROWS, st.integers(1, 5))
def test_floor_grows_with_prompts_and_not_by_sharing(rows: list[list[int]], count: int) -> None:
    """If prompts are added, the floor does not fall; if each runs alone, the sum is not lower."""

    def floor(part: list[list[int]]) -> float:
        decode, _ = decode_work(SHAPE, part, [count] * len(part))
        return prefill_work(SHAPE, prompt_work(part)).seconds(CEILINGS) + decode.seconds(CEILINGS)

    assert floor(rows) >= floor(rows[:1]) * (1 - 1e-9)
    assert floor(rows) <= sum(floor([row]) for row in rows) * (1 + 1e-9)


@given(ROWS, st.integers(2, 5))
def test_step_floor_of_all_sequences_is_the_average_step(rows: list[list[int]], count: int) -> None:
    """If all sequences run together, the floor of a step is that of the average step."""
    work, steps = decode_work(SHAPE, rows, [count] * len(rows))
    assert step_floor(SHAPE, CEILINGS, work, steps, 1.0) == pytest.approx(work.seconds(CEILINGS) / steps)
    assert step_floor(SHAPE, CEILINGS, work, steps, 0.5) <= step_floor(SHAPE, CEILINGS, work, steps, 1.0)
