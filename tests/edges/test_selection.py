"""Which edges are worth their tokens."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Edge, Question
from depqa_ray.edges.graph import DependencyGraph
from depqa_ray.edges.selection import (
    ANSWER_TOKENS,
    LINE_TOKENS,
    Selection,
    SelectionRules,
    estimate_tokens,
    select_edges,
)
from depqa_ray.edges.source import gold_edges, selection_rules
from depqa_ray.passages.synthetic.worlds import generate_worlds
from depqa_ray.settings.load import Settings

QUESTIONS = [Question(id_, "Who?", ("x",)) for id_ in "abcde"]
COST = 2 + ANSWER_TOKENS + LINE_TOKENS


def rules(
    cost_weight: float = 0.01, min_confidence: float = 0.45, max_dependencies: int = 3, budget: int | None = None
) -> SelectionRules:
    return SelectionRules(cost_weight, min_confidence, max_dependencies, budget)


def reasons(selection: Selection) -> dict[str, str]:
    return {dropped.edge.parent + dropped.edge.child: dropped.reason for dropped in selection.dropped}


def pairs(selection: Selection) -> list[str]:
    return [edge.parent + edge.child for edge in selection.selected]


edges_of_all_kinds = st.lists(
    st.builds(
        Edge,
        st.sampled_from("abcde"),
        st.sampled_from("abcde"),
        st.sampled_from([0.0, 0.2, 0.5, 0.5, 0.8, 1.0]),
        st.sampled_from(["", "why"]),
        st.sampled_from(["heuristic", "model"]),
    ),
    max_size=14,
)
all_rules = st.builds(
    rules,
    st.sampled_from([0.0, 0.01, 0.05]),
    st.sampled_from([0.0, 0.45, 0.9]),
    st.integers(0, 3),
    st.none() | st.integers(0, 80),
)


def test_confident_edge_is_kept_unchanged() -> None:
    """If an edge has enough confidence, it is kept unchanged."""
    edge = Edge("a", "b", 0.9, "says so", "model")
    assert select_edges(QUESTIONS, [edge], rules()) == Selection((edge,), (), COST)


def test_edge_of_low_confidence_is_dropped() -> None:
    """If an edge has low confidence, it is dropped."""
    assert reasons(select_edges(QUESTIONS, [Edge("a", "b", 0.44)], rules())) == {"ab": "low confidence"}


def test_edge_of_a_long_parent_needs_more_confidence() -> None:
    """If a parent is long, its edge needs more confidence."""
    questions = [Question("a", "word " * 60, ()), QUESTIONS[1]]
    assert reasons(select_edges(questions, [Edge("a", "b", 0.6)], rules())) == {"ab": "costs too much"}
    assert pairs(select_edges(questions, [Edge("a", "b", 0.8)], rules())) == ["ab"]


def test_parents_of_most_confidence_stay_if_too_many() -> None:
    """If a question has too many parents, those of most confidence stay."""
    edges = [Edge("a", "d", 0.6), Edge("b", "d", 0.9), Edge("c", "d", 0.8)]
    selection = select_edges(QUESTIONS, edges, rules(max_dependencies=2))
    assert (pairs(selection), reasons(selection)) == (["bd", "cd"], {"ad": "too many parents"})


def test_given_a_cycle_then_its_weakest_edge_is_dropped() -> None:
    edges = [Edge("a", "b", 0.9), Edge("b", "c", 0.5), Edge("c", "a", 0.8), Edge("d", "d", 1.0)]
    selection = select_edges(QUESTIONS, edges, rules())
    assert (pairs(selection), reasons(selection)) == (["ca", "ab"], {"bc": "closes a cycle", "dd": "closes a cycle"})


def test_repeated_edge_of_more_confidence_is_kept() -> None:
    """If a pair comes twice, the edge of more confidence is kept."""
    selection = select_edges(QUESTIONS, [Edge("a", "b", 0.5), Edge("a", "b", 0.7)], rules())
    assert [edge.confidence for edge in selection.selected] == [0.7]
    assert reasons(selection) == {"ab": "duplicate"}


def test_budget_is_closed_by_the_first_edge_that_does_not_fit() -> None:
    """If an edge does not fit into the budget, it closes the budget for all later ones."""
    questions = [QUESTIONS[0], Question("b", "one two three four five", ()), *QUESTIONS[2:]]
    edges = [Edge("a", "c", 0.9), Edge("b", "c", 0.9), Edge("a", "d", 0.5)]
    selection = select_edges(questions, edges, rules(budget=2 * COST))
    assert (pairs(selection), selection.cost) == (["ac"], COST)
    assert reasons(selection) == {"bc": "over budget", "ad": "over budget"}


def test_custom_counter_gives_the_costs() -> None:
    """If a counter of tokens is given, it gives the costs."""
    assert select_edges(QUESTIONS, [Edge("a", "b")], rules(), lambda text: 7).cost == 7 + ANSWER_TOKENS + LINE_TOKENS


def test_given_an_unknown_question_then_selecting_fails() -> None:
    with pytest.raises(ValueError, match="does not ask"):
        select_edges(QUESTIONS, [Edge("a", "x")], rules())


@pytest.mark.parametrize("values", [(-0.1, 0.5, 1, None), (0.1, 1.5, 1, None), (0.1, 0.5, -1, None), (0.1, 0.5, 1, -1)])
def test_given_a_rule_out_of_range_then_it_is_refused(values: tuple[float, float, int, int | None]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SelectionRules(*values)


def test_token_estimate_counts_words_and_marks() -> None:
    """The estimate of tokens counts the words and marks of a text."""
    assert estimate_tokens("Who founded St. Ives, then?") == 8


def test_default_settings_keep_all_gold_edges_of_worlds() -> None:
    """With the default settings, selection keeps all gold edges of worlds."""
    defaults = selection_rules(Settings())
    for passage in generate_worlds(200, seed=5):
        assert not select_edges(passage.questions, gold_edges(passage), defaults).dropped


@given(edges_of_all_kinds, all_rules)
def test_the_rules_always_hold_and_no_edge_is_lost(edges: list[Edge], limits: SelectionRules) -> None:
    selection = select_edges(QUESTIONS, edges, limits)
    made = DependencyGraph("abcde", selection.selected)  # raises on a cycle or a pair kept twice

    assert all(len(made.parents(question)) <= limits.max_dependencies for question in "abcde")
    assert all(edge.confidence >= limits.min_confidence for edge in selection.selected)
    assert all(edge.confidence > limits.cost_weight * COST for edge in selection.selected)
    assert selection.cost == COST * len(selection.selected)
    assert limits.total_cost_budget is None or selection.cost <= limits.total_cost_budget
    assert sorted(map(repr, edges)) == sorted(
        map(repr, [*selection.selected, *(drop.edge for drop in selection.dropped)])
    )


@given(edges_of_all_kinds, all_rules, st.integers())
def test_the_order_of_the_proposals_does_not_matter(edges: list[Edge], limits: SelectionRules, seed: int) -> None:
    shuffled = random.Random(seed).sample(edges, len(edges))
    assert select_edges(QUESTIONS, shuffled, limits) == select_edges(QUESTIONS, edges, limits)


@given(edges_of_all_kinds, st.integers(0, 60), st.integers(0, 60))
def test_a_larger_budget_only_adds_edges(edges: list[Edge], budget: int, more: int) -> None:
    small = select_edges(QUESTIONS, edges, rules(budget=budget))
    large = select_edges(QUESTIONS, edges, rules(budget=budget + more))
    assert set(small.selected) <= set(large.selected)
