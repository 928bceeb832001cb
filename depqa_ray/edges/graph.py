"""The DAG of a passage's questions: which question needs which answers.

networkx does the graph work and does not appear in the interface. "Asked order" is the order of the passage's
questions. It breaks every tie, so that the same questions and edges give the same results everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter

import networkx as nx

from depqa_ray.core import Edge


class DependencyGraph:
    """Questions (ids, in asked order) and the edges between them. Immutable.

    - A parent may be an earlier or a later question of the passage.
    - The graph is acyclic, and its nodes are exactly the questions.

    Raises ValueError if an id or an edge repeats, an edge names an unknown question or is a self-loop, or the edges
    form a cycle. Selected edges do none of this.
    """

    def __init__(self, questions: Iterable[str], edges: Iterable[Edge] = ()) -> None:
        self.questions = tuple(questions)
        self._position = {question: position for position, question in enumerate(self.questions)}
        if len(self._position) != len(self.questions):
            raise ValueError(f"a question id is repeated in {list(self.questions)}")
        self._graph: nx.DiGraph[str] = nx.DiGraph()
        self._graph.add_nodes_from(self.questions)
        for edge in edges:
            self._add(edge)
        if not nx.is_directed_acyclic_graph(self._graph):
            cycle = " -> ".join(parent for parent, _ in nx.find_cycle(self._graph))
            raise ValueError(f"the edges form a cycle: {cycle}")

    def __repr__(self) -> str:
        edges = ", ".join(f"{parent}->{child}" for child in self.questions for parent in self.parents(child))
        return f"DependencyGraph({list(self.questions)}, {edges or 'no edges'})"

    @property
    def depth(self) -> int:
        """The number of layers: questions on the longest path. 0 without questions."""
        return len(self.layers())

    @property
    def width(self) -> int:
        """The most questions in one layer. 0 without questions."""
        return max((len(layer) for layer in self.layers()), default=0)

    def parents(self, question: str) -> tuple[str, ...]:
        """The questions whose answers ``question`` needs, in asked order. Raises KeyError for an unknown id."""
        return self._in_asked_order(self._graph.pred[question])

    def children(self, question: str) -> tuple[str, ...]:
        """The questions that need the answer of ``question``, in asked order. Raises KeyError for an unknown id."""
        return self._in_asked_order(self._graph.succ[question])

    def ancestors(self, question: str) -> tuple[str, ...]:
        """All questions that ``question`` needs, directly or not, in asked order. Raises KeyError for an unknown id."""
        if question not in self._position:
            raise KeyError(question)
        return self._in_asked_order(nx.ancestors(self._graph, question))

    def layers(self) -> tuple[tuple[str, ...], ...]:
        """Longest-path layering: layer k holds the questions whose longest chain of ancestors has k questions."""
        return tuple(self._in_asked_order(layer) for layer in nx.topological_generations(self._graph))

    def topological_order(self) -> tuple[str, ...]:
        """Every question after its parents; among those that could come next, the one asked first comes first."""
        return tuple(nx.lexicographical_topological_sort(self._graph, key=self._position.__getitem__))

    def critical_path(self, work: Mapping[str, float]) -> tuple[str, ...]:
        """The chain of questions with the most work, parents first; ties go to the questions asked earlier.

        ``work`` gives each question's work in any one unit (seconds, tokens). No schedule ends before this chain does,
        even with a machine for each question. Raises KeyError if a question has no work, ValueError if it is negative.
        """
        heaviest: dict[str, tuple[float, tuple[str, ...]]] = {}  # by last question: the work of the chain, the chain
        nothing: tuple[float, tuple[str, ...]] = (0.0, ())
        for question in self.topological_order():
            if not work[question] >= 0:
                raise ValueError(f"the work of question {question} is {work[question]}, which is not a length")
            chains = (heaviest[parent] for parent in self.parents(question))
            before, path = max(chains, key=itemgetter(0), default=nothing)
            heaviest[question] = (before + work[question], (*path, question))
        return max((heaviest[question] for question in self.questions), key=itemgetter(0), default=nothing)[1]

    def critical_work(self, work: Mapping[str, float]) -> float:
        """The work on the critical path, in the unit of ``work``. Raises as :meth:`critical_path` does."""
        return float(sum(work[question] for question in self.critical_path(work)))

    def parallelism(self, work: Mapping[str, float]) -> float:
        """Total work divided by the work on the critical path (Brent's work and span); 1.0 if there is no work.

        It bounds the speed-up of any number of machines over one. Raises as :meth:`critical_path` does.
        """
        span = self.critical_work(work)
        return sum(work[question] for question in self.questions) / span if span else 1.0

    def _add(self, edge: Edge) -> None:
        for question in (edge.parent, edge.child):
            if question not in self._position:
                raise ValueError(f"edge {edge.parent} -> {edge.child} names an unknown question: {question}")
        if edge.parent == edge.child:
            raise ValueError(f"question {edge.parent} cannot depend on itself")
        if self._graph.has_edge(edge.parent, edge.child):
            raise ValueError(f"edge {edge.parent} -> {edge.child} is repeated")
        self._graph.add_edge(edge.parent, edge.child)

    def _in_asked_order(self, questions: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(questions, key=self._position.__getitem__))
