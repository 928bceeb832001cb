"""What `depqa-ray bench engine` is told: its flags and their defaults, written here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from depqa_ray.errors import SettingsError
from depqa_ray.settings.load import one_line_error
from depqa_ray.settings.types import Count, DtypeName

ENGINES: Final = ("shared_prefix", "transformers", "one_by_one", "transformers_continuous", "vllm")
"""``one_by_one`` is ``transformers`` with a batch of one. The simulated engine is none of them: it measures nothing."""

GibSize = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """One engine with settings of its own; None where the benchmark's apply. ``text`` is how it was asked for.

    ``batch`` prompts at most together; ``kv_gib`` of keys and values on a CPU, ``gpu`` the share of a GPU's memory;
    ``passages`` limits it to the first so many; ``page`` and ``step`` are tokens a page and a step of continuous
    batching.
    """

    text: str
    name: str
    batch: int | None = None
    kv_gib: float | None = None
    gpu: float | None = None
    passages: int | None = None
    page: int = field(default=16)
    step: int = field(default=256)


OPTIONS: Final = tuple(item.name for item in fields(EngineChoice) if item.name not in ("text", "name"))
_FLOATS: Final = ("kv_gib", "gpu")


def parse_engine(text: str) -> EngineChoice:
    """The engine that ``NAME:option=value:...`` names. Raises ValueError, which says what is wrong."""
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
            raise ValueError(f"{text}: {option} has to be above 0")
    if name == "one_by_one" and options.setdefault("batch", 1) != 1:
        raise ValueError(f"{text}: one by one is a batch of 1; take transformers:batch={options['batch']}")
    return EngineChoice(text, name, **options)


class BenchSettings(BaseModel):
    """All settings of `bench engine`. Flags are made from the fields, with their names, defaults and descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    dataset: str = Field("squad", description="as for `run`: squad (the hub's), embedded, or a file")
    split: str = Field("train", description="split of the hub's data set")
    context_count: Annotated[int, Field(ge=0)] = Field(8, description="passages to sample; 0 = all")
    min_questions: Count = Field(5, description="leave out passages with fewer questions")
    max_questions: Count | None = Field(None, description="ask at most this many questions of a passage; default: all")
    seed: int = Field(13, description="of the sampling, of random weights and of what --verify draws")

    model_name: str = Field("Qwen/Qwen3-4B", description="a causal LM: a folder, a hub id, or embedded")
    random_weights: Path | None = Field(
        None, description="a folder with config.json and tokenizer: measure this shape with random weights instead"
    )
    dtype: DtypeName = Field("auto", description="of the weights; auto = bfloat16 with hardware for it, else float32")
    engines: tuple[EngineChoice, ...] = Field(
        "shared_prefix,transformers",
        validate_default=True,
        description="NAME[:option=value...],...; NAME one of " + ", ".join(ENGINES) + "; option one of "
        "batch, kv_gib, gpu (as --max-batch-size, --kv-gib and --gpu-memory-utilization, for this engine), passages "
        "(the first N only), page and step (tokens, of transformers_continuous)",
    )
    max_batch_size: Count = Field(256, description="most prompts that an engine generates together")
    kv_gib: GibSize = Field(1.0, description="memory for keys and values on a CPU, in GiB, for each engine")
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = Field(
        0.25, description="share of a GPU's memory for each engine; all engines stay loaded"
    )
    one_by_one_limit: Count | None = Field(
        None, description="let one_by_one answer the questions of the first N passages only; default: all"
    )
    vllm_python: Path | None = Field(None, description="the interpreter that has vLLM; default: this one")

    max_new_tokens: Count = Field(24, description="room for each answer, in tokens")
    lengths: Literal["fixed", "real"] = Field(
        "fixed", description="fixed: each answer fills its room; real: it ends where the model ends it"
    )
    repeats: Count = Field(5, description="times that each engine answers everything")
    warm_up: Count = Field(2, description="passages that each engine answers once before, uncounted")
    verify: Count | None = Field(
        None, description="measure nothing: compare N prompts' greedy tokens with one-by-one generate"
    )

    json_out: Path | None = Field(None, description="write all figures as JSON here")
    markdown_out: Path | None = Field(None, description="write the tables as Markdown here")

    @field_validator("engines", mode="before")
    @classmethod
    def _parse_engines(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(parse_engine(part.strip()) for part in value.split(",") if part.strip())

    @model_validator(mode="after")
    def _make_sense(self) -> BenchSettings:
        if not self.engines:
            raise ValueError("--engines: name at least one engine")
        if len({choice.text for choice in self.engines}) < len(self.engines):
            raise ValueError("--engines: an engine is named twice with the same options")
        if self.max_questions is not None and self.max_questions < self.min_questions:
            raise ValueError(f"--max-questions ({self.max_questions}) is below --min-questions ({self.min_questions})")
        if self.verify is not None and self.dtype != "float32":
            raise ValueError("--verify compares exact tokens, which rounding changes: give --dtype float32")
        return self


def load_bench_settings(flags: Mapping[str, Any]) -> BenchSettings:
    """Settings from flags, by setting name. Raises SettingsError: one line that names each bad value."""
    try:
        return BenchSettings(**flags)
    except ValidationError as error:
        raise SettingsError(one_line_error(error, flags)) from None
