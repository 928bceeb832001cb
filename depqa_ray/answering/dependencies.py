"""The dependencies that a reply states, in the form that the prompt asks for or another.

| the reply | says |
|---|---|
| ``{"Q2": {"Q1": 0.9}}`` | Q2 needs Q1, with confidence 0.9: the form asked for |
| ``{"Q2": ["Q1"]}``, ``{"Q2": "Q1, Q3"}``, ``{"Q2": {"depends_on": ["Q1"]}}`` | Q2 needs each of them, for certain |
| ``{"Q2": [["Q1", 0.9]]}``, ``{"Q2": [{"question": "Q1", "confidence": 0.9}]}`` | Q2 needs Q1, with 0.9 |
| ``[["Q1", "Q2"]]``, ``[["Q1", "Q2", 0.9]]`` | the later question needs the earlier one |
| ``[{"from": "Q1", "to": "Q2"}]``, ``[{"question": "Q2", "depends_on": ["Q1"]}]`` | Q2 needs Q1 |
| ``{"Q1": []}`` and ``{"Q2": ["Q1"]}``, in a list or one after the other | what each of them says |
| ``{"edges": ...}``, ``{"dependencies": ...}`` | what is in it; nothing depends on another if that is empty |

A pair does not say which of the two needs the other: models write both orders. The one that is asked later does, since
questions build on earlier ones. Names of questions are those of :mod:`.reply_keys`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from depqa_ray.answering.json_values import nested
from depqa_ray.answering.reply_keys import ABSENT, number_of, value_under, words
from depqa_ray.answering.single import values_in

_CERTAIN: Final = 1.0
_PARENTS: Final = words("parent parents from source dependson dependencies needs requires prerequisites")
_CHILD: Final = words("child to target question questionid id label")
_NAME: Final = words("parent question questionid id label")
_CONFIDENCE: Final = words("confidence score weight probability")
_GROUP: Final = words("edges dependencies deps graph")
_NOTHING: Final = frozenset(("none", "na", "null", "nothing"))
_LABEL: Final = re.compile(r"\W*(?:q|question)[\W_]*\d+\W*", re.IGNORECASE)
_BETWEEN: Final = re.compile(r"[,;&]|\band\b")


@dataclass(frozen=True, slots=True)
class StatedEdge:
    """``child`` needs ``parent`` (numbers of questions from 1, None if there is no such question).

    ``confidence`` is what the reply has in its place, 1.0 if it has none.
    """

    child: int | None
    parent: int | None
    confidence: Any = _CERTAIN


def stated_edges(text: str, count: int) -> tuple[StatedEdge | None, ...] | None:
    """The dependencies between ``count`` questions that a text without thoughts states; None in place of what is none.

    The first object or list counts that states parents of one of the questions; None if there is none. Never raises.
    """
    values = values_in(text)
    for node in (_one_each(values), *(node for value in values for node in nested(value)), values):
        edges = _of_object(node, count) if isinstance(node, dict) else _of_list(node, count)
        if edges is not None:
            return edges
    return None


def _of_object(node: Mapping[str, Any], count: int) -> tuple[StatedEdge | None, ...] | None:
    if any(_known(name, count) and _states_parents(value, count) for name, value in node.items()):
        return tuple(edge for name, value in node.items() for edge in _edges(_known(name, count), value, count))
    return () if value_under(node, _GROUP) in ({}, []) else None


def _of_list(node: list[Any], count: int) -> tuple[StatedEdge | None, ...] | None:
    edges = tuple(edge for item in node for edge in _of_item(item, count))
    if any(edge and edge.child and edge.parent for edge in edges):
        return edges
    return () if not edges and any(_names_a_question(item, count) for item in node) else None


def _names_a_question(item: Any, count: int) -> bool:
    """Whether an item of a list, which states no parents, is about one of the questions."""
    if not isinstance(item, dict):
        return False
    return _known(value_under(item, _CHILD), count) is not None or any(_known(key, count) for key in item)


def _one_each(values: list[Any]) -> list[Any]:
    """The objects that the text begins with, if each is about another single question; empty if there are not two."""
    seen: set[str] = set()
    for value in values:
        if not isinstance(value, dict) or len(value) != 1 or not seen.isdisjoint(value):
            break
        seen.update(value)
    return values[: len(seen)] if len(seen) > 1 else []


def _of_item(item: Any, count: int) -> tuple[StatedEdge | None, ...]:
    """The dependencies in an item of a list of them."""
    if isinstance(item, dict) and value_under(item, _PARENTS) is not ABSENT:
        return _edges(_known(value_under(item, _CHILD), count), item, count)
    if isinstance(item, list) and len(item) in (2, 3):
        known = [number for number in (_known(name, count) for name in item[:2]) if number]
        return (StatedEdge(max(known), min(known), *item[2:]) if len(known) == 2 else None,)
    found = _of_object(item, count) if isinstance(item, dict) else None
    return (None,) if found is None else found


def _edges(child: int | None, stated: Any, count: int) -> tuple[StatedEdge | None, ...]:
    """A question's dependencies. What states no parents is one None."""
    return tuple(pair and StatedEdge(child, _known(pair[0], count), pair[1]) for pair in _parents(stated))


def _states_parents(stated: Any, count: int) -> bool:
    if _is_nothing(stated):
        return True
    if isinstance(stated, list | str) and stated:
        return any(pair and _known(pair[0], count) for pair in _parents(stated))
    return isinstance(stated, dict | list)


def _parents(stated: Any) -> list[tuple[Any, Any] | None]:
    """What is named as parents, each with its confidence."""
    if _is_nothing(stated):
        return []
    if isinstance(stated, dict):
        inner = value_under(stated, _PARENTS)
        if inner is ABSENT:
            return list(stated.items())
        confidence = value_under(stated, _CONFIDENCE)
        pairs = _parents([inner] if _is_name(inner) else inner)
        return [pair and (pair[0], pair[1] if confidence is ABSENT else confidence) for pair in pairs]
    if isinstance(stated, list):
        return [_parent(item) for item in stated]
    if isinstance(stated, str) and all(map(_LABEL.fullmatch, _BETWEEN.split(stated))):
        return [(name, _CERTAIN) for name in _BETWEEN.split(stated)]
    return [None]


def _parent(item: Any) -> tuple[Any, Any] | None:
    """What an item of a list of parents names, with its confidence."""
    if isinstance(item, dict):
        confidence = value_under(item, _CONFIDENCE)
        named = value_under(item, _NAME)
        if named is not ABSENT:
            return (named, _CERTAIN if confidence is ABSENT else confidence)
        return next(iter(item.items())) if len(item) == 1 else None
    if isinstance(item, list):
        return (item[0], item[1]) if len(item) == 2 else None
    return (item, _CERTAIN) if _is_name(item) else None


def _is_nothing(stated: Any) -> bool:
    """Whether it says in place of parents that there are none: null, "none", "N/A"."""
    return stated is None or (isinstance(stated, str) and "".join(filter(str.isalnum, stated.lower())) in _NOTHING)


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _known(name: Any, count: int) -> int | None:
    """The number that names one of our questions."""
    number = number_of(str(name)) if _is_name(name) else None
    return number if number and number <= count else None
