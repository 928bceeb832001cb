"""Where dependencies come from: the data set, the heuristic or a model's reply, and then the selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from depqa_ray.core import Edge, Passage
from depqa_ray.edges.heuristic.propose import propose_edges
from depqa_ray.edges.reply import ProposedEdges, parse_edges
from depqa_ray.edges.selection import SelectionRules, select_edges
from depqa_ray.errors import InputError
from depqa_ray.settings.load import Settings
from depqa_ray.settings.types import DependencySource


@dataclass(frozen=True, slots=True)
class EdgeSelection:
    """The edges of a passage: those that its source ``proposed``, and the ``selected`` ones, which form no cycle.

    ``dropped_counts`` counts dropped items by reason, including those that were no edges at all. If the source is the
    model and its reply was unusable, ``fallback`` says why, and the edges are the heuristic's. ``cached`` marks a reply
    of an earlier run.
    """

    source: DependencySource
    proposed: tuple[Edge, ...] = ()
    selected: tuple[Edge, ...] = ()
    dropped_counts: Mapping[str, int] = field(default_factory=dict)
    fallback: str = ""
    cached: bool = False


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


def edges_without_model(passage: Passage, source: DependencySource, rules: SelectionRules) -> EdgeSelection:
    """The edges of a source that needs no model. Raises InputError if gold edges are asked of data without any."""
    if source == "model":
        raise ValueError("the model has to be asked")
    proposed: tuple[Edge, ...] = ()
    if source != "none":
        proposed = gold_edges(passage) if source == "gold" else propose_edges(passage.questions)
    return _select(passage, source, proposed, rules)


def edges_from_reply(passage: Passage, reply: str, rules: SelectionRules, *, cached: bool = False) -> EdgeSelection:
    """The edges of a model's reply, or the heuristic's if it is unusable."""
    found = parse_edges(reply, [question.id for question in passage.questions])
    if reason := _why_unusable(found):
        return fallback_edges(passage, rules, reason, found.dropped_counts, cached=cached)
    return _select(passage, "model", found.edges, rules, found.dropped_counts, cached=cached)


def fallback_edges(
    passage: Passage,
    rules: SelectionRules,
    reason: str,
    dropped_counts: Mapping[str, int] | None = None,
    *,
    cached: bool = False,
) -> EdgeSelection:
    """The heuristic's edges; ``reason`` says why there are none of the model."""
    proposed = propose_edges(passage.questions)
    return _select(passage, "model", proposed, rules, dropped_counts, fallback=reason, cached=cached)


def _why_unusable(found: ProposedEdges) -> str:
    """Why a reply is unusable; "" if it is usable. A reply with nothing but faulty items is unusable too."""
    if not found.readable:
        return "the reply says nothing about dependencies"
    if found.dropped_counts and not found.edges:
        return f"nothing in the reply could be used ({', '.join(sorted(found.dropped_counts))})"
    return ""


def _select(
    passage: Passage,
    source: DependencySource,
    proposed: tuple[Edge, ...],
    rules: SelectionRules,
    dropped_counts: Mapping[str, int] | None = None,
    *,
    fallback: str = "",
    cached: bool = False,
) -> EdgeSelection:
    selection = select_edges(passage.questions, proposed, rules)
    counts = Counter[str](dropped_counts)
    counts.update(dropped.reason for dropped in selection.dropped)
    return EdgeSelection(source, proposed, selection.selected, dict(counts), fallback, cached)


def selection_rules(settings: Settings) -> SelectionRules:
    """The rules of the cost-aware selection, from the settings."""
    return SelectionRules(
        cost_weight=settings.cost_weight,
        min_confidence=settings.min_confidence,
        max_dependencies=settings.max_dependencies,
        total_cost_budget=settings.total_cost_budget,
    )
