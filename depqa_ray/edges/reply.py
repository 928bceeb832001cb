"""Parses the edges in a model's reply to the request for dependencies (``prompts.edges_part``).

The prompt asks for ``{"Q1": {}, "Q2": {"Q1": 0.9}}``: each question's parents, with confidences. An item that cannot be
used is dropped and counted by its fault; the others are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from depqa_ray.answering.json_objects import json_objects, without_thinking
from depqa_ray.answering.prompts import labels
from depqa_ray.core import Edge

EdgeFault = Literal[
    "malformed", "unknown question", "self edge", "no confidence", "confidence out of range", "repeated"
]
"""Why an item of a reply is no edge at all.

:data:`~depqa_ray.edges.selection.DropReason` is why the selection drops an edge. ``EdgeSelection.dropped_counts``
counts faults and reasons together, as plain texts, so no text may be in both.
"""

_CONFIDENCE: Final[TypeAdapter[float]] = TypeAdapter(Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)])
_OUT_OF_RANGE: Final = ("greater_than_equal", "less_than_equal")


@dataclass(frozen=True, slots=True)
class ProposedEdges:
    """The usable edges of a reply, in its order, and the number of dropped items by :data:`EdgeFault`.

    A parent may be a later question, and the edges may form cycles: the selection breaks them. ``readable`` is False if
    the reply states the parents of no question; an empty set of parents counts as stated.
    """

    edges: tuple[Edge, ...] = ()
    dropped_counts: Mapping[str, int] = field(default_factory=dict)
    readable: bool = False


def parse_edges(text: str, question_ids: Sequence[str]) -> ProposedEdges:
    """The edges that a model's reply states. ``question_ids`` are in the order of the prompt's labels.

    Thinking, code fences, words around the JSON and truncated JSON are allowed. Never raises.
    """
    by_label = dict(zip(labels(len(question_ids)), question_ids, strict=True))
    stated = _stated(text, by_label)
    if stated is None:
        return ProposedEdges()
    edges: dict[tuple[str, str], Edge] = {}
    faults: Counter[str] = Counter()
    for found in _items(stated, by_label):
        if not isinstance(found, Edge):
            faults[found] += 1
        elif (found.parent, found.child) in edges:
            faults["repeated"] += 1
        else:
            edges[found.parent, found.child] = found
    return ProposedEdges(tuple(edges.values()), dict(faults), readable=True)


def _stated(text: str, by_label: Mapping[str, str]) -> dict[str, Any] | None:
    """The first object of the text that states the parents of one of our questions."""
    for found in json_objects(without_thinking(text)):
        if any(_known(key, by_label) and isinstance(value, dict) for key, value in found.items()):
            return found
    return None


def _items(stated: Mapping[str, Any], by_label: Mapping[str, str]) -> Iterator[Edge | EdgeFault]:
    """Each stated dependency as an edge or its fault. A value that is no object counts as one item."""
    for name, value in stated.items():
        if not isinstance(value, dict):
            yield "malformed"
            continue
        child = _known(name, by_label)
        for parent, confidence in value.items():
            yield _edge(_known(parent, by_label), child, confidence)


def _edge(parent: str | None, child: str | None, stated: Any) -> Edge | EdgeFault:
    if parent is None or child is None:
        return "unknown question"
    if parent == child:
        return "self edge"
    if isinstance(stated, bool):  # which pydantic would take for 0 and 1
        return "no confidence"
    try:
        confidence = _CONFIDENCE.validate_python(stated)
    except ValidationError as error:
        return "confidence out of range" if error.errors()[0]["type"] in _OUT_OF_RANGE else "no confidence"
    return Edge(parent, child, confidence, "the model says so", "model")


def _known(name: str, by_label: Mapping[str, str]) -> str | None:
    """The id of the question that the label names."""
    return by_label.get(name.strip().upper())
