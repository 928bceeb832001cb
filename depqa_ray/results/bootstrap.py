"""Bootstrap intervals of averages over passages. The numbers come from numpy's generator; no model of them is assumed.

The passage is what is drawn again, since the questions of one passage share its text, and its tokens and time are one
measurement: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 8 (the unit drawn must be the
independent one) and 13.3 (the percentile interval). Percentiles rather than BCa: where most passages agree, as exact
matches of two strategies mostly do, BCa's bias correction is infinite and its acceleration 0/0; percentiles always
exist. They are too narrow over few passages, which the report says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]

_CELLS: Final = 1_000_000
"""Draws made at once: it bounds the memory (some 24 MB), whatever the number of passages."""


def percentile_intervals(
    sums: FloatArray, weights: FloatArray, *, confidence: float, resamples: int, seed: int
) -> FloatArray:
    """The intervals of several averages over the same passages: a row of low ends and a row of high ends.

    Column k is the average sum(sums[:, k]) / sum(weights[:, k]): ``sums`` and ``weights`` [passages, averages] hold a
    passage's share of both. Every average sees the same resamples, so that a column of differences is a paired
    comparison. At least one passage is needed.
    """
    tail = (1.0 - confidence) / 2.0
    averages = _resampled_averages(sums, weights, resamples, seed)
    ends: FloatArray = np.quantile(averages, (tail, 1.0 - tail), axis=0)
    return ends


def _resampled_averages(sums: FloatArray, weights: FloatArray, resamples: int, seed: int) -> FloatArray:
    averages = np.zeros((resamples, sums.shape[1]))  # an average over nothing is 0, as everywhere in the figures
    start = 0
    for counts in _draw_counts(len(sums), resamples, seed):
        # einsum, not a product by BLAS: its sums do not depend on the number of threads, nor do the figures then.
        totals, divisors = (np.einsum("rp,pk->rk", counts, values) for values in (sums, weights))
        np.divide(totals, divisors, out=averages[start : start + len(counts)], where=divisors > 0)
        start += len(counts)
    return averages


def _draw_counts(passages: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """How often each passage stands in each resample, in blocks [resamples of the block, passages]."""
    generator = np.random.default_rng(seed % 2**64)  # the generator takes no negative seed, the settings do
    at_once = max(1, _CELLS // passages)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = generator.integers(passages, size=(rows, passages))
        drawn += np.arange(rows)[:, None] * passages
        yield np.bincount(drawn.ravel(), minlength=rows * passages).reshape(rows, passages).astype(np.float64)
