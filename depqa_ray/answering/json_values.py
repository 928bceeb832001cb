"""The JSON objects and lists in a model's text: found between other words, and repaired if they are broken or cut."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from depqa_ray.answering.json_repairs import Repairs
from depqa_ray.answering.reply_keys import is_aside

# Answers are short. The limits bound the cost of a very long reply: each start may have the rest read.
_MOST_SCANNED: Final = 20_000
_MOST_STARTS: Final = 64

# A list counts where it stands by itself: "[1]" within a sentence is a reference.
_START: Final = re.compile(r"\{|(?:^|[:\uff1a>])[ \t]*(?P<list>\[)", re.MULTILINE)


class Number(str):
    """A JSON number as it was written: ``4.50`` stays ``4.50``."""

    __slots__ = ()


def json_values(text: str) -> Iterator[Any]:
    """The objects and lists in the text that are in no other, in the order of their starts, repaired or not.

    Numbers are texts (Number), as they were written. Only the first 20,000 characters are scanned, and only 3,000 are
    repaired. Never raises.
    """
    text, at, repairs = text[:_MOST_SCANNED], 0, Repairs()
    for _ in range(_MOST_STARTS):
        found = _START.search(text, at)
        if found is None:
            return
        start = found.end() - 1
        value, at = _sound(text, start) or repairs.value(text, start) or (None, start + 1)
        if value is not None:
            yield value


def nested(value: Any) -> Iterator[Any]:
    """The value and the objects and lists in it, outer before inner, but for those among an object's thoughts."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(reversed([inner for key, inner in value.items() if not is_aside(key)]))
        elif isinstance(value, list):
            yield value
            waiting.extend(reversed(value))


def decode(text: str) -> Any:
    """The value of a text that is JSON and nothing else, no key of an object twice. Raises ValueError."""
    try:
        return _STRICT.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def is_json_reply(text: str) -> bool:
    """Whether the text is an object or a list that :func:`json_values` takes without repair, and nothing else."""
    found = _sound(text, 0)
    return found is not None and found[1] == len(text)


def _sound(text: str, start: int) -> tuple[Any, int] | None:
    """The object or list that begins there, and its end; None if it is broken."""
    try:
        value, end = _TOLERANT.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return (value, end) if isinstance(value, dict | list) else None


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, with the first value of a repeated key."""
    value: dict[str, Any] = {}
    for key, item in pairs:
        value.setdefault(key, item)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object. Raises ValueError if a key is repeated."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is repeated")
    return value


_STRICT: Final = json.JSONDecoder(object_pairs_hook=_once, parse_int=Number, parse_float=Number, parse_constant=Number)
_TOLERANT: Final = json.JSONDecoder(
    object_pairs_hook=_first, parse_int=Number, parse_float=Number, parse_constant=Number, strict=False
)
