"""Command-line flags made from the settings models, which alone hold their names, help and defaults."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import BaseModel
from typing_extensions import override

from depqa_ray.benchmark.settings import BenchSettings
from depqa_ray.settings.load import GROUPS, Settings, flag_of
from depqa_ray.settings.sections import StatisticsSettings

_EXIT_USAGE = 2
_TYPE_WORDS = {"integer": "N", "number": "X", "string": "NAME", "array": "NAME,NAME"}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and name the command that they are about."""

    @override
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(_EXIT_USAGE)

    @override
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown arguments here; argparse would leave them to the parent's parser, which names no command."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown


def add_settings_flags(parser: argparse.ArgumentParser, defaults: Mapping[str, Any]) -> None:
    """Add a flag for every setting, under its group's heading. ``defaults`` are the command's own.

    A flag that is not given leaves no trace in the parsed arguments, so that the environment and the configuration file
    can set it. Values stay text: the settings model validates them.
    """
    for heading, section in GROUPS.items():
        group = parser.add_argument_group(heading)
        for name, schema in _schemas(section).items():
            _add_flag(group, name, schema, defaults.get(name, schema["default"]))


def add_statistics_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the intervals. Their defaults are the settings of the run that is reported."""
    for name, schema in _schemas(StatisticsSettings).items():
        description = schema["description"].partition("; default:")[0]
        _add_flag(parser, name, schema | {"description": description}, "as in the run")


def add_bench_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every setting of a benchmark. Values stay text here too."""
    for name, schema in _schemas(BenchSettings).items():
        _add_flag(parser, name, schema, schema["default"])


def given_settings(arguments: argparse.Namespace, model: type[BaseModel] = Settings) -> dict[str, Any]:
    """The settings of a model that were given as flags, by name."""
    return {name: value for name, value in vars(arguments).items() if name in model.model_fields}


def _schemas(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """The JSON schema of each field: its type, description and default as plain data."""
    properties: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    return properties


def _add_flag(group: argparse._ActionsContainer, name: str, schema: Mapping[str, Any], default: Any) -> None:
    text = schema["description"].replace("%", "%%")
    if schema.get("type") == "boolean":
        # A setting that is on by default needs a flag that turns it off.
        either = schema["default"] and not name.startswith("no_")
        action: Any = argparse.BooleanOptionalAction if either else "store_true"
        text += " [on]" if default else " [off]" if either else ""
        group.add_argument(flag_of(name), action=action, default=argparse.SUPPRESS, help=text)
    else:
        text += _shown(default)
        group.add_argument(flag_of(name), metavar=_metavar(schema), default=argparse.SUPPRESS, help=text)


def _shown(default: object) -> str:
    if default is None or default in ([], ()):
        return ""
    if isinstance(default, list | tuple):
        return f" [{','.join(map(str, default))}]"
    return f" [{default:g}]" if isinstance(default, float) else f" [{default}]"


def _metavar(schema: Mapping[str, Any]) -> str:
    """The values that a flag takes: first its choices, then the word for its type."""
    forms = [form for kind in schema.get("anyOf", [schema]) for form in _forms(kind)]
    return "|".join(sorted(forms, key=str.isupper))


def _forms(kind: Mapping[str, Any]) -> list[str]:
    if "const" in kind:
        return [kind["const"]]
    if "enum" in kind:
        return list(kind["enum"])
    if kind["type"] == "null":
        return []
    return ["PATH" if kind.get("format") == "path" else _TYPE_WORDS[kind["type"]]]
