"""Settings of the strategies, and the preset that may set all others."""

from __future__ import annotations

from typing import Annotated

from pydantic import field_validator
from pydantic_settings import NoDecode

from depqa_ray.settings.presets import PresetName
from depqa_ray.settings.section import Section, neutral, setting
from depqa_ray.settings.types import StrategyName


class StrategySettings(Section):
    """Which strategies answer."""

    strategy: StrategyName = setting("dependency_parallel", "the strategy of `run`")
    strategies: Annotated[tuple[StrategyName, ...], NoDecode] = setting(
        ("sequential", "full_batch", "independent", "dependency_parallel"),
        "the strategies of `compare`, separated by commas",
    )
    preset: PresetName | None = neutral(
        None,
        "use the settings of a published table, and show that table beside the results; flags, variables and the "
        "configuration file override a preset",
    )

    @field_validator("strategies", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("strategies")
    @classmethod
    def _some_and_each_once(cls, value: tuple[StrategyName, ...]) -> tuple[StrategyName, ...]:
        if not value:
            raise ValueError("name at least one strategy")
        if len(set(value)) < len(value):
            raise ValueError("a strategy is named twice")
        return value
