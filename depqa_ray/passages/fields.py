"""Checks of the fields of one row. Each returns the field's value or raises InputError without a place.

The caller knows the place and adds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from depqa_ray.core import UNKNOWN
from depqa_ray.errors import InputError

_JSON_NAMES: Final = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
_SCHEMA: Final = "see the SQuAD schema"

_T = TypeVar("_T")


def record(value: object, name: str) -> dict[str, Any]:
    """``value`` where it is an object."""
    return _of_type(value, dict, name)


def items(row: Mapping[str, Any], key: str) -> list[Any]:
    """The list under ``key``."""
    return _of_type(_present(row, key), list, f"'{key}'")


def text(row: Mapping[str, Any], key: str) -> str:
    """The text under ``key``, as it stands; an empty or blank one is an error."""
    return _filled(_present(row, key), f"'{key}'")


def title(row: Mapping[str, Any]) -> str:
    """The title, which alone may be empty: some data sets have none to give."""
    return _of_type(_present(row, "title"), str, "'title'")


def flag(row: Mapping[str, Any], key: str) -> bool:
    """The truth value under ``key``."""
    return _of_type(_present(row, key), bool, f"'{key}'")


def texts(row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The texts in the list under ``key``; an empty or blank one is an error."""
    return tuple(_filled(value, f"a value of '{key}'") for value in items(row, key))


def parents(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids under ``depends_on``, each once; none where the field is absent or null."""
    if row.get("depends_on") is None:
        return ()
    return tuple(dict.fromkeys(texts(row, "depends_on")))


def gold_answers(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The gold answers; ``(UNKNOWN,)`` where ``is_impossible`` is true.

    ``answers`` is a list of objects with a ``text`` each (the official schema), or one object whose ``text`` lists the
    texts (the hub's columns).
    """
    impossible = row.get("is_impossible")
    if impossible is not None and _of_type(impossible, bool, "'is_impossible'"):
        return (UNKNOWN,)
    answers = _present(row, "answers")
    if isinstance(answers, dict):
        texts = items(answers, "text")
    else:
        texts = [_present(record(answer, "a gold answer"), "text") for answer in items(row, "answers")]
    if not texts:
        raise InputError(
            "no gold answer", fix="give at least one in 'answers', or \"is_impossible\": true where there is none"
        )
    return tuple(_filled(value, "a gold answer") for value in texts)


def _present(row: Mapping[str, Any], key: str) -> Any:
    if key not in row:
        raise InputError(f"'{key}' is missing", fix=f"add it ({_SCHEMA})")
    return row[key]


def _of_type(value: object, type_: type[_T], name: str) -> _T:
    if not isinstance(value, type_):
        is_ = _JSON_NAMES.get(type(value), "a number")
        raise InputError(f"{name} must be {_JSON_NAMES[type_]}, not {is_}", fix=f"correct it ({_SCHEMA})")
    return value


def _filled(value: object, name: str) -> str:
    filled = _of_type(value, str, name)
    if not filled.strip():
        raise InputError(f"{name} is empty", fix="fill it in or remove the row")
    try:
        filled.encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, which no file and no tokenizer takes
        raise InputError(f"{name} holds half a surrogate pair", fix="write the whole character") from None
    return filled
