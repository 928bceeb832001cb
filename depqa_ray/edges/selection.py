"""Cost-aware selection: which proposed edges are worth their tokens.

An edge makes its child wait for its parent, and adds a line to the child's prompt. Its score is

    score = confidence - cost_weight * cost
    cost  = tokens of the parent's question + ANSWER_TOKENS + LINE_TOKENS

Cost is in tokens, so ``cost_weight`` is the confidence that one token has to buy. At a weight of 0.01 a parent of usual
length (12 tokens, so a cost of 21) needs a confidence of 0.21: less than any sensible ``min_confidence``, which then
decides. For long parents the weight decides: beyond a cost of 45 tokens it needs more than 0.45, and beyond 100 tokens
not even a certain edge is selected.

Edges are taken greedily, best score first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import networkx as nx

from depqa_ray.core import Edge, Question

ANSWER_TOKENS: Final = 4
"""The assumed cost of an answer: SQuAD v1.1's gold answers (dev set) have 3.4 words and marks on average."""

LINE_TOKENS: Final = 5
"""The cost of the line that shows a parent, without question and answer: "Known", "Answer", two colons, line end."""

DropReason = Literal[
    "duplicate", "low confidence", "costs too much", "too many parents", "closes a cycle", "over budget"
]

_PIECES = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class SelectionRules:
    """The limits of a selection.

    - ``cost_weight``: the confidence that a token has to buy, at least 0
    - ``min_confidence``: in [0, 1]
    - ``max_dependencies``: the most parents of a question
    - ``total_cost_budget``: the most tokens that all selected edges of a passage may cost; None for no limit

    Raises ValueError if a value is out of range.
    """

    cost_weight: float
    min_confidence: float
    max_dependencies: int
    total_cost_budget: int | None

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence must be between 0 and 1, not {self.min_confidence}")
        for name in ("cost_weight", "max_dependencies", "total_cost_budget"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be at least 0, not {value}")


@dataclass(frozen=True, slots=True)
class DroppedEdge:
    """A proposed edge that was not selected, and why."""

    edge: Edge
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Selection:
    """Selected and dropped edges; together they are the proposed ones, unchanged.

    ``selected`` is in the order of the children, then of the parents, as asked, and forms no cycle. ``dropped`` is in
    the order of judgement. ``cost`` is that of all selected edges, in tokens.
    """

    selected: tuple[Edge, ...]
    dropped: tuple[DroppedEdge, ...]
    cost: int


def estimate_tokens(text: str) -> int:
    """Words and punctuation marks. An estimate: a real tokenizer splits rare words, so it counts a little more."""
    return len(_PIECES.findall(text))


def select_edges(
    questions: Sequence[Question],
    edges: Iterable[Edge],
    rules: SelectionRules,
    count_tokens: Callable[[str], int] = estimate_tokens,
) -> Selection:
    """Select the edges of a passage that are worth their cost and within the rules.

    ``questions`` are the passage's, in asked order. The order of ``edges`` does not matter: equal scores go by the
    order of the parents, then of the children. A pair that was proposed twice is selected once, at its higher
    confidence. Raises ValueError if an edge names a question that is not among ``questions``.
    """
    position = {question.id: place for place, question in enumerate(questions)}
    overhead = ANSWER_TOKENS + LINE_TOKENS
    cost = {question.id: count_tokens(question.text) + overhead for question in questions}
    edges = list(edges)
    for edge in edges:
        if edge.parent not in position or edge.child not in position:
            raise ValueError(f"edge {edge.parent} -> {edge.child} names a question that the passage does not ask")

    def rank(edge: Edge) -> tuple[float, int, int, str, str]:
        score = edge.confidence - rules.cost_weight * cost[edge.parent]
        return (-score, position[edge.parent], position[edge.child], edge.origin, edge.rationale)

    selector = _GreedySelector(rules)
    for edge in sorted(edges, key=rank):
        selector.consider(edge, cost[edge.parent])
    selected = sorted(selector.selected, key=lambda edge: (position[edge.child], position[edge.parent]))
    return Selection(tuple(selected), tuple(selector.dropped), selector.cost)


@dataclass(slots=True)
class _GreedySelector:
    """The edges judged so far. ``graph`` holds the selected ones and is acyclic; ``cost`` is their cost together."""

    rules: SelectionRules
    selected: list[Edge] = field(default_factory=list)
    dropped: list[DroppedEdge] = field(default_factory=list)
    cost: int = 0
    budget_closed: bool = False
    seen: set[tuple[str, str]] = field(default_factory=set)
    graph: nx.DiGraph[str] = field(default_factory=nx.DiGraph)

    def consider(self, edge: Edge, cost: int) -> None:
        """Select the edge, or drop it with its reason. Edges must come best score first."""
        self.graph.add_nodes_from((edge.parent, edge.child))
        reason = self._rejection_reason(edge, cost)
        self.seen.add((edge.parent, edge.child))
        if reason is not None:
            self.dropped.append(DroppedEdge(edge, reason))
            return
        self.graph.add_edge(edge.parent, edge.child)
        self.selected.append(edge)
        self.cost += cost

    def _rejection_reason(self, edge: Edge, cost: int) -> DropReason | None:
        if (edge.parent, edge.child) in self.seen:
            return "duplicate"
        if edge.confidence < self.rules.min_confidence:
            return "low confidence"
        if edge.confidence - self.rules.cost_weight * cost <= 0:
            return "costs too much"
        if self.graph.in_degree(edge.child) >= self.rules.max_dependencies:
            return "too many parents"
        if nx.has_path(self.graph, edge.child, edge.parent):
            return "closes a cycle"
        # The first edge that does not fit closes the budget, even if a cheaper one would fit: so a larger budget only
        # adds edges, and never trades one for another.
        budget = self.rules.total_cost_budget
        self.budget_closed = self.budget_closed or (budget is not None and self.cost + cost > budget)
        return "over budget" if self.budget_closed else None
