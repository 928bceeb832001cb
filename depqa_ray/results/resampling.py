"""How a run's intervals are made: read from its manifest, unless the user asks for something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from depqa_ray.errors import SettingsError
from depqa_ray.settings.load import Settings, one_line_error
from depqa_ray.settings.types import Confidence, Resamples

_USUAL_BASELINE: Final = "independent"


class Resampling(BaseModel):
    """The settings of the intervals. ``baseline`` None leaves the choice to :func:`choose_baseline`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    baseline: str | None = Settings.model_fields["baseline"].default
    resamples: Resamples = Settings.model_fields["resamples"].default
    confidence: Confidence = Settings.model_fields["confidence"].default
    seed: int = Settings.model_fields["seed"].default


def resampling_of(settings: Mapping[str, Any], flags: Mapping[str, Any] | None = None) -> Resampling:
    """The settings of a manifest, ``flags`` before them, defaults where neither has any. Raises SettingsError."""
    flags = flags or {}
    try:
        return Resampling.model_validate({**settings, **flags})
    except ValidationError as error:
        raise SettingsError(one_line_error(error, flags)) from None


def choose_baseline(asked: str | None, strategies: Sequence[str]) -> str | None:
    """The baseline among the strategies of a run; None where there are no two to be compared.

    One that was asked for and did nothing yet, in a run that was cut short, is replaced as if none had been asked for.
    """
    if len(strategies) < 2:
        return None
    return next((name for name in (asked, _USUAL_BASELINE) if name in strategies), strategies[0])


def check_baseline(asked: str | None, strategies: Sequence[str]) -> None:
    """Raise SettingsError where the baseline is none of several strategies; a single one is compared with nothing."""
    if asked is not None and len(strategies) > 1 and asked not in strategies:
        raise SettingsError(
            f"{asked} takes no part in the comparison", "--baseline", f"name one of {', '.join(strategies)}"
        )
