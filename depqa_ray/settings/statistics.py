"""Settings of the intervals. `report` can change them for a finished run."""

from __future__ import annotations

from depqa_ray.settings.section import Section, neutral
from depqa_ray.settings.types import Confidence, Resamples, StrategyName


class StatisticsSettings(Section):
    """How strategies are compared."""

    baseline: StrategyName | None = neutral(
        None, "compare each other strategy with this one; default: independent if it takes part, else the first"
    )
    resamples: Resamples = neutral(10_000, "resamples of the passages behind each interval")
    confidence: Confidence = neutral(0.95, "confidence level of the intervals")
