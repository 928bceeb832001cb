"""Bootstrap intervals of averages over passages.

Passages are resampled, not questions: the questions of a passage share its text, and its tokens and time are one
measurement. See Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 8 (resample the independent
unit) and 13.3 (the percentile interval). Percentiles rather than BCa: if most passages agree, as exact matches of two
strategies mostly do, BCa's bias correction is infinite and its acceleration 0/0. Percentile intervals always exist.
They are too narrow over few passages, which the report says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]

_CELLS: Final = 1_000_000
"""Draws made at once; bounds the memory to about 24 MB for any number of passages."""


def percentile_intervals(
    sums: FloatArray, weights: FloatArray, *, confidence: float, resamples: int, seed: int
) -> FloatArray:
    """The intervals of several averages over the same passages, [2, averages]: low ends, then high ends.

    ``sums`` and ``weights``, [passages, averages], hold each passage's part of an average's numerator and divisor:
    average k is sum(sums[:, k]) / sum(weights[:, k]). All averages share their resamples, so a column of differences
    is a paired comparison. At least one passage is needed.
    """
    tail = (1.0 - confidence) / 2.0
    averages = _resampled_averages(sums, weights, resamples, seed)
    ends: FloatArray = np.quantile(averages, (tail, 1.0 - tail), axis=0)
    return ends


def _resampled_averages(sums: FloatArray, weights: FloatArray, resamples: int, seed: int) -> FloatArray:
    averages = np.zeros((resamples, sums.shape[1]))  # an average over nothing is 0, as in all figures
    start = 0
    for counts in _draw_counts(len(sums), resamples, seed):
        # einsum, not BLAS: its sums, and so the figures, do not depend on the number of threads.
        totals, divisors = (np.einsum("rp,pk->rk", counts, values) for values in (sums, weights))
        np.divide(totals, divisors, out=averages[start : start + len(counts)], where=divisors > 0)
        start += len(counts)
    return averages


def _draw_counts(passages: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """How often each resample contains each passage, in blocks [resamples of the block, passages]."""
    generator = np.random.default_rng(seed % 2**64)  # settings allow a negative seed, the generator does not
    at_once = max(1, _CELLS // passages)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = generator.integers(passages, size=(rows, passages))
        drawn += np.arange(rows)[:, None] * passages
        yield np.bincount(drawn.ravel(), minlength=rows * passages).reshape(rows, passages).astype(np.float64)
