"""Command-line flags made from the settings models, which alone hold their names, help and defaults."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import BaseModel
from typing_extensions import override

from depqa_ray.settings.load import Settings, flag_of

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


def add_flags(parser: argparse._ActionsContainer, model: type[BaseModel], defaults: Mapping[str, Any]) -> None:
    """Add a flag for every setting of a model. ``defaults`` are the command's own.

    A flag that is not given leaves no trace in the parsed arguments, so that the environment and the configuration file
    can set it. Values stay text: the settings model validates them.
    """
    for name, schema in model.model_json_schema()["properties"].items():
        text = schema["description"].replace("%", "%%")
        if name in defaults:
            text = text.partition("; default:")[0]
        default = defaults.get(name, schema["default"])
        if schema.get("type") == "boolean":
            # A setting that is on by default needs a flag that turns it off.
            either = schema["default"] and not name.startswith("no_")
            kind: dict[str, Any] = {"action": argparse.BooleanOptionalAction if either else "store_true"}
            text += " [on]" if default else " [off]" if either else ""
        else:
            kind = {"metavar": _metavar(schema)}
            text += _shown(default)
        parser.add_argument(flag_of(name), default=argparse.SUPPRESS, help=text, **kind)


def given_settings(arguments: argparse.Namespace, model: type[BaseModel] = Settings) -> dict[str, Any]:
    """The settings of a model that were given as flags, by name."""
    return {name: value for name, value in vars(arguments).items() if name in model.model_fields}


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
