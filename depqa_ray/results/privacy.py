"""What a run directory may hold, since it is passed on: no secrets, and nothing that names the machine or its user."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from depqa_ray.passages.sources import MUSIQUE

_SECRET: Final = re.compile(r"key|token|secret|passw|credential|authorization|cookie", re.IGNORECASE)
_NO_SECRET: Final = re.compile(r"tokenizer", re.IGNORECASE)
_URL_USER: Final = re.compile(r"(?<=://)[^/?#\s]+@")
_URL_QUERY: Final = re.compile(r"(?<=://)(\S*?)\?\S*")  # some servers take a key there
# Where a path begins: not within a word, an address or a longer path.
_PATH_START: Final = r"(?<![\w/:.~-])"
_ANY_HOME: Final = re.compile(_PATH_START + r"(?:/[\w.-]{1,64}){0,4}?/(?:home|Users)/[^/\s'\"`:;,()\[\]]+")


def public_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as plain JSON values, without those whose name marks a secret, at any depth.

    A number under a name in "tokens" is a count and stays. User parts and queries of URLs and the home folder, which
    names its owner, are cut from the values.
    """
    return {str(name): _plain(value) for name, value in settings.items() if not _is_secret(str(name), value)}


def public_name(name: str) -> str:
    """The name of a model or a data set, or another value of a setting: what it may show, in UTF-8.

    The home folder is cut from its beginning only: two values that differ elsewhere are two settings.
    """
    home = _home()
    prefix = name[: len(MUSIQUE)] if name.startswith(MUSIQUE) else ""
    path = name[len(prefix) :]
    if len(home) > 1 and (path == home or path.startswith(home + os.sep)):
        name = f"{prefix}~{path[len(home) :]}"
    return _without_private_urls(name)


def public_text(text: str) -> str:
    """A text for people: as :func:`public_name`, and without home folders of anybody's, anywhere in it.

    A replica's text may name the home folder of its own machine.
    """
    home = _home()
    if len(home) > 1:
        text = re.sub(rf"{_PATH_START}{re.escape(home)}(?![\w.-])", "~", text)
    return _without_private_urls(_ANY_HOME.sub("~", text))


def _home() -> str:
    """The home folder; "" if the user has none."""
    with suppress(RuntimeError):
        return str(Path.home())
    return ""


def _without_private_urls(text: str) -> str:
    # An argument that is not UTF-8 reaches Python with lone surrogates, which no file of the run may contain.
    return _URL_QUERY.sub(r"\1", _URL_USER.sub("", text)).encode("utf-8", "replace").decode("utf-8")


def _is_secret(name: str, value: Any) -> bool:
    if name.lower().endswith("tokens") and isinstance(value, int | float | None):
        return False
    return _SECRET.search(_NO_SECRET.sub("", name)) is not None


def _plain(value: Any) -> Any:
    """The value in JSON's types. Lists keep their order; any other type becomes its text."""
    if isinstance(value, Mapping):
        return public_settings(value)
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, float):
        return value if value - value == 0.0 else str(value)  # JSON has no NaN and no infinity
    return public_name(str(value))
