"""The JSON objects in a model's text: found between other words, and repaired if they are broken or cut short."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

# Answers are short. The limits bound the cost of a very long reply: scanning is at worst quadratic in the number of
# braces, and the repair quadratic in the length.
_MOST_SCANNED: Final = 20_000
_MOST_REPAIRED: Final = 3_000
_MOST_BRACES: Final = 64

THINK_OPEN: Final = "<think>"
THINK_CLOSE: Final = "</think>"


class Number(str):
    """A JSON number as it was written: ``4.50`` stays ``4.50``."""

    __slots__ = ()


def without_thinking(text: str) -> str:
    """The text outside of its ``<think>`` blocks; an unfinished block reaches to the end.

    A closing tag without an opening one ends a block that the prompt opened.
    """
    before, *blocks = text.split(THINK_OPEN)
    return "".join([before.rpartition(THINK_CLOSE)[2], *(block.partition(THINK_CLOSE)[2] for block in blocks)])


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """The objects in the text in the order of their starts, outer before inner; a repaired one comes last.

    Numbers are texts (Number), as they were written. Only the first 20,000 characters are scanned, and only 3,000 from
    the first brace on are repaired. Never raises.
    """
    text = text[:_MOST_SCANNED]
    start = text.find("{")
    if start < 0:
        return
    yield from _sound_objects(text, start)
    repaired = _repair(text[start : start + _MOST_REPAIRED])
    for value in repaired if isinstance(repaired, list) else [repaired]:
        if isinstance(value, dict):
            yield value


def decode(text: str) -> Any:
    """The value of a text that is JSON and nothing else, no key of an object twice. Raises ValueError."""
    try:
        return _STRICT.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def is_json_object(text: str) -> bool:
    """Whether the text is an object that :func:`json_objects` takes without repair, and nothing else."""
    try:
        value, end = _TOLERANT.raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and end == len(text)


def _sound_objects(text: str, start: int) -> Iterator[dict[str, Any]]:
    for _ in range(_MOST_BRACES):
        if start < 0:
            return
        try:
            value, _end = _TOLERANT.raw_decode(text, start)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield value
        start = text.find("{", start + 1)


def _repair(text: str) -> Any:
    import json_repair

    try:
        return json_repair.loads(text)
    except Exception:  # its parser meets arbitrary text; whatever it raises, there is no object
        return None


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
