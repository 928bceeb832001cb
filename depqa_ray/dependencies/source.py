"""The edges of a passage, from the source that the user named to the ones worth their tokens."""

from __future__ import annotations

from depqa_ray.config import DependencySource, Settings
from depqa_ray.dependencies.gold import gold_edges
from depqa_ray.dependencies.heuristic import propose_edges
from depqa_ray.dependencies.selection import Selection, SelectionRules, select_edges
from depqa_ray.models import Edge, Passage


def proposed_edges(passage: Passage, source: DependencySource) -> tuple[Edge, ...]:
    """All edges that the source knows or guesses; "auto" is gold where the data set states edges, else heuristic.

    Raises InputError where gold edges are asked of a data set that states none.
    """
    if source == "none":
        return ()
    if source == "gold" or (source == "auto" and passage.gold_edges is not None):
        return gold_edges(passage)
    return propose_edges(passage.questions)


def selection_rules(settings: Settings) -> SelectionRules:
    """The rules of the cost-aware selection, as the settings have them."""
    return SelectionRules(
        cost_weight=settings.cost_weight,
        min_confidence=settings.min_confidence,
        max_dependencies=settings.max_dependencies,
        total_cost_budget=settings.total_cost_budget,
    )


def choose_edges(passage: Passage, settings: Settings) -> Selection:
    """Propose the passage's edges and select among them, all as the settings say."""
    proposed = proposed_edges(passage, settings.dependency_source)
    return select_edges(passage.questions, proposed, selection_rules(settings))
