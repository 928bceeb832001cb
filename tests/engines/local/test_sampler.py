"""Sampling: drawn tokens depend on their row alone, and their frequencies are their probabilities."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Prompt
from depqa_ray.engines.base import SamplingParams
from depqa_ray.engines.local.detokenizer import TokenTexts
from depqa_ray.engines.local.generation import Generation
from depqa_ray.engines.local.sampler import _invert, _nucleus, sample
from tests.engines.byte_tokens import byte_tokenizer

TEXTS = TokenTexts(byte_tokenizer())
ROWS, VOCABULARY = 6, 50


def generations(sampling_params: SamplingParams, *names: str) -> list[Generation]:
    return [Generation(Prompt(name, "S", "P", "Q", 1000), sampling_params, TEXTS, frozenset()) for name in names]


def frequencies(logits: list[float], sampling_params: SamplingParams, count: int = 4000) -> dict[int, float]:
    rows = generations(sampling_params, *map(str, range(count)))
    chosen = sample(torch.tensor(logits).expand(count, -1), rows, sampling_params)
    return {token: number / count for token, number in Counter(chosen.tolist()).items()}


def test_drawn_tokens_do_not_depend_on_the_batch() -> None:
    """The drawn tokens of a sequence are the same in any batch and in any order."""
    sampling_params = SamplingParams(temperature=1.3, top_p=0.9, seed=7)
    logits = torch.randn(5, ROWS, VOCABULARY, generator=torch.Generator().manual_seed(0)) * 3
    names = [f"row {number}" for number in range(ROWS)]

    def tokens(order: list[int]) -> dict[int, list[int]]:
        rows = generations(sampling_params, *(names[number] for number in order))
        steps = [sample(step[order], rows, sampling_params).tolist() for step in logits]
        return dict(zip(order, map(list, zip(*steps, strict=True)), strict=True))

    together = tokens(list(range(ROWS)))
    order = random.Random(1).sample(range(ROWS), ROWS)
    assert tokens(order) == together
    for number in range(ROWS):
        assert tokens([number])[number] == together[number]


@pytest.mark.parametrize(
    "sampling_params", [SamplingParams(), SamplingParams(1.0, 1e-9), SamplingParams(1e-9), SamplingParams(1e-4)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_temperature_or_tiny_nucleus_is_argmax(sampling_params: SamplingParams, dtype: torch.dtype) -> None:
    """With no or tiny temperature, or a tiny nucleus, the first of the likeliest tokens is chosen."""
    logits = torch.randn(40, 500, generator=torch.Generator().manual_seed(1)).to(dtype)
    if sampling_params.top_p < 1:
        logits[:, 7::3] = 9.0  # many that are equally likely
    else:
        logits[torch.arange(40), torch.arange(40) * 7] = 9.0  # one: a temperature draws among equals
    rows = generations(sampling_params, *map(str, range(40)))
    assert torch.equal(sample(logits, rows, sampling_params), logits.argmax(-1))


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    """Tokens are drawn as often as they are likely."""
    logits = [0.0, 1.0, 2.0, float("-inf")]
    likely = torch.tensor(logits).softmax(-1).tolist()
    found = frequencies(logits, SamplingParams(1.0))
    assert found == pytest.approx({0: likely[0], 1: likely[1], 2: likely[2]}, abs=0.025)


def test_given_a_temperature_then_it_flattens_or_sharpens() -> None:
    logits = [0.0, 1.0, 2.0]
    hot, plain, cold = (frequencies(logits, SamplingParams(temperature)) for temperature in (10.0, 1.0, 0.3))
    assert hot == pytest.approx({0: 0.30, 1: 0.33, 2: 0.37}, abs=0.025)
    assert hot[2] < plain[2] < cold[2]


def test_given_a_nucleus_then_nothing_outside_of_it_is_drawn() -> None:
    shares = [0.1, 0.4, 0.05, 0.45]
    logits = torch.tensor(shares).log().tolist()
    assert frequencies(logits, SamplingParams(1.0, 0.4)) == {3: 1.0}
    assert frequencies(logits, SamplingParams(1.0, 0.6)) == pytest.approx({1: 40 / 85, 3: 45 / 85}, abs=0.025)
    assert set(frequencies(logits, SamplingParams(1.0, 0.94))) == {0, 1, 3}


@given(st.lists(st.lists(st.integers(0, 9), min_size=8, max_size=8), min_size=1, max_size=3), st.integers(1, 63))
def test_nucleus_is_the_smallest_set_that_reaches_top_p(shares: list[list[int]], sixty_fourths: int) -> None:
    """The nucleus is the smallest set of tokens whose probability reaches top_p."""
    # In 64ths, so that every sum is exact; the first share is the remainder.
    rows = [[64 - sum(row[1:]) / 2, *(share / 2 for share in row[1:])] for row in shares]
    top_p = sixty_fourths / 64
    expected = []
    for row in rows:
        kept: list[int] = []
        for token in sorted(range(len(row)), key=lambda token: -row[token]):
            if sum(row[other] for other in kept) >= sixty_fourths:
                break
            kept.append(token)
        expected.append([share / 64 if token in kept else 0 for token, share in enumerate(row)])
    assert _nucleus(torch.tensor(rows) / 64, top_p).tolist() == expected


def test_draw_of_zero_skips_tokens_without_probability() -> None:
    """If the draw is 0, tokens without probability are skipped."""
    draws = torch.tensor([0.0, 0.5, 0.75, 1 - 2**-32], dtype=torch.float64)
    assert _invert(torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).expand(4, -1), draws).tolist() == [1, 3, 3, 3]


@given(
    st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20), st.floats(1e-8, 1e8), st.floats(0.0, 1.0, exclude_min=True)
)
def test_drawn_token_is_possible_for_any_logits(logits: list[float], temperature: float, top_p: float) -> None:
    """For any logits, the drawn token has a probability above 0."""
    sampling_params = SamplingParams(temperature, top_p)
    (token,) = sample(torch.tensor([logits]), generations(sampling_params, "a"), sampling_params).tolist()
    assert torch.tensor(logits).sub(max(logits)).div(temperature).softmax(-1)[token] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "sampling_params", [SamplingParams(), SamplingParams(1.0), SamplingParams(1.0, 0.9), SamplingParams(1e-9)]
)
def test_row_that_is_not_finite_gives_no_token(sampling_params: SamplingParams, dtype: torch.dtype) -> None:
    """If a row has a NaN anywhere, of either sign, or no finite maximum, its token is -1; other rows keep theirs."""
    nan, inf = float("nan"), float("inf")
    logits = torch.randn(7, 99, generator=torch.Generator().manual_seed(1)).to(dtype)
    rows = generations(sampling_params, *map(str, range(7)))
    before = sample(logits, rows, sampling_params).tolist()
    logits[1, 3], logits[2, 98], logits[3, 7], logits[4], logits[5] = nan, -nan, inf, -inf, nan
    logits[6, :9] = -inf
    logits[6, 9] = 90.0
    rows = generations(sampling_params, *map(str, range(7)))
    assert sample(logits, rows, sampling_params).tolist() == [before[0], -1, -1, -1, -1, -1, 9]
