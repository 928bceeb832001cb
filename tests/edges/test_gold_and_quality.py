"""Gold edges, and how proposed ones compare with them."""

from __future__ import annotations

import pytest

from depqa_ray.core import Edge, Passage, Question
from depqa_ray.edges.quality import EdgeQuality, edge_quality
from depqa_ray.edges.source import gold_edges
from depqa_ray.errors import InputError


def passage(gold: tuple[Edge, ...] | None) -> Passage:
    return Passage("p1", "title", "text", (Question("a", "Who?", ("x",)),), gold)


def edges(*pairs: str) -> list[Edge]:
    return [Edge(*pair) for pair in pairs]


def test_gold_edges_are_returned() -> None:
    """If a passage has gold edges, they are returned."""
    assert gold_edges(passage((Edge("a", "b"),))) == (Edge("a", "b"),)
    assert gold_edges(passage(())) == ()


def test_error_for_missing_gold_edges_says_what_to_do() -> None:
    """If the data set has no gold edges, the error says where else edges can come from."""
    with pytest.raises(InputError, match=r"p1: .* heuristic or from the model"):
        gold_edges(passage(None))


def test_quality_has_the_ratios_of_right_edges() -> None:
    """If some edges are right, the ratios give their shares."""
    quality = edge_quality("abcd", edges("ab", "ac", "bd"), edges("ab", "ad"))
    assert quality == EdgeQuality(matched=1, proposed=3, gold=2, right_questions=2, questions=4)
    assert (quality.precision, quality.recall) == (pytest.approx(1 / 3), 0.5)
    assert (quality.f1, quality.right_share) == (pytest.approx(0.4), 0.5)


def test_quality_without_edges_is_1() -> None:
    """If there are neither proposed nor gold edges, every ratio is 1."""
    quality = edge_quality("ab", [], [])
    assert (quality.precision, quality.recall, quality.f1, quality.right_share) == (1.0, 1.0, 1.0, 1.0)


def test_given_several_passages_then_their_counts_add_up() -> None:
    parts = [edge_quality("ab", edges("ab"), edges("ab")), edge_quality("ab", [], edges("ab"))]
    assert sum(parts, EdgeQuality()) == EdgeQuality(matched=1, proposed=1, gold=2, right_questions=3, questions=4)


def test_given_other_confidences_then_the_edge_is_still_the_same() -> None:
    assert edge_quality("ab", [Edge("a", "b", 0.5, "why", "model")], edges("ab")).f1 == 1.0
