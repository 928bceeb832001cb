"""Bootstrap intervals: they cover the mean as often as they should, and agree with those of scipy."""

from __future__ import annotations

import time

import numpy as np
import pytest

from depqa_ray.results import bootstrap
from depqa_ray.results.bootstrap import FloatArray, percentile_intervals


def intervals(
    sums: FloatArray, weights: FloatArray | None = None, *, resamples: int = 2000, seed: int = 1
) -> FloatArray:
    weights = np.ones_like(sums) if weights is None else weights
    return percentile_intervals(sums, weights, confidence=0.95, resamples=resamples, seed=seed)


def test_about_95_of_100_intervals_hold_the_mean() -> None:
    """Over many data sets, about 95 of 100 intervals hold the mean."""
    drawn = np.random.default_rng(7).normal(2.0, 1.0, size=(60, 1500))

    low, high = intervals(drawn, resamples=1000)

    # Over 60 passages percentiles cover some 94.5 %; three standard errors of 1,500 data sets are 1.8 %.
    assert 0.925 < np.mean((low <= 2.0) & (high >= 2.0)) < 0.965


def test_resampling_passages_covers_questions_that_share_one() -> None:
    """If questions share a passage, resampling passages covers; single questions would be too narrow."""
    generator = np.random.default_rng(3)
    chance = generator.beta(1.0, 1.0, size=(40, 1000))  # how easy a passage is, for all of its questions
    questions = np.full_like(chance, 5.0)
    right = generator.binomial(5, chance).astype(float)

    low, high = intervals(right, questions, resamples=1000)

    assert 0.91 < np.mean((low <= 0.5) & (high >= 0.5)) < 0.97
    of_questions = 2 * 1.96 * np.sqrt(0.25 / 200)
    assert np.mean(high - low) > 1.3 * of_questions


def test_interval_equals_the_paired_percentile_one_of_scipy() -> None:
    """The interval equals the paired percentile interval of SciPy."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: nothing to compare with")
    generator = np.random.default_rng(11)
    weights = generator.integers(3, 6, size=30).astype(float)
    sums = generator.binomial(weights.astype(int), 0.7).astype(float)

    found = stats.bootstrap(
        (sums, weights),
        lambda s, w, axis=-1: s.sum(axis) / w.sum(axis),
        paired=True, vectorized=True, method="percentile", n_resamples=50_000, rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    low, high = intervals(sums[:, None], weights[:, None], resamples=50_000)[:, 0]

    noise = 0.03 * (high - low)
    assert low == pytest.approx(found.low, abs=noise)
    assert high == pytest.approx(found.high, abs=noise)


def test_intervals_follow_from_the_seed() -> None:
    """The same seed gives the same intervals, and another seed gives others."""
    values = np.random.default_rng(1).normal(size=(20, 3))

    assert np.array_equal(intervals(values), intervals(values))
    assert not np.array_equal(intervals(values), intervals(values, seed=2))
    assert np.isfinite(intervals(values, seed=-5)).all()


def test_equal_values_give_an_interval_without_width() -> None:
    """If all values are equal, the interval has no width."""
    low, high = intervals(np.full((10, 1), 4.0))

    assert low == high == 4.0


def test_column_has_the_same_interval_alone() -> None:
    """The interval of a column is the same alone and with other columns."""
    values = np.random.default_rng(1).normal(size=(20, 3))

    assert intervals(values)[:, 1:2] == pytest.approx(intervals(values[:, 1:2]), rel=1e-12)


def test_block_size_does_not_change_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """With blocks of any size, the resamples are the same."""
    values = np.random.default_rng(1).normal(size=(7, 2))
    whole = intervals(values)

    monkeypatch.setattr(bootstrap, "_CELLS", 50)

    assert intervals(values) == pytest.approx(whole, rel=1e-12)


def test_given_nothing_to_average_then_the_ends_are_0() -> None:
    assert intervals(np.zeros((3, 1)), np.zeros((3, 1))).tolist() == [[0.0], [0.0]]


def test_thousand_passages_take_seconds_at_most() -> None:
    """If there are a thousand passages, intervals take at most seconds of processor time."""
    values = np.random.default_rng(1).normal(size=(1000, 45))

    start = time.process_time()
    intervals(values, resamples=10_000)

    assert time.process_time() - start < 5.0
