"""The edges that the data set states."""

from __future__ import annotations

from depqa_ray.core import Edge, Passage
from depqa_ray.errors import InputError


def gold_edges(passage: Passage) -> tuple[Edge, ...]:
    """The passage's gold edges; empty if the data set states that no question depends on another.

    Raises InputError if the data set does not state dependencies: "none" would be an invention.
    """
    if passage.gold_edges is None:
        raise InputError(
            "the data set does not say which question depends on which",
            where=f"passage {passage.id}",
            fix="take the edges from the heuristic or from the model instead of the gold ones",
        )
    return passage.gold_edges
