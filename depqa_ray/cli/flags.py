"""Command-line flags read from the settings model: names, help and defaults are written there and nowhere else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel

from depqa_ray.benchmark.settings import BenchSettings
from depqa_ray.settings.load import Settings, flag_of, setting_metadata

_EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and where to look, and exit with 2."""
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(_EXIT_USAGE)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is not known here, so that a command's mistake is told by the command's own parser."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown


def add_settings_flags(parser: argparse.ArgumentParser, defaults: Mapping[str, Any]) -> None:
    """A flag for every setting, under its group's heading. ``defaults`` are the command's own, where it has some.

    A flag that is not given leaves no trace in the parsed arguments, so that the environment and the configuration file
    can speak. Values stay text: the settings model checks them.
    """
    groups: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        group = setting_metadata(name)["group"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        default = defaults.get(name, field.default)
        text = (field.description or "").replace("%", "%%")
        if field.annotation is bool:
            # What is on here, or elsewhere, needs a way to be turned off.
            either = field.default and not name.startswith("no_")
            action: Any = argparse.BooleanOptionalAction if either else "store_true"
            text += " [on]" if default else " [off]" if either else ""
            groups[group].add_argument(flag_of(name), action=action, default=argparse.SUPPRESS, help=text)
            continue
        if default not in (None, ()):
            text += f" [{_shown(default)}]"
        groups[group].add_argument(
            flag_of(name), metavar=_metavar(field.annotation), default=argparse.SUPPRESS, help=text
        )


def add_statistics_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of what is computed from answers that are there, for a run that has settings of its own."""
    for name, field in Settings.model_fields.items():
        if setting_metadata(name)["group"] == "statistics":
            text = (field.description or "").partition("; default:")[0].replace("%", "%%") + " [as in the run]"
            parser.add_argument(flag_of(name), metavar=_metavar(field.annotation), default=argparse.SUPPRESS, help=text)


def add_bench_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for every setting of a benchmark. Values stay text here too."""
    for name, field in BenchSettings.model_fields.items():
        shown = "" if field.default is None else f" [{_shown(field.default)}]"
        parser.add_argument(
            flag_of(name),
            metavar="NAME,NAME" if name == "engines" else _metavar(field.annotation),
            default=argparse.SUPPRESS,
            help=(field.description or "").replace("%", "%%") + shown,
        )


def given_settings(arguments: argparse.Namespace, model: type[BaseModel] = Settings) -> dict[str, Any]:
    """The settings of a model that were given as flags, by name."""
    return {name: value for name, value in vars(arguments).items() if name in model.model_fields}


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _metavar(annotation: Any) -> str:
    """What a value looks like: the choices where they are few and named, else a word for the type."""
    choices = [value for part in _parts(annotation) if get_origin(part) is Literal for value in get_args(part)]
    words = [_word(part) for part in _parts(annotation) if isinstance(part, type) and part is not type(None)]
    return "|".join(dict.fromkeys([*map(str, choices), *words])) or "NAME,NAME"


def _word(type_: type) -> str:
    return {int: "N", float: "X", str: "NAME"}.get(type_, "PATH")


def _parts(annotation: Any) -> list[Any]:
    """The members of a union, without what is annotated on them."""
    origin = get_origin(annotation)
    if origin is Literal or origin is tuple or not get_args(annotation):
        return [annotation] if origin is not tuple else []
    if hasattr(annotation, "__metadata__"):
        return _parts(get_args(annotation)[0])
    return [part for argument in get_args(annotation) for part in _parts(argument)]
