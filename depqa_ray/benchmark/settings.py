"""The settings of `depqa-ray bench engine`: its engines with their options, and what it shares with `run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from depqa_ray.errors import SettingsError
from depqa_ray.settings.load import Settings, one_line_error
from depqa_ray.settings.sections import Section, check_question_range
from depqa_ray.settings.types import Count, CountOrZero, DtypeName, NameOrPath, Positive, PositiveShare, UserPath

ENGINES: Final = ("shared_prefix", "transformers", "one_by_one", "transformers_continuous", "vllm")
"""``one_by_one`` is ``transformers`` with a batch of one. The simulated engine is left out: it measures nothing."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """One engine and its own options; None = the benchmark's setting. ``text`` is the choice as the user wrote it.

    - ``batch``: most prompts together; ``passages``: answer the first N only.
    - ``kv_gib``: GiB of keys and values on a CPU; ``gpu``: share of a GPU's memory.
    - ``page``, ``step``: tokens per page and per step of continuous batching.
    """

    text: str
    name: str
    batch: int | None = None
    kv_gib: float | None = None
    gpu: float | None = None
    passages: int | None = None
    page: int = 16
    step: int = 256

    @property
    def engine(self) -> str:
        """The engine that has to run."""
        return "transformers" if self.name == "one_by_one" else self.name


OPTIONS: Final = tuple(item.name for item in fields(EngineChoice) if item.name not in ("text", "name"))
_FLOATS: Final = ("kv_gib", "gpu")


def parse_engine(text: str) -> EngineChoice:
    """Parse ``NAME:option=value:...``. Raises ValueError if an engine or option is unknown or a value is bad."""
    name, *given = text.split(":")
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r} to measure: take {', '.join(ENGINES)}")
    options: dict[str, Any] = {}
    for item in given:
        option, _, value = item.partition("=")
        if option not in OPTIONS:
            raise ValueError(f"{text}: there is no option {option!r}: take {', '.join(OPTIONS)}")
        try:
            options[option] = float(value) if option in _FLOATS else int(value)
        except ValueError:
            raise ValueError(f"{text}: {option} is no number") from None
        if not 0 < options[option] < float("inf"):
            raise ValueError(f"{text}: {option} must be above 0")
    if name == "one_by_one" and options.setdefault("batch", 1) != 1:
        raise ValueError(f"{text}: one_by_one is a batch of 1; take transformers:batch={options['batch']}")
    return EngineChoice(text, name, **options)


def _shared(name: str, **changes: Any) -> Any:
    """The field of the run setting ``name``, with the default or description that a benchmark changes."""
    field = Settings.model_fields[name]
    return Field(**{"default": field.default, "description": field.description, **changes})


class BenchSettings(Section):
    """All settings of `bench engine`. Flags are made from the fields, with their names, defaults and descriptions."""

    dataset: str = _shared("dataset")
    split: str = _shared("split")
    context_count: CountOrZero = _shared("context_count", default=8)
    min_questions: Count = _shared("min_questions", default=5)
    max_questions: Count | None = _shared(
        "max_questions", default=None, description="ask at most this many questions of a passage; default: all"
    )
    seed: int = _shared("seed", description="seed of the sampling, of --random-weights and of --verify")

    model_name: NameOrPath = _shared("model_name")
    random_weights: UserPath | None = Field(
        None, description="a folder with config.json and tokenizer: measure this shape with random weights instead"
    )
    dtype: DtypeName = _shared("dtype")
    engines: tuple[EngineChoice, ...] = Field(
        "shared_prefix,transformers",
        validate_default=True,
        description="engines to compare, as NAME[:option=value...],...; NAME one of " + ", ".join(ENGINES) + "; option "
        "one of batch, kv_gib, gpu (as --max-batch-size, --kv-gib and --gpu-memory-utilization, for this engine), "
        "passages (the first N only), page and step (tokens, of transformers_continuous)",
    )
    max_batch_size: Count = _shared(
        "max_batch_size", default=256, description="most prompts that an engine generates together"
    )
    kv_gib: Positive = _shared("kv_gib", description="GiB of memory for keys and values on a CPU, for each engine")
    gpu_memory_utilization: PositiveShare = _shared(
        "gpu_memory_utilization", default=0.25, description="share of a GPU's memory per engine; all stay loaded"
    )
    one_by_one_limit: Count | None = Field(
        None, description="let one_by_one answer the questions of the first N passages only; default: all"
    )
    vllm_python: UserPath | None = Field(None, description="Python interpreter that has vLLM; default: this one")

    max_new_tokens: Count = _shared("max_new_tokens", default=24, description="most tokens of an answer")
    lengths: Literal["fixed", "real"] = Field(
        "fixed", description="fixed: every answer fills its token limit; real: the model ends each answer"
    )
    repeats: Count = Field(5, description="how often each engine answers all prompts")
    warm_up: Count = Field(2, description="passages that each engine first answers once, unmeasured")
    verify: Count | None = Field(
        None, description="measure nothing: compare N prompts' answers with plain generate; needs --dtype float32"
    )

    json_out: UserPath | None = Field(None, description="write all figures as JSON here")
    markdown_out: UserPath | None = Field(None, description="write the tables as Markdown here")

    @field_validator("engines", mode="before")
    @classmethod
    def _parse_engines(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(parse_engine(part.strip()) for part in value.split(",") if part.strip())

    @model_validator(mode="after")
    def _settings_fit_together(self) -> BenchSettings:
        if not self.engines:
            raise ValueError("--engines: name at least one engine")
        if len({choice.text for choice in self.engines}) < len(self.engines):
            raise ValueError("--engines: an engine is named twice with the same options")
        if self.max_questions is not None:
            check_question_range(self.min_questions, self.max_questions)
        if self.verify is not None and self.dtype != "float32":
            raise ValueError("--verify compares exact tokens, which rounding changes: give --dtype float32")
        return self


def load_bench_settings(flags: Mapping[str, Any]) -> BenchSettings:
    """Settings from flags, by setting name. Raises SettingsError, one line, if a value is bad."""
    try:
        return BenchSettings(**flags)
    except ValidationError as error:
        raise SettingsError(one_line_error(error, flags)) from None
