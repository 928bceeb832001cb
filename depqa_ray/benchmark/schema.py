"""What `bench engine` writes as JSON. Rates are a second, times seconds, memory bytes; null where it is not known."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from depqa_ray.benchmark.model_shape import Ceilings, ModelShape

BENCH_VERSION: Final = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Spread(_Record):
    """The median over the repeats, and the smallest and largest value."""

    median: float
    low: float
    high: float


class RepeatFigures(_Record):
    """What one engine did in one repeat.

    ``seconds`` are wall-clock, from the first submission to the last completion. ``hit_rate`` is the share of the
    tokens that can be shared that were found, ``over_fewest`` the tokens computed over the fewest possible.
    ``first_token_seconds`` is the median, waiting included. ``decode_step_seconds`` is the mean of steps that read no
    prompt, ``decode_step_floor`` the least time of one with a full batch. ``roofline_share`` is ``floor_seconds`` over
    ``seconds``.
    """

    repeat: int
    questions: int
    failed: int
    seconds: float
    questions_per_second: float
    prompt_tokens: int
    prompt_tokens_per_second: float
    generated_tokens: int
    generated_tokens_per_second: float
    computed_tokens: int | None
    cached_tokens: int | None
    hit_rate: float | None
    over_fewest: float | None
    first_token_seconds: float | None
    decode_steps: int | None
    decode_step_seconds: float | None
    decode_step_floor: float
    floor_seconds: float
    floor_questions_per_second: float
    roofline_share: float
    peak_bytes: int | None
    device_peak_bytes: int | None
    out_of_memory: int


class EngineEntry(_Record):
    """One engine: what ran, on how much of the data, and each repeat.

    ``ran`` is the engine by its own account. ``fewest_tokens`` is the least that has to be computed of
    ``prompt_tokens``. ``figures`` summarises the repeats, by the name of the figure.
    """

    label: str
    ran: str
    device: str
    dtype: str
    parameters: int
    settings: dict[str, Any]
    python: str
    versions: dict[str, str]
    passages: int
    questions: int
    prompt_tokens: int
    fewest_tokens: int
    repeats: tuple[RepeatFigures, ...]
    figures: dict[str, Spread | None]


class Ratio(_Record):
    """How many times as many questions a second ``engine`` answers as ``over``, repeat by repeat."""

    engine: str
    over: str
    spread: Spread


class Machine(_Record):
    """Where it ran. ``variables`` are the environment's that change an engine's speed."""

    processor: str
    cpus: int
    system: str
    variables: dict[str, str]


class BenchResults(_Record):
    """All that `bench engine` has to say."""

    version: Literal[1] = BENCH_VERSION
    command: str
    started: str
    model: str
    settings: dict[str, Any]
    machine: Machine
    shape: ModelShape
    ceilings: Ceilings
    passages: int
    questions: int
    engines: tuple[EngineEntry, ...]
    ratios: tuple[Ratio, ...]
    notes: tuple[str, ...]
