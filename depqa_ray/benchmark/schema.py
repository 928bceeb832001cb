"""The JSON of `bench engine`. Rates are a second, times seconds, memory bytes; null = unknown."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from depqa_ray.benchmark.roofline import Ceilings, ModelShape


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Spread(_Record):
    """Median, minimum and maximum over the repeats."""

    median: float
    low: float
    high: float


class RepeatFigures(_Record):
    """The figures of one engine in one repeat.

    - ``seconds``: wall-clock, from the first submission to the last completion.
    - ``hit_rate``: cached tokens over the most tokens that a cache can serve.
    - ``over_fewest``: recompute ratio: tokens computed over the fewest possible.
    - ``first_token_seconds``: median time to first token, queueing included.
    - ``decode_step_seconds``: mean of the steps that read no prompt.
    - ``decode_step_floor``: the least time of a decode step with a full batch.
    - ``roofline_share``: ``floor_seconds`` over ``seconds``.
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

    - ``ran``: the engine's own name; a fallback names itself.
    - ``fewest_tokens``: how many of the ``prompt_tokens`` have to be computed at least.
    - ``figures``: the spread over the repeats by name of the figure.
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
    """Questions a second of ``engine`` over those of ``over``, repeat by repeat."""

    engine: str
    over: str
    spread: Spread


class Machine(_Record):
    """The machine. ``variables`` are environment variables that change an engine's speed."""

    processor: str
    cpus: int
    system: str
    variables: dict[str, str]


class BenchResults(_Record):
    """The whole result of `bench engine`."""

    version: Literal[1] = 1
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
