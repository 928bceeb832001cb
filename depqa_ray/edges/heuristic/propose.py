"""Edges proposed from the English wording of the questions alone, without a model.

Four signs, from the surest to the weakest: a number or place, a demonstrative with its noun, a wording that sums up, a
pronoun. Each lives in a module of its own. A later question may need an earlier one, never the other way round. Whole
words only; the same questions give the same edges.
"""

from __future__ import annotations

from collections.abc import Sequence

from depqa_ray.core import Edge, Question
from depqa_ray.edges.heuristic.aggregates import guess_aggregates
from depqa_ray.edges.heuristic.demonstratives import guess_demonstratives
from depqa_ray.edges.heuristic.ordinals import guess_numbered
from depqa_ray.edges.heuristic.pronouns import guess_pronouns
from depqa_ray.edges.heuristic.proposal import Guess
from depqa_ray.edges.heuristic.question import Reading, read_question


def propose_edges(questions: Sequence[Question]) -> tuple[Edge, ...]:
    """The edges that the wording suggests, in the order of the children, then of the parents; each pair at most once.

    ``questions`` are a passage's, in asked order. Of several signs for one pair the surest is kept. Confidences are
    rough ranks, not measured frequencies: about 0.95 for a number, 0.75 to 0.9 for a demonstrative, 0.1 to 0.85 for a
    question that sums up (by shared key words), and for a pronoun 0.6 for the question right before, less for others.
    """
    readings = [read_question(question.text) for question in questions]
    return tuple(
        Edge(questions[guess.parent].id, question.id, guess.confidence, guess.rationale, "heuristic")
        for position, question in enumerate(questions)
        for guess in _surest(_guesses(question.text, readings[position], readings[:position]))
    )


def _guesses(text: str, reading: Reading, earlier: Sequence[Reading]) -> list[Guess]:
    return [
        *guess_numbered(text, len(earlier)),
        *guess_demonstratives(reading, earlier),
        *guess_aggregates(text, reading, earlier),
        *guess_pronouns(reading, earlier),
    ]


def _surest(guesses: Sequence[Guess]) -> list[Guess]:
    """The surest guess for each parent, in the order of the parents."""
    best: dict[int, Guess] = {}
    for guess in guesses:
        if guess.parent not in best or guess.confidence > best[guess.parent].confidence:
            best[guess.parent] = guess
    return [best[parent] for parent in sorted(best)]
