"""The answer to one question in a text that is not exactly the JSON asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from depqa_ray.answering.json_values import json_values, nested
from depqa_ray.answering.made_up import before_made_up
from depqa_ray.answering.plain_text import plain_answer
from depqa_ray.answering.reply_keys import ABSENT, answer_in, any_in
from depqa_ray.answering.values import text_of


def single_answer(text: str) -> tuple[str, bool]:
    """The answer in a text without thoughts, "" if there is none; and whether an object has it under its key.

    Without the key, it is the first value of an object that may be an answer; without an object, the plain text's.
    """
    objects = list(objects_in(values_in(text)))
    if (keyed := _first(map(answer_in, objects))) is not ABSENT:
        return text_of(keyed), True
    if objects:
        return text_of(_first(map(any_in, objects))), False
    return plain_answer(text), False


def values_in(text: str) -> list[Any]:
    """The JSON objects and lists in the text; those that the model made up behind others do not count."""
    return list(json_values(before_made_up(text))) or list(json_values(text))


def objects_in(values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The objects among JSON values and in them, but for empty ones."""
    return (node for value in values for node in nested(value) if node and isinstance(node, dict))


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not ABSENT), ABSENT)
