"""The settings: the one place where a default is written. Flags, environment and configuration files are read from it.

A value comes from the first of these that has it: a flag (``--context-count 5``), an environment variable
(``DEPQA_CONTEXT_COUNT=5``), the file given with ``--config`` (TOML or YAML, keys like ``context_count``), the preset
that one of these names, the command's own default, the default here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
    YamlConfigSettingsSource,
)

from depqa_ray.errors import InputError, SettingsError
from depqa_ray.files import read_text_of
from depqa_ray.settings.presets import PRESETS, PresetName
from depqa_ray.settings.types import (
    Confidence,
    Count,
    DependencySource,
    DtypeName,
    EngineName,
    LogLevel,
    Resamples,
    Seconds,
    Share,
    StrategyName,
)

# Stop texts written in one: spaces count, a backslash keeps a comma from separating.
_STOP = re.compile(r"(?:[^\\,]|\\.)+", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t"}


def _setting(default: Any, group: str, description: str, *, shapes_results: bool = True) -> Any:
    """A field with its help. ``shapes_results`` says whether the answers may depend on it (see Settings.shaping)."""
    extra: dict[str, Any] = {"group": group, "shapes_results": shapes_results}
    return Field(default=default, description=description, json_schema_extra=extra)


class Settings(BaseSettings):
    """All settings of a run."""

    model_config = SettingsConfigDict(env_prefix="DEPQA_", extra="forbid", frozen=True, protected_namespaces=())
    config_file: ClassVar[Path | None] = None
    command_defaults: ClassVar[Mapping[str, Any]] = {}
    _system_prompt: str | None = PrivateAttr(default=None)

    dataset: str = _setting(
        "squad",
        "data",
        "squad (the hub's rajpurkar/squad), embedded, a SQuAD JSON, Parquet or JSON lines file, or musique:FILE "
        "(MuSiQue-Ans JSON lines)",
    )
    split: str = _setting("train", "data", "split of the hub's data set")
    context_count: Annotated[int, Field(ge=0)] = _setting(1, "data", "passages to sample; 0 = all")
    min_questions: Count = _setting(3, "data", "leave out passages with fewer questions")
    max_questions: Count = _setting(5, "data", "ask at most this many questions of a passage")
    seed: int = _setting(
        13,
        "data",
        "seed of all that is drawn: passages and their questions, worked examples, the order of sequential_shuffled, "
        "tokens with --temperature, and the intervals' resamples",
    )
    on_bad_input: Literal["fail", "skip"] = _setting(
        "fail", "data", "a bad row ends the run, or is set aside in the run directory and counted"
    )

    model_name: str = _setting(
        "Qwen/Qwen3-4B", "model", "a causal LM: a hub id, a folder, or embedded (the small reader that ships here)"
    )
    engine: EngineName = _setting(
        "shared_prefix",
        "model",
        "what generates; shared_prefix reads each passage once; vllm has to be installed; openai asks a server; "
        "simulated is for trying out schedules",
    )
    openai_base_url: str | None = _setting(
        None, "model", "address of the server of --engine openai; default: OPENAI_BASE_URL, else OpenAI's own"
    )
    request_timeout: Seconds = _setting(
        180.0,
        "model",
        "seconds that the server may take for a prompt, repetitions included",
        shapes_results=False,
    )
    dtype: DtypeName = _setting("auto", "model", "of the weights; auto = bfloat16 with hardware for it, else float32")
    max_new_tokens: Count = _setting(
        96, "model", "room for each answer, in tokens; a prompt of n questions gets n times that"
    )
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = _setting(
        0.0, "model", "0 = the likeliest token; above, tokens are drawn, the likelier the more often"
    )
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = _setting(
        1.0, "model", "draw from the likeliest tokens whose probability reaches this"
    )
    stop: Annotated[tuple[str, ...], NoDecode] = _setting(
        (), "model", "end an answer before any of these texts, separated by commas; \\n is a line's end, \\, a comma"
    )
    stop_at_json: bool = _setting(True, "model", "end an answer where its first JSON object closes")
    system_prompt_file: Path | None = _setting(
        None, "model", "a text file whose text stands in for the system line of every prompt"
    )
    shots: Annotated[int, Field(ge=0)] = _setting(
        0, "model", "worked examples in every prompt, drawn by --seed from other passages of the data set"
    )
    max_batch_size: Count = _setting(
        32, "model", "most prompts that a replica generates together", shapes_results=False
    )
    kv_gib: Annotated[float, Field(gt=0, allow_inf_nan=False)] = _setting(
        1.0, "model", "memory for keys and values on a CPU, in GiB", shapes_results=False
    )
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = _setting(
        0.9, "model", "share of a GPU's memory for the model and its keys and values", shapes_results=False
    )

    deps: DependencySource = _setting(
        "model",
        "dependencies",
        "where edges come from: the model is asked; a heuristic reads the questions' wording; gold = the data set's",
    )
    no_llm_deps: bool = _setting(False, "dependencies", "do not ask the model: --deps heuristic")
    deps_engine: EngineName | None = _setting(
        None,
        "dependencies",
        "ask another engine than --engine for edges, which needs --deps-model",
    )
    deps_model: str | None = _setting(None, "dependencies", "the model that --deps-engine asks")
    deps_base_url: str | None = _setting(
        None, "dependencies", "address of the server of --deps-engine openai; default: as for --engine openai"
    )
    dep_cache: Path | None = _setting(
        None,
        "dependencies",
        "folder of the replies about edges that were kept from earlier runs; default: depqa-ray/edges in "
        "$XDG_CACHE_HOME or ~/.cache",
        shapes_results=False,
    )
    no_dep_cache: bool = _setting(
        False, "dependencies", "ask for edges even where an earlier run has, and keep no reply", shapes_results=False
    )
    cost_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = _setting(
        0.01, "dependencies", "weight of an edge's cost (tokens) against its confidence"
    )
    min_confidence: Share = _setting(0.45, "dependencies", "drop edges below this confidence")
    max_dependencies: Annotated[int, Field(ge=0)] = _setting(3, "dependencies", "most parents of a question")
    total_cost_budget: Annotated[int, Field(ge=0)] | None = _setting(
        None, "dependencies", "most tokens that all edges of a passage may cost; default: no limit"
    )

    strategy: StrategyName = _setting("dependency_parallel", "strategy", "the strategy of `run`")
    strategies: Annotated[tuple[StrategyName, ...], NoDecode] = _setting(
        ("sequential", "full_batch", "independent", "dependency_parallel"),
        "strategy",
        "the strategies of `compare`, separated by commas",
    )
    preset: PresetName | None = _setting(
        None,
        "strategy",
        "the settings behind a published table, which is then shown beside the results; other settings come before "
        "those of the preset",
        shapes_results=False,
    )

    baseline: StrategyName | None = _setting(
        None,
        "statistics",
        "the strategy that the others are set against; default: independent where it takes part, else the first",
        shapes_results=False,
    )
    resamples: Resamples = _setting(
        10_000, "statistics", "draws of passages behind each interval", shapes_results=False
    )
    confidence: Confidence = _setting(0.95, "statistics", "of the intervals", shapes_results=False)

    replicas: Count | Literal["auto"] = _setting(
        "auto",
        "cluster",
        "model replicas; auto = one for each GPU of the cluster, one without GPUs or with --isolate",
        shapes_results=False,
    )
    gpus_per_replica: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["auto"] = _setting(
        "auto", "cluster", "GPUs that a replica holds; auto = 1 where there are GPUs, else 0", shapes_results=False
    )
    isolate: bool = _setting(
        True,
        "cluster",
        "one passage at a time, on idle replicas that have read nothing yet, so that latencies can be compared; else "
        "everything goes on at once, and latencies are those under full load",
        shapes_results=False,
    )
    in_flight: Count | Literal["auto"] = _setting(
        "auto",
        "cluster",
        "passages worked on at once, counted once for each strategy; auto = 1 with --isolate, else what fills the "
        "replicas; more than 1 ends isolation",
        shapes_results=False,
    )
    start_timeout: Seconds = _setting(
        900.0, "cluster", "seconds a replica may take to load its model", shapes_results=False
    )
    step_timeout: Seconds = _setting(
        600.0, "cluster", "seconds a replica may go without an answer", shapes_results=False
    )

    run_dir: Path | None = _setting(
        None, "output", "folder for the run's records; default: a new one in runs/", shapes_results=False
    )
    html_dir: Path | None = _setting(None, "output", "write one HTML page a passage here", shapes_results=False)
    json_out: Path | None = _setting(None, "output", "write the results as JSON here", shapes_results=False)
    parquet_out: Path | None = _setting(
        None, "output", "write each question's record as Parquet here", shapes_results=False
    )
    log_level: LogLevel = _setting("info", "output", "how much to say on stderr", shapes_results=False)

    @field_validator("strategies", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("stop", mode="before")
    @classmethod
    def _split_stop(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts: list[str] = _STOP.findall(value)
        return tuple(_ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), part) for part in parts)

    @field_validator("stop")
    @classmethod
    def _stop_says_something(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("an empty text would end every answer at once")
        return value

    @field_validator("strategies")
    @classmethod
    def _some_and_once(cls, value: tuple[StrategyName, ...]) -> tuple[StrategyName, ...]:
        if not value:
            raise ValueError("name at least one strategy")
        if len(set(value)) < len(value):
            raise ValueError("a strategy is named twice")
        return value

    @model_validator(mode="after")
    def _question_range(self) -> Settings:
        if self.max_questions < self.min_questions:
            raise ValueError(f"--max-questions ({self.max_questions}) is below --min-questions ({self.min_questions})")
        return self

    @model_validator(mode="after")
    def _who_is_asked_for_edges(self) -> Settings:
        if self.no_llm_deps and self.deps not in ("model", "heuristic"):
            raise ValueError(f"--no-llm-deps means --deps heuristic and cannot go with --deps {self.deps}")
        if (self.deps_engine is None) != (self.deps_model is None):
            raise ValueError("--deps-engine and --deps-model go together: who is asked for edges, and which model")
        if self.deps_engine is not None and self.dependency_source != "model":
            raise ValueError(f"--deps-engine asks a model for edges, and --deps {self.dependency_source} asks none")
        return self

    @model_validator(mode="after")
    def _read_system_prompt(self) -> Settings:
        """Read the file once, here: what is asked, and what the manifest says of it, is then one and the same text."""
        if self.system_prompt_file is not None:
            self._system_prompt = read_text_of(self.system_prompt_file, flag_of("system_prompt_file"))
        return self

    @property
    def system_prompt(self) -> str | None:
        """The text of the ``system_prompt_file``, as it was when the settings were loaded; None without one."""
        return self._system_prompt

    @property
    def dependency_source(self) -> DependencySource:
        """Where edges come from, ``--no-llm-deps`` taken into account."""
        return "heuristic" if self.no_llm_deps else self.deps

    @property
    def isolated(self) -> bool:
        """Whether passages are worked on one at a time, on idle replicas."""
        return self.isolate and self.in_flight in ("auto", 1)

    @property
    def max_in_flight(self) -> int | None:
        """How many passages may be worked on at once; None for as many as fill the replicas."""
        if self.in_flight == "auto":
            return 1 if self.isolate else None
        return self.in_flight

    @classmethod
    def answer_affecting(cls) -> frozenset[str]:
        """The names of the settings on which answers may depend: two runs that agree on them ask for the same work."""
        return frozenset(name for name in cls.model_fields if setting_metadata(name)["shapes_results"])

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, the configuration file, the preset, and the command's own defaults."""
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if cls.config_file is not None:
            toml = cls.config_file.suffix == ".toml"
            of_file = TomlConfigSettingsSource if toml else YamlConfigSettingsSource
            sources.append(of_file(settings_cls, cls.config_file))
        own = InitSettingsSource(settings_cls, dict(cls.command_defaults))
        return (*sources, _PresetSource(settings_cls, {}), own)


class _PresetSource(InitSettingsSource):
    """The settings of the preset that an earlier source names. An unknown name is left to the settings' own check."""

    def __call__(self) -> dict[str, Any]:
        """All settings of the preset."""
        name = self.current_state.get("preset")
        preset = PRESETS.get(name) if isinstance(name, str) else None
        return dict(preset.settings) if preset else {}


def setting_metadata(name: str) -> dict[str, Any]:
    """The ``group`` and ``shapes_results`` of a setting."""
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return dict(extra)


def flag_of(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def load_settings(
    flags: Mapping[str, Any], config: Path | None = None, defaults: Mapping[str, Any] | None = None
) -> Settings:
    """Settings from flags (by setting name), the environment and a configuration file.

    ``defaults`` are a command's own and stand in for the ones here. Raises SettingsError where anything is
    wrong: one line that names each bad value and where it came from.
    """
    if config is not None and config.suffix not in (".toml", ".yaml", ".yml"):
        raise SettingsError("not a TOML or YAML file", str(config), "name it .toml, .yaml or .yml")
    if config is not None and not config.is_file():
        raise SettingsError("no such file", str(config), "check --config")
    own = {"config_file": config, "command_defaults": defaults or {}, "__module__": __name__}
    cls: type[Settings] = type("Settings", (Settings,), own)
    try:
        return cls(**flags)
    except ValidationError as error:
        raise SettingsError(one_line_error(error, flags, config)) from None
    except InputError:
        raise
    except Exception as error:  # the parsers of TOML and YAML raise types of their own, which are not imported here
        raise SettingsError(" ".join(str(error).split()), str(config or "settings"), "mend the file") from None


def _place(name: str, flags: Mapping[str, object], config: Path | None) -> str:
    """Where the value of a setting came from."""
    if name in flags:
        return flag_of(name)
    variable = f"DEPQA_{name.upper()}"
    if variable in map(str.upper, os.environ):
        return variable
    return f"{config}: {name}" if config is not None else f"setting {name}"


def one_line_error(error: ValidationError, flags: Mapping[str, object], config: Path | None = None) -> str:
    """One line that names each value that settings refused, and where it came from."""
    problems: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        message = item["msg"].removeprefix("Value error, ")
        name = str(item["loc"][0]) if item["loc"] else ""
        if not name:
            problems.setdefault("", []).append(message)
            continue
        unknown = item["type"] == "extra_forbidden"
        said = "there is no such setting" if unknown else f"{message}, not {item['input']!r}"
        problems.setdefault(_place(name, flags, config), []).append(said)
    return "; ".join(f"{place}: {' or '.join(m)}" if place else " and ".join(m) for place, m in problems.items())
