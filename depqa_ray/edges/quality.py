"""How well proposed edges match the gold ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from operator import add

from depqa_ray.core import Edge


@dataclass(frozen=True, slots=True)
class EdgeQuality:
    """Counts over one passage; ``sum(..., EdgeQuality())`` gives the figures over many.

    ``matched`` edges are both proposed and gold. ``right_questions`` have exactly their gold parents. Ratios are in
    [0, 1], and 1.0 if their denominator is 0.
    """

    matched: int = 0
    proposed: int = 0
    gold: int = 0
    right_questions: int = 0
    questions: int = 0

    def __add__(self, other: EdgeQuality) -> EdgeQuality:
        return EdgeQuality(*map(add, astuple(self), astuple(other)))

    @property
    def precision(self) -> float:
        """The share of the proposed edges that are gold."""
        return _ratio(self.matched, self.proposed)

    @property
    def recall(self) -> float:
        """The share of the gold edges that were proposed."""
        return _ratio(self.matched, self.gold)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 2 x matched / (proposed + gold)."""
        return _ratio(2 * self.matched, self.proposed + self.gold)

    @property
    def right_share(self) -> float:
        """The share of the questions with exactly their gold parents."""
        return _ratio(self.right_questions, self.questions)


def edge_quality(questions: Sequence[str], proposed: Iterable[Edge], gold: Iterable[Edge]) -> EdgeQuality:
    """Compare the proposed edges of a passage (question ids) with its gold edges; only parent and child count."""
    proposed_pairs = {(edge.parent, edge.child) for edge in proposed}
    gold_pairs = {(edge.parent, edge.child) for edge in gold}
    wrong_children = {child for _, child in proposed_pairs ^ gold_pairs}
    return EdgeQuality(
        matched=len(proposed_pairs & gold_pairs),
        proposed=len(proposed_pairs),
        gold=len(gold_pairs),
        right_questions=sum(question not in wrong_children for question in questions),
        questions=len(questions),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
