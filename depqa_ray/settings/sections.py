"""Every setting of a run, with its default and its help: one model per section, validators included.

``Settings`` in load.py combines the sections. The benchmark's settings share single fields.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator
from pydantic_settings import NoDecode

from depqa_ray.files import read_text_of
from depqa_ray.settings.presets import PresetName
from depqa_ray.settings.types import (
    Confidence,
    Count,
    CountOrZero,
    DependencySource,
    DtypeName,
    EngineName,
    LogLevel,
    NameOrPath,
    NonNegative,
    Positive,
    PositiveShare,
    Resamples,
    Share,
    StrategyName,
    UserPath,
)

# Stop texts in one string: spaces count, and a comma after a backslash does not separate.
_STOP = re.compile(r"(?:[^\\,]|\\.)+", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t"}


class Section(BaseModel):
    """A group of settings. Each field is a flag, a variable and a key of the configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def _setting(default: Any, description: str) -> Any:
    """A field on which answers may depend, with its help."""
    return Field(default=default, description=description, json_schema_extra={"shapes_results": True})


def _neutral(default: Any, description: str) -> Any:
    """A field on which no answer depends, with its help."""
    return Field(default=default, description=description, json_schema_extra={"shapes_results": False})


class DataSettings(Section):
    """Which passages are sampled."""

    dataset: str = _setting(
        "squad",
        "squad or squad@REVISION (rajpurkar/squad on the hub), embedded (ships with the package), a file (SQuAD's "
        "JSON, JSON lines or Parquet; JSON may be gzipped), or musique:FILE (MuSiQue-Ans)",
    )
    split: str = _setting("train", "split of the hub's data set")
    context_count: CountOrZero = _setting(1, "sample this many passages; 0 = all")
    min_questions: Count = _setting(3, "skip passages with fewer questions")
    max_questions: Count = _setting(5, "ask at most this many questions of a passage")
    seed: int = _setting(
        13,
        "seed of every random draw: passages and their questions, worked examples, the order of sequential_shuffled, "
        "tokens with --temperature, and bootstrap resamples",
    )
    on_bad_input: Literal["fail", "skip"] = _setting(
        "fail", "on a bad row: fail ends the run; skip goes on, and stores and counts the row in the run directory"
    )

    @model_validator(mode="after")
    def _question_range(self) -> DataSettings:
        check_question_range(self.min_questions, self.max_questions)
        return self


def check_question_range(least: int, most: int) -> None:
    """Raise ValueError if no passage can have that many questions."""
    if most < least:
        raise ValueError(f"--max-questions ({most}) is below --min-questions ({least})")


class ModelSettings(Section):
    """The engine, the model and the prompts. The file with the system prompt is read once, at validation."""

    _system_prompt: str | None = PrivateAttr(default=None)

    model_name: NameOrPath = _setting(
        "Qwen/Qwen3-4B",
        "a causal LM: NAME or NAME@REVISION on the hub, a folder, or embedded (the small reader that ships with the "
        "package)",
    )
    engine: EngineName = _setting(
        "shared_prefix",
        "the engine that generates: transformers pads batches; shared_prefix reads each passage once; vllm must be "
        "installed; openai calls a server; simulated answers by rule, to try out schedules",
    )
    openai_base_url: str | None = _setting(
        None, "server address for --engine openai; default: OPENAI_BASE_URL, else OpenAI's own"
    )
    request_timeout: Positive = _neutral(180.0, "seconds that a server may take for a prompt, retries included")
    dtype: DtypeName = _setting(
        "auto", "data type of the weights; auto = bfloat16 if the hardware supports it, else float32"
    )
    max_new_tokens: Count = _setting(96, "most tokens of an answer; a prompt of n questions may use n times as many")
    temperature: NonNegative = _setting(0.0, "0 = take the likeliest token; above 0, sample tokens at this temperature")
    top_p: PositiveShare = _setting(1.0, "sample from the likeliest tokens whose probabilities reach this sum")
    stop: Annotated[tuple[str, ...], NoDecode] = _setting(
        (), "end an answer before any of these texts, separated by commas; \\n = a line break, \\, = a comma"
    )
    stop_at_json: bool = _setting(True, "end an answer when its first JSON object closes")
    system_prompt_file: UserPath | None = _setting(None, "text file that replaces the system line of every prompt")
    shots: CountOrZero = _setting(
        0, "worked examples in every prompt, drawn by --seed from other passages of the data set"
    )
    max_batch_size: Count = _neutral(32, "most prompts that a replica generates together")
    kv_gib: Positive = _neutral(1.0, "GiB of memory for keys and values on a CPU")
    gpu_memory_utilization: PositiveShare = _neutral(
        0.9, "share of a GPU's memory for the model and its keys and values"
    )

    @field_validator("stop", mode="before")
    @classmethod
    def _split_stop(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts: list[str] = _STOP.findall(value)
        return tuple(_ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), part) for part in parts)

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("an empty text would end every answer at once")
        return value

    @model_validator(mode="after")
    def _read_system_prompt(self) -> ModelSettings:
        """Read the file once, so that the prompts and the manifest hold the same text."""
        if self.system_prompt_file is not None:
            self._system_prompt = read_text_of(self.system_prompt_file, "--system-prompt-file")
        return self

    @property
    def system_prompt(self) -> str | None:
        """The text that ``system_prompt_file`` held when the settings were loaded; None if no file is set."""
        return self._system_prompt


class EdgeSettings(Section):
    """Where the dependencies between a passage's questions come from."""

    deps: DependencySource = _setting(
        "model",
        "where edges (which question needs which answer) come from: model asks the model; heuristic reads the "
        "questions' wording; gold takes the data set's; none has no edges",
    )
    no_llm_deps: bool = _setting(False, "do not ask the model for edges: --deps heuristic")
    deps_engine: EngineName | None = _setting(None, "ask this engine for edges instead of --engine; needs --deps-model")
    deps_model: NameOrPath | None = _setting(None, "the model that --deps-engine asks")
    deps_base_url: str | None = _setting(
        None, "server address for --deps-engine openai; default: as for --engine openai"
    )
    dep_cache: UserPath | None = _neutral(
        None,
        "folder that keeps the replies about edges for later runs; default: depqa-ray/edges in $XDG_CACHE_HOME or "
        "~/.cache",
    )
    no_dep_cache: bool = _neutral(False, "ignore kept replies about edges, and keep no new ones")
    cost_weight: NonNegative = _setting(0.01, "confidence that an edge needs for each token that it costs")
    min_confidence: Share = _setting(0.45, "drop edges below this confidence")
    max_dependencies: CountOrZero = _setting(3, "most parents of a question")
    total_cost_budget: CountOrZero | None = _setting(
        None, "most tokens that all edges of a passage may cost; default: no limit"
    )

    @model_validator(mode="after")
    def _edges_have_one_source(self) -> EdgeSettings:
        if self.no_llm_deps and self.deps not in ("model", "heuristic"):
            raise ValueError(f"--no-llm-deps means --deps heuristic and cannot go with --deps {self.deps}")
        if (self.deps_engine is None) != (self.deps_model is None):
            raise ValueError("--deps-engine and --deps-model go together: give both or neither")
        if self.deps_engine is not None and self.dependency_source != "model":
            raise ValueError(f"--deps-engine asks a model for edges, and --deps {self.dependency_source} asks none")
        return self

    @property
    def dependency_source(self) -> DependencySource:
        """Where edges come from, ``--no-llm-deps`` taken into account."""
        return "heuristic" if self.no_llm_deps else self.deps


class StrategySettings(Section):
    """Which strategies answer."""

    strategy: StrategyName = _setting("dependency_parallel", "the strategy of `run`")
    strategies: Annotated[tuple[StrategyName, ...], NoDecode] = _setting(
        ("sequential", "full_batch", "independent", "dependency_parallel"),
        "the strategies of `compare`, separated by commas",
    )
    preset: PresetName | None = _neutral(
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


class StatisticsSettings(Section):
    """How strategies are compared."""

    baseline: StrategyName | None = _neutral(
        None, "compare each other strategy with this one; default: independent if it takes part, else the first"
    )
    resamples: Resamples = _neutral(10_000, "how often the passages are resampled for the intervals")
    confidence: Confidence = _neutral(0.95, "confidence level of the intervals")


class ClusterSettings(Section):
    """How many replicas run, and how much they do at once."""

    replicas: Count | Literal["auto"] = _neutral(
        "auto", "model replicas; auto = one per GPU of the cluster; one if there are no GPUs or with --isolate"
    )
    gpus_per_replica: NonNegative | Literal["auto"] = _neutral(
        "auto", "GPUs that each replica holds; auto = 1 if the cluster has GPUs, else 0"
    )
    isolate: bool = _neutral(
        True,
        "answer one passage at a time, on idle replicas with a cold cache, so that latencies can be compared; if off, "
        "passages run concurrently, and latencies are those under full load",
    )
    in_flight: Count | Literal["auto"] = _neutral(
        "auto",
        "passages in progress at once, counted once for each strategy; auto = 1 with --isolate, else enough to fill "
        "the replicas; more than 1 ends isolation",
    )
    start_timeout: Positive = _neutral(900.0, "seconds a replica may take to load its model before it is replaced")
    step_timeout: Positive = _neutral(600.0, "seconds a replica may go without an answer before it is replaced")

    @property
    def isolated(self) -> bool:
        """Whether passages run one at a time, on idle replicas."""
        return self.isolate and self.in_flight in ("auto", 1)

    @property
    def max_in_flight(self) -> int | None:
        """How many passages may be in progress at once; None = as many as fill the replicas."""
        if self.in_flight == "auto":
            return 1 if self.isolate else None
        return self.in_flight


class OutputSettings(Section):
    """The places of a run's output files."""

    run_dir: UserPath | None = _neutral(None, "folder for the run's records; default: a new one in runs/")
    html_dir: UserPath | None = _neutral(None, "write one HTML page per passage here")
    json_out: UserPath | None = _neutral(None, "write the results as JSON here")
    parquet_out: UserPath | None = _neutral(None, "write each question's record as Parquet here")
    log_level: LogLevel = _neutral("info", "log messages of this level and above to stderr")
