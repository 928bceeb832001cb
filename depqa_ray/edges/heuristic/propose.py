"""Proposes edges from the English wording of the questions alone, without a model.

- A later question may need an earlier one, never the other way round.
- Only whole words count, and the same questions give the same edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from depqa_ray.core import Edge, Question
from depqa_ray.edges.heuristic.aggregates import propose_from_aggregates
from depqa_ray.edges.heuristic.demonstratives import propose_from_demonstratives
from depqa_ray.edges.heuristic.ordinals import propose_from_ordinals
from depqa_ray.edges.heuristic.pronouns import propose_from_pronouns
from depqa_ray.edges.heuristic.question import ParsedQuestion, Proposal, parse_question

_SIGNS: Final = (propose_from_ordinals, propose_from_demonstratives, propose_from_aggregates, propose_from_pronouns)


def propose_edges(questions: Sequence[Question]) -> tuple[Edge, ...]:
    """The edges that the wording suggests, in the order of the children, then of the parents; each pair at most once.

    ``questions`` are a passage's, in asked order. If a pair has several signs, the surest counts. Confidences are rough
    ranks, not measured frequencies: 0.95 for an ordinal, 0.75 to 0.9 for a demonstrative, 0.05 to 0.8 for an aggregate
    (by shared key words), 0.1 to 0.6 for a pronoun (by distance).
    """
    parsed = [parse_question(question.text) for question in questions]
    return tuple(
        Edge(questions[proposal.parent].id, question.id, proposal.confidence, proposal.rationale, "heuristic")
        for position, question in enumerate(questions)
        for proposal in _surest(parsed[position], parsed[:position])
    )


def _surest(question: ParsedQuestion, earlier: Sequence[ParsedQuestion]) -> Iterable[Proposal]:
    """The surest proposal for each parent, in the order of the parents; of equals, that of the first sign."""
    proposals = [proposal for propose in _SIGNS for proposal in propose(question, earlier)]
    surest: dict[int, Proposal] = {}
    for proposal in sorted(proposals, key=lambda one: (one.parent, -one.confidence)):
        surest.setdefault(proposal.parent, proposal)
    return surest.values()
