"""Edges read out of a model's reply to the request for the dependencies (``prompts.edges_part``).

The reply that was asked for is ``{"edges": [["Q1", "Q2", 0.9]]}``. What a model really writes is taken item by item:
what cannot be used is dropped and counted, the rest is kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from depqa_ray.answering.json_objects import json_objects, without_thinking
from depqa_ray.answering.prompts import label
from depqa_ray.models import Edge

EdgeFault = Literal[
    "malformed", "unknown question", "self edge", "no confidence", "confidence out of range", "repeated"
]


@dataclass(frozen=True, slots=True)
class ProposedEdges:
    """The usable edges of a reply, in its order, and how many items were dropped for which fault.

    Edges may run from a later question to an earlier one, and may form cycles: the selection deals with those.
    ``readable`` is False where the reply holds no list of edges at all; "no edges" in a readable reply is an answer.
    """

    edges: tuple[Edge, ...] = ()
    dropped_counts: Mapping[EdgeFault, int] = field(default_factory=dict)
    readable: bool = False


def parse_edges(text: str, question_ids: Sequence[str]) -> ProposedEdges:
    """The edges that a model's reply states between questions, whose ids stand in the order of the prompt's labels.

    Thinking, code fences, words around the JSON and JSON that breaks off are coped with. Never raises.
    """
    items = _listed_edges(text)
    if items is None:
        return ProposedEdges()
    by_label = {label(position): id_ for position, id_ in enumerate(question_ids)}
    edges: dict[tuple[str, str], Edge] = {}
    faults: Counter[EdgeFault] = Counter()
    for item in items:
        edge = _read_item(item, by_label)
        if not isinstance(edge, Edge):
            faults[edge] += 1
        elif (edge.parent, edge.child) in edges:
            faults["repeated"] += 1
        else:
            edges[edge.parent, edge.child] = edge
    return ProposedEdges(tuple(edges.values()), dict(faults), readable=True)


def _listed_edges(text: str) -> list[Any] | None:
    """The list under "edges" of the first object that has one."""
    objects: Iterable[dict[str, Any]] = json_objects(without_thinking(text))
    return next((found["edges"] for found in objects if isinstance(found.get("edges"), list)), None)


def _read_item(item: Any, by_label: Mapping[str, str]) -> Edge | EdgeFault:
    if not isinstance(item, list) or not 2 <= len(item) <= 3 or not all(isinstance(name, str) for name in item[:2]):
        return "malformed"
    parent, child = (by_label.get(name.strip().upper()) for name in item[:2])
    if parent is None or child is None:
        return "unknown question"
    if parent == child:
        return "self edge"
    if len(item) == 2:
        return "no confidence"
    confidence = _number(item[2])
    if confidence is None:
        return "no confidence"
    if not 0 <= confidence <= 1:
        return "confidence out of range"
    return Edge(parent, child, confidence, "the model says so", "model")


def _number(value: Any) -> float | None:
    """A finite or infinite number, as the finder gives it (a text) or as the repair does; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number
