"""The names that settings choose from, and the ranges of their numbers. Imports nothing of the package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

StrategyName = Literal[
    "sequential",
    "sequential_shuffled",
    "sequential_ordered",
    "full_batch",
    "independent",
    "dependency_parallel",
    "dependency_layered",
]
EngineName = Literal["transformers", "shared_prefix", "vllm", "openai", "simulated"]
DependencySource = Literal["model", "heuristic", "gold", "none"]
DtypeName = Literal["auto", "bfloat16", "float32"]
DeviceName = Literal["auto", "cpu", "cuda"]
LogLevel = Literal["debug", "info", "warning", "error"]

EMBEDDED = "embedded"
"""The name of the data set, and of the model, that ship with the package."""

LOADING_ENGINES: Final[frozenset[EngineName]] = frozenset({"transformers", "shared_prefix", "vllm"})
"""The engines that load a model, and compute on the replica's own device."""

Count: TypeAlias = Annotated[int, Field(ge=1)]
CountOrZero: TypeAlias = Annotated[int, Field(ge=0)]
NonNegative: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
PositiveShare: TypeAlias = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
# Below 100 an interval's ends are single resamples; above 100,000 no printed digit changes any more.
Resamples: TypeAlias = Annotated[int, Field(ge=100, le=100_000)]
Confidence: TypeAlias = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


def user_name(value: str) -> str:
    """The value with the home folder in place of a leading ``~``, which a shell leaves as it is in ``--flag=~/x``."""
    return os.path.expanduser(value)  # noqa: PTH111  # Path.expanduser raises where there is no home


def user_path(value: str | Path) -> Path:
    """The path that a user wrote, as :func:`user_name` reads it."""
    return Path(user_name(str(value)))


UserPath: TypeAlias = Annotated[Path, AfterValidator(user_path)]
NameOrPath: TypeAlias = Annotated[str, AfterValidator(user_name)]
"""The name of a model, or the path of one."""
