"""All settings of a run, and the places that their values come from.

A value comes from the first of these that has it:

- a flag (``--context-count 5``),
- an environment variable (``DEPQA_CONTEXT_COUNT=5``),
- the file of ``--config`` (TOML or YAML, keys like ``context_count``),
- the preset that one of these names,
- the command's own default,
- the default in the setting's section.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
    YamlConfigSettingsSource,
)
from typing_extensions import override

from depqa_ray.errors import InputError, SettingsError
from depqa_ray.settings.presets import PRESETS
from depqa_ray.settings.sections import (
    ClusterSettings,
    DataSettings,
    EdgeSettings,
    ModelSettings,
    OutputSettings,
    Section,
    StatisticsSettings,
    StrategySettings,
)

_VARIABLE_PREFIX: Final = "DEPQA_"

GROUPS: Final[Mapping[str, type[Section]]] = {
    "data": DataSettings,
    "model": ModelSettings,
    "dependencies": EdgeSettings,
    "strategy": StrategySettings,
    "statistics": StatisticsSettings,
    "cluster": ClusterSettings,
    "output": OutputSettings,
}
"""The sections in the order of `--help` and of the manifest, by their heading in `--help`."""


# pydantic takes the fields of the last base first: hence the bases are the sections in reverse order.
class Settings(
    BaseSettings,
    OutputSettings,
    ClusterSettings,
    StatisticsSettings,
    StrategySettings,
    EdgeSettings,
    ModelSettings,
    DataSettings,
):
    """All settings of a run."""

    model_config = SettingsConfigDict(env_prefix=_VARIABLE_PREFIX)
    config_file: ClassVar[Path | None] = None
    command_defaults: ClassVar[Mapping[str, Any]] = {}

    @model_validator(mode="after")
    def _waits_longer_than_a_server(self) -> Settings:
        """Else a server's long pause would look like a replica that hangs."""
        if "openai" in (self.engine, self.deps_engine) and self.request_timeout >= self.step_timeout:
            limits = f"--request-timeout ({self.request_timeout:g}) is not below --step-timeout ({self.step_timeout:g})"
            raise ValueError(f"{limits}: a replica that waits for its server would be replaced")
        return self

    @classmethod
    def answer_affecting(cls) -> frozenset[str]:
        """The names of the settings on which answers may depend. Two runs that agree on them ask for the same work."""
        return frozenset(name for name in cls.model_fields if _shapes_results(name))

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if cls.config_file is not None:
            toml = cls.config_file.suffix == ".toml"
            of_file = TomlConfigSettingsSource if toml else YamlConfigSettingsSource
            sources.append(of_file(settings_cls, cls.config_file))
        of_command = InitSettingsSource(settings_cls, dict(cls.command_defaults))
        return (*sources, _PresetSource(settings_cls, {}), of_command)


class _PresetSource(InitSettingsSource):
    """The settings of the preset that an earlier source names. Leaves an unknown name to the settings' validation."""

    @override
    def __call__(self) -> dict[str, Any]:
        name = self.current_state.get("preset")
        preset = PRESETS.get(name) if isinstance(name, str) else None
        return dict(preset.settings) if preset else {}


def _shapes_results(name: str) -> bool:
    extra = Settings.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and extra["shapes_results"] is True


def flag_of(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def load_settings(
    flags: Mapping[str, Any], config: Path | None = None, defaults: Mapping[str, Any] | None = None
) -> Settings:
    """Settings from flags (by setting name), the environment and a configuration file.

    ``defaults`` are a command's own and replace those of the sections. Raises SettingsError if a value or the file is
    bad: one line that names each bad value and where it came from.
    """
    if config is not None and config.suffix not in (".toml", ".yaml", ".yml"):
        raise SettingsError("not a TOML or YAML file", str(config), "name it .toml, .yaml or .yml")
    if config is not None and not config.is_file():
        raise SettingsError("no such file", str(config), "check --config")
    sources = {"config_file": config, "command_defaults": defaults or {}, "__module__": __name__}
    cls: type[Settings] = type("Settings", (Settings,), sources)
    try:
        return cls(**flags)
    except ValidationError as error:
        raise SettingsError(one_line_error(error, flags, config)) from None
    except InputError:
        raise
    except Exception as error:  # the TOML and YAML parsers raise types of their own, which this module does not import
        raise SettingsError(" ".join(str(error).split()), str(config or "settings"), "correct the file") from None


def one_line_error(error: ValidationError, flags: Mapping[str, object], config: Path | None = None) -> str:
    """One line that names each refused value and where it came from."""
    problems: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "there is no such setting"
        elif item["loc"]:
            message += f", not {item['input']!r}"
        place = _place(str(item["loc"][0]), flags, config) if item["loc"] else ""
        problems.setdefault(place, []).append(message)
    return "; ".join(f"{place}: {' or '.join(m)}" if place else " and ".join(m) for place, m in problems.items())


def _place(name: str, flags: Mapping[str, object], config: Path | None) -> str:
    """Where the value of a setting came from."""
    if name in flags:
        return flag_of(name)
    variable = _VARIABLE_PREFIX + name.upper()
    if variable in map(str.upper, os.environ):
        return variable
    return f"{config}: {name}" if config is not None else f"setting {name}"
