"""The intervals of a run: each strategy's averages, and their differences to the baseline's, by resampling passages.

An interval belongs to the average that the tables show. Exact match and F1 are means over questions, so a passage
brings the sum of its scores and its number of questions; tokens and latency are means over passages, so it brings its
figure and 1. A difference is taken over the passages that both strategies finished, within each passage first: what
makes a passage hard or long for both drops out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from depqa_ray.results.bootstrap import FloatArray, percentile_intervals
from depqa_ray.results.resampling import Resampling
from depqa_ray.results.schema import Difference, Figure, Interval, PassageEntry, PassageStrategy

FIGURES: Final[tuple[Figure, ...]] = get_args(Figure)


class Statistics(NamedTuple):
    """One strategy's part, as :class:`~depqa_ray.results.schema.StrategySummary` has it."""

    intervals: dict[Figure, Interval | None]
    differences: dict[Figure, Difference]
    paired_passages: int


class _Share(NamedTuple):
    """What one passage brings to the averages, in the order of FIGURES: parts of their sums and of their divisors."""

    sums: tuple[float, ...]
    weights: tuple[float, ...]


_Shares: TypeAlias = Mapping[str, _Share]
"""The shares of some passages, by passage id."""


def run_statistics(
    passages: Sequence[PassageEntry], names: Sequence[str], baseline: str | None, resampling: Resampling
) -> dict[str, Statistics]:
    """The intervals and the differences of each strategy. Pure: the order of passages and names does not show."""
    own = [_strategy_shares(passages, name) for name in names]
    base = None if baseline is None else own[names.index(baseline)]
    paired = [
        {} if base is None or name == baseline else _paired_shares(own[at], base) for at, name in enumerate(names)
    ]
    found = _intervals([*own, *paired], resampling)
    return {
        name: Statistics(found[at], _differences(paired[at], found[len(names) + at]), len(paired[at]))
        for at, name in enumerate(names)
    }


def _strategy_shares(passages: Iterable[PassageEntry], name: str) -> _Shares:
    return {passage.id: _share(entry) for passage in passages for entry in passage.strategies if entry.name == name}


def _share(entry: PassageStrategy) -> _Share:
    em, f1 = (math.fsum(getattr(answer, score) for answer in entry.questions) for score in ("em", "f1"))
    questions = float(len(entry.questions))
    return _Share(
        (em, f1, float(entry.prompt_tokens), float(entry.generated_tokens), entry.latency),
        (questions, questions, 1.0, 1.0, 1.0),
    )


def _paired_shares(strategy: _Shares, baseline: _Shares) -> _Shares:
    """The differences within the passages that both finished. Both asked the same questions, so the weights agree."""
    return {
        id_: _Share(tuple(a - b for a, b in zip(share.sums, baseline[id_].sums, strict=True)), share.weights)
        for id_, share in strategy.items()
        if id_ in baseline
    }


def _differences(paired: _Shares, intervals: Mapping[Figure, Interval | None]) -> dict[Figure, Difference]:
    if not paired:
        return {}
    sums, weights = (zip(*column, strict=True) for column in zip(*paired.values(), strict=True))
    return {
        figure: _difference(math.fsum(sum_), math.fsum(weight), intervals[figure])
        for figure, sum_, weight in zip(FIGURES, sums, weights, strict=True)
    }


def _difference(total: float, weight: float, interval: Interval | None) -> Difference:
    return Difference(
        value=total / weight if weight else 0.0,
        interval=interval,
        excludes_zero=interval is not None and not interval.low <= 0.0 <= interval.high,
    )


def _intervals(tables: Sequence[_Shares], resampling: Resampling) -> list[dict[Figure, Interval | None]]:
    """The intervals of each table. Tables over the same passages have the same resamples, which are drawn once."""
    together: dict[tuple[str, ...], list[int]] = {}
    for place, table in enumerate(tables):
        together.setdefault(tuple(sorted(table)), []).append(place)
    found: dict[int, dict[Figure, Interval | None]] = {}
    for ids, places in together.items():
        ends = _ends(ids, [tables[place] for place in places], resampling)
        found.update(zip(places, ends, strict=True))
    return [found[place] for place in range(len(tables))]


def _ends(ids: Sequence[str], tables: Sequence[_Shares], resampling: Resampling) -> list[dict[Figure, Interval | None]]:
    """The intervals of tables over the passages ``ids``; none where no two passages could differ."""
    if len(ids) < 2:
        return [dict.fromkeys(FIGURES) for _ in tables]
    lows, highs = percentile_intervals(
        _columns(ids, tables, "sums"),
        _columns(ids, tables, "weights"),
        confidence=resampling.confidence,
        resamples=resampling.resamples,
        seed=resampling.seed,
    )
    ends = iter([Interval(low=low, high=high) for low, high in zip(lows.tolist(), highs.tolist(), strict=True)])
    return [{figure: next(ends) for figure in FIGURES} for _ in tables]


def _columns(ids: Sequence[str], tables: Sequence[_Shares], part: Literal["sums", "weights"]) -> FloatArray:
    """One part of the shares, [passages, tables x figures]."""
    return np.array([[value for table in tables for value in getattr(table[id_], part)] for id_ in ids])
