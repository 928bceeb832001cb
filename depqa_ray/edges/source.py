"""The edges of a passage, from the source that the user named to the ones worth their tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from depqa_ray.core import Edge, Passage
from depqa_ray.edges.gold import gold_edges
from depqa_ray.edges.heuristic.propose import propose_edges
from depqa_ray.edges.reply import ProposedEdges, parse_edges
from depqa_ray.edges.selection import SelectionRules, select_edges
from depqa_ray.settings.load import Settings
from depqa_ray.settings.types import DependencySource


@dataclass(frozen=True, slots=True)
class EdgeSelection:
    """The edges of a passage: those that its source ``proposed``, and the ``selected`` ones, which form no cycle.

    ``dropped_counts`` says how many items were dropped for which reason, those that were no edges at all included.
    Where the source is the model and gave nothing that could be used, ``fallback`` says why, and the edges are the
    heuristic's. ``cached`` marks a reply that was kept from an earlier run.
    """

    source: DependencySource
    proposed: tuple[Edge, ...] = ()
    selected: tuple[Edge, ...] = ()
    dropped_counts: Mapping[str, int] = field(default_factory=dict)
    fallback: str = ""
    cached: bool = False


def edges_without_model(passage: Passage, source: DependencySource, rules: SelectionRules) -> EdgeSelection:
    """The edges of a source that needs no model. Raises InputError where gold edges are asked of data without any."""
    if source == "model":
        raise ValueError("the model has to be asked")
    proposed: tuple[Edge, ...] = ()
    if source != "none":
        proposed = gold_edges(passage) if source == "gold" else propose_edges(passage.questions)
    return _choose(passage, source, proposed, rules)


def edges_from_reply(passage: Passage, reply: str, rules: SelectionRules, *, cached: bool = False) -> EdgeSelection:
    """The edges of a model's reply, or the heuristic's where nothing in it could be used."""
    found = parse_edges(reply, [question.id for question in passage.questions])
    if trouble := _trouble(found):
        return fallback_edges(passage, rules, trouble, found.dropped_counts, cached=cached)
    return _choose(passage, "model", found.edges, rules, found.dropped_counts, cached=cached)


def fallback_edges(
    passage: Passage,
    rules: SelectionRules,
    reason: str,
    dropped_counts: Mapping[str, int] | None = None,
    *,
    cached: bool = False,
) -> EdgeSelection:
    """The heuristic's edges, since the model's could not be had for that reason."""
    proposed = propose_edges(passage.questions)
    return _choose(passage, "model", proposed, rules, dropped_counts or {}, fallback=reason, cached=cached)


def _trouble(found: ProposedEdges) -> str:
    """Why a reply cannot be used; "" where it can. Nothing but faulty items is no answer either."""
    if not found.readable:
        return "the reply says nothing about dependencies"
    if found.dropped_counts and not found.edges:
        return f"nothing in the reply could be used ({', '.join(sorted(found.dropped_counts))})"
    return ""


def _choose(
    passage: Passage,
    source: DependencySource,
    proposed: Iterable[Edge],
    rules: SelectionRules,
    dropped_counts: Mapping[str, int] | None = None,
    *,
    fallback: str = "",
    cached: bool = False,
) -> EdgeSelection:
    proposed = tuple(proposed)
    selection = select_edges(passage.questions, proposed, rules)
    counts: Counter[str] = Counter(dropped_counts or {})
    counts.update(dropped.reason for dropped in selection.dropped)
    return EdgeSelection(source, proposed, selection.selected, dict(counts), fallback, cached)


def selection_rules(settings: Settings) -> SelectionRules:
    """The rules of the cost-aware selection, as the settings have them."""
    return SelectionRules(
        cost_weight=settings.cost_weight,
        min_confidence=settings.min_confidence,
        max_dependencies=settings.max_dependencies,
        total_cost_budget=settings.total_cost_budget,
    )
