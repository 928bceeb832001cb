"""Parses the edges in a model's reply to the request for dependencies (``prompts.edges_part``).

The prompt asks for ``{"Q1": {}, "Q2": {"Q1": 0.9}}``: each question's parents, with confidences. Other forms are
taken too (:mod:`depqa_ray.answering.dependencies`). An item that cannot be used is dropped and counted by its fault;
the others are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from depqa_ray.answering.dependencies import StatedEdge, stated_edges
from depqa_ray.answering.thoughts import without_thoughts
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

    Thoughts, code fences, words around the JSON and truncated JSON are allowed. Never raises.
    """
    stated = stated_edges(without_thoughts(text), len(question_ids))
    if stated is None:
        return ProposedEdges()
    edges: dict[tuple[str, str], Edge] = {}
    faults: Counter[str] = Counter()
    for item in stated:
        found = _edge(item, question_ids) if item else "malformed"
        if not isinstance(found, Edge):
            faults[found] += 1
        elif (found.parent, found.child) in edges:
            faults["repeated"] += 1
        else:
            edges[found.parent, found.child] = found
    return ProposedEdges(tuple(edges.values()), dict(faults), readable=True)


def _edge(stated: StatedEdge, question_ids: Sequence[str]) -> Edge | EdgeFault:
    if stated.parent is None or stated.child is None:
        return "unknown question"
    if stated.parent == stated.child:
        return "self edge"
    if isinstance(stated.confidence, bool):  # which pydantic would take for 0 and 1
        return "no confidence"
    try:
        confidence = _CONFIDENCE.validate_python(stated.confidence)
    except ValidationError as error:
        return "confidence out of range" if error.errors()[0]["type"] in _OUT_OF_RANGE else "no confidence"
    parent, child = question_ids[stated.parent - 1], question_ids[stated.child - 1]
    return Edge(parent, child, confidence, "the model says so", "model")
