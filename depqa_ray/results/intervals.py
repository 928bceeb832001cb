"""The intervals of a run: each strategy's averages and their differences to the baseline's, by resampling passages.

An interval belongs to the average that the tables show. Exact match and F1 are means over questions, so a passage
contributes the sum of its scores and its number of questions. Tokens and latency are means over passages, so it
contributes its figure and 1. A difference covers the passages that both strategies finished and is taken within each
passage first: what makes a passage hard or long for both cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from depqa_ray.errors import SettingsError
from depqa_ray.results.bootstrap import percentile_intervals
from depqa_ray.results.schema import Difference, Figure, Interval, PassageEntry, PassageStrategy
from depqa_ray.settings.load import Settings, one_line_error
from depqa_ray.settings.types import Confidence, Resamples

FIGURES: Final[tuple[Figure, ...]] = get_args(Figure)

_USUAL_BASELINE: Final = "independent"


class Resampling(BaseModel):
    """The settings of the intervals. If ``baseline`` is None, :func:`choose_baseline` chooses one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    baseline: str | None = Settings.model_fields["baseline"].default
    resamples: Resamples = Settings.model_fields["resamples"].default
    confidence: Confidence = Settings.model_fields["confidence"].default
    seed: int = Settings.model_fields["seed"].default


def resampling_of(settings: Mapping[str, Any], flags: Mapping[str, Any] | None = None) -> Resampling:
    """The settings in ``flags``, else those of a manifest, else the defaults. Raises SettingsError."""
    flags = flags or {}
    try:
        return Resampling.model_validate({**settings, **flags})
    except ValidationError as error:
        raise SettingsError(one_line_error(error, flags)) from None


def choose_baseline(asked: str | None, strategies: Sequence[str]) -> str | None:
    """The baseline among the strategies of a run; None if there are fewer than two.

    In a run that was cut short the strategy asked for may be missing; then the choice is as if none was asked for.
    """
    if len(strategies) < 2:
        return None
    return next((name for name in (asked, _USUAL_BASELINE) if name in strategies), strategies[0])


def check_baseline(asked: str | None, strategies: Sequence[str]) -> None:
    """Raise SettingsError if the baseline is none of several strategies; one strategy is compared with nothing."""
    if asked is not None and len(strategies) > 1 and asked not in strategies:
        raise SettingsError(
            f"{asked} takes no part in the comparison", "--baseline", f"name one of {', '.join(strategies)}"
        )


class Statistics(NamedTuple):
    """One strategy's part, as :class:`~depqa_ray.results.schema.StrategySummary` has it."""

    intervals: dict[Figure, Interval | None]
    differences: dict[Figure, Difference]
    paired_passages: int


_Contribution: TypeAlias = Mapping[Figure, tuple[float, float]]
"""One passage's part of each average's sum, and of its divisor; in the order of FIGURES."""

_Contributions: TypeAlias = Mapping[str, _Contribution]
"""By passage id."""


def run_statistics(
    passages: Sequence[PassageEntry], names: Sequence[str], baseline: str | None, resampling: Resampling
) -> dict[str, Statistics]:
    """The intervals and differences of each strategy. Pure; independent of the order of passages and names."""
    own = {name: _contributions(passages, name) for name in names}
    base = {} if baseline is None else own[baseline]
    paired = {name: {} if name == baseline else _paired(own[name], base) for name in names}
    found = _intervals([*own.values(), *paired.values()], resampling)
    return {
        name: Statistics(averages, _differences(paired[name], differences), len(paired[name]))
        for name, averages, differences in zip(names, found[: len(names)], found[len(names) :], strict=True)
    }


def _contributions(passages: Iterable[PassageEntry], name: str) -> _Contributions:
    return {
        passage.id: _contribution(entry) for passage in passages for entry in passage.strategies if entry.name == name
    }


def _contribution(entry: PassageStrategy) -> _Contribution:
    questions = len(entry.questions)
    return {
        "em": (math.fsum(answer.em for answer in entry.questions), questions),
        "f1": (math.fsum(answer.f1 for answer in entry.questions), questions),
        "prompt_tokens": (entry.prompt_tokens, 1.0),
        "generated_tokens": (entry.generated_tokens, 1.0),
        "latency": (entry.latency, 1.0),
    }


def _paired(strategy: _Contributions, baseline: _Contributions) -> _Contributions:
    """The differences within the passages that both finished. Both asked the same questions, so the weights agree."""
    return {
        id_: {figure: (sum_ - baseline[id_][figure][0], weight) for figure, (sum_, weight) in own.items()}
        for id_, own in strategy.items()
        if id_ in baseline
    }


def _differences(paired: _Contributions, intervals: Mapping[Figure, Interval | None]) -> dict[Figure, Difference]:
    if not paired:
        return {}
    return {figure: _difference([own[figure] for own in paired.values()], intervals[figure]) for figure in FIGURES}


def _difference(parts: Iterable[tuple[float, float]], interval: Interval | None) -> Difference:
    total, weight = map(math.fsum, zip(*parts, strict=True))
    return Difference(
        value=total / weight if weight else 0.0,
        interval=interval,
        excludes_zero=interval is not None and not interval.low <= 0.0 <= interval.high,
    )


def _intervals(tables: Sequence[_Contributions], resampling: Resampling) -> list[dict[Figure, Interval | None]]:
    """The intervals of each table. Tables over the same passages share their resamples, which are drawn once."""
    together: dict[tuple[str, ...], list[int]] = {}
    for place, table in enumerate(tables):
        together.setdefault(tuple(sorted(table)), []).append(place)
    found: dict[int, dict[Figure, Interval | None]] = {}
    for ids, places in together.items():
        found.update(zip(places, _ends(ids, [tables[place] for place in places], resampling), strict=True))
    return [found[place] for place in range(len(tables))]


def _ends(
    ids: Sequence[str], tables: Sequence[_Contributions], resampling: Resampling
) -> list[dict[Figure, Interval | None]]:
    """The intervals of tables over the passages ``ids``; None if there are fewer than two passages."""
    if len(ids) < 2:
        return [dict.fromkeys(FIGURES) for _ in tables]
    parts = np.array([[part for table in tables for part in table[id_].values()] for id_ in ids], dtype=np.float64)
    lows, highs = percentile_intervals(
        parts[:, :, 0].copy(),
        parts[:, :, 1].copy(),
        confidence=resampling.confidence,
        resamples=resampling.resamples,
        seed=resampling.seed,
    )
    ends = iter([Interval(low=low, high=high) for low, high in zip(lows.tolist(), highs.tolist(), strict=True)])
    return [{figure: next(ends) for figure in FIGURES} for _ in tables]
