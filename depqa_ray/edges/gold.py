"""Edges that the data set itself states."""

from __future__ import annotations

from depqa_ray.core import Edge, Passage
from depqa_ray.errors import InputError


def gold_edges(passage: Passage) -> tuple[Edge, ...]:
    """The passage's gold edges; empty where its data set says that no question depends on another.

    Raises InputError where the data set says nothing about dependencies: to answer "none" for it would be made up.
    """
    if passage.gold_edges is None:
        raise InputError(
            "the data set does not say which question depends on which",
            where=f"passage {passage.id}",
            fix="take the edges from the heuristic or from the model instead of the gold ones",
        )
    return passage.gold_edges
