"""Edges out of a model's reply."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Edge
from depqa_ray.edges.reply import ProposedEdges, parse_edges

IDS = ("a", "b", "c")
ONE = (Edge("a", "b", 0.9, "the model says so", "model"),)


@pytest.mark.parametrize(
    "text",
    [
        '{"Q1": {}, "Q2": {"Q1": 0.9}, "Q3": {}}',
        'Here they are:\n```json\n{"Q2": {"Q1": 0.9}}\n```',
        '<think>\nQ3 needs {"Q3": {"Q2": 1.0}}?\n</think>\n\n{"q2": {" Q1": 0.9}}',
        '{"Q1": {}, "Q2": {"Q1": 0.9}, "Q3": {"Q2',
        "{'Q2': {'Q1': 0.9,},}",
        '{"Q1": "x"} {"Q2": {"Q1": "0.9"}}',
    ],
)
def test_given_an_edge_in_any_wrapping_then_it_is_read(text: str) -> None:
    found = parse_edges(text, IDS)
    assert (found.edges, found.readable) == (ONE, True)


@pytest.mark.parametrize(
    "text",
    [
        '{"Q2": ["Q1"]}',
        '{"Q1": [], "Q2": ["Q1"], "Q3": null}',
        '{"Q2": "Q1"}',
        '{"2": [1]}',
        '{"Question 2": ["question_1"]}',
        '{"Q2": {"depends_on": ["Q1"]}}',
        '{"edges": {"Q2": ["Q1"]}}',
        '{"dependencies": {"Q2": {"Q1": 1}}}',
        '[["Q1", "Q2"]]',
        '[["Q2", "Q1"]]',
        '{"edges": [["Q1", "Q2"]]}',
        '[{"from": "Q1", "to": "Q2"}]',
        '{"edges": [{"parent": "Q1", "child": "Q2"}]}',
        '[{"question": "Q1", "depends_on": []}, {"question": "Q2", "depends_on": ["Q1"]}]',
        '{"question": "Q1", "depends_on": []}\n{"question": "Q2", "depends_on": ["Q1"]}',
        "{'Q2': ['Q1']}\nQuestion: another one\n{\"Q3\": {\"Q1\": 0.2}}",
        '{"reasoning": {"Q3": ["Q2"]}, "edges": {"Q2": ["Q1"]}}',
        '[{"Q1": []}, {"Q2": ["Q1"]}, {"Q3": []}]',
        '{"Q1": {}}\n{"Q2": {"Q1": 1.0}}\n{"Q3": {}}',
        '{"Q1": "none", "Q2": "Q1", "Q3": "N/A"}',
    ],
)
def test_edge_without_a_confidence_is_certain(text: str) -> None:
    """If a reply names parents in another form, without confidences, they count as certain and nothing is dropped."""
    found = parse_edges(text, IDS)
    assert [(edge.parent, edge.child, edge.confidence) for edge in found.edges] == [("a", "b", 1.0)]
    assert (found.dropped_counts, found.readable) == ({}, True)


@pytest.mark.parametrize(
    "text",
    [
        '[{"question": "Q1", "depends_on": []}, {"question": "Q2", "depends_on": []}]',
        '{"edges": [{"id": "Q2", "parents": null}]}',
        '{"question": "Q1", "depends_on": []}\n{"question": "Q2", "depends_on": []}',
    ],
)
def test_questions_listed_without_parents_need_no_other(text: str) -> None:
    """If a list names questions and no parents of any, the reply says that none depends on another."""
    assert parse_edges(text, IDS) == ProposedEdges(readable=True)


@pytest.mark.parametrize(
    "text",
    [
        '{"Q2": [["Q1", 0.9]]}',
        '{"Q2": [{"Q1": 0.9}]}',
        '{"Q2": [{"question": "Q1", "confidence": 0.9}]}',
        '{"Q2": {"parents": ["Q1"], "confidence": 0.9}}',
        '[["Q1", "Q2", 0.9]]',
        '{"edges": [{"source": "Q1", "target": "Q2", "weight": 0.9}]}',
    ],
)
def test_confidence_is_read_where_another_form_has_it(text: str) -> None:
    """If another form states a confidence, it is read."""
    assert parse_edges(text, IDS) == ProposedEdges(ONE, readable=True)


def test_several_parents_in_one_text_are_all_read() -> None:
    """If a question's parents stand in one text, each becomes an edge."""
    found = parse_edges('{"Q3": "Q1, Q2"}', IDS)
    assert [(edge.parent, edge.child) for edge in found.edges] == [("a", "c"), ("b", "c")]


@pytest.mark.parametrize(
    "text",
    [
        '{"edges": []}',
        '{"dependencies": {}}',
        '{"Q1": null}',
        '{"Q1": [], "Q2": []}',
        '{"Q1": "none"}',
        '[{"question": "Q1", "depends_on": []}, {"question": "Q2", "depends_on": []}]',
    ],
)
def test_reply_that_states_no_parents_is_readable(text: str) -> None:
    """If a reply says in any form that nothing depends on another, it is readable."""
    assert parse_edges(text, IDS) == ProposedEdges(readable=True)


def test_cut_off_parents_are_counted_not_invented() -> None:
    """If a reply ends within a question's parents, what is cut is no parent, and is counted."""
    cut = '{"Q2": {"Q1": 0.9}, "Q3": {"Q2'
    assert parse_edges(cut, IDS) == ProposedEdges(ONE, {"malformed": 1}, readable=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        '{"answer": "x"}',
        '{"Q1": "Rome", "Q2": "1999"}',
        '{"Q1": ["Rome"]}',
        '[["a", "b"]]',
        '{"Q9": {}}',
        '<think>{"Q1": {}}',
        "[]",
    ],
)
def test_reply_about_no_question_is_unreadable(text: str) -> None:
    """If a reply says nothing about any question, it is unreadable."""
    assert parse_edges(text, IDS) == ProposedEdges()


def test_reply_without_edges_is_readable() -> None:
    """If a reply says that no question needs another, it is readable and has no edges."""
    assert parse_edges('{"Q1": {}, "Q2": {}}', IDS) == ProposedEdges(readable=True)


@pytest.mark.parametrize(
    ("stated", "fault"),
    [
        ({"Q2": {"Q9": 0.9}}, "unknown question"),
        ({"Q9": {"Q1": 0.9}}, "unknown question"),
        ({"Q2": {"Q2": 0.9}}, "self edge"),
        ({"Q2": {"Q1": None}}, "no confidence"),
        ({"Q2": {"Q1": True}}, "no confidence"),
        ({"Q2": {"Q1": "sure"}}, "no confidence"),
        ({"Q2": {"Q1": {}}}, "no confidence"),
        ({"Q2": {"Q1": float("nan")}}, "no confidence"),
        ({"Q2": {"Q1": 1.01}}, "confidence out of range"),
        ({"Q2": {"Q1": -1}}, "confidence out of range"),
        ({"Q2": ["Q9"]}, "unknown question"),
        ({"Q2": [["Q1", "sure"]]}, "no confidence"),
        ({"Q2": [{}]}, "malformed"),
        ({"Q2": "Rome"}, "malformed"),
        ({"Q2": 0.9}, "malformed"),
    ],
)
def test_given_an_item_that_cannot_be_used_then_it_is_counted(stated: dict[str, object], fault: str) -> None:
    found = parse_edges(json.dumps({"Q1": {}} | stated), IDS)
    assert (found.edges, found.dropped_counts, found.readable) == ((), {fault: 1}, True)


def test_given_a_pair_twice_then_the_first_is_kept() -> None:
    found = parse_edges('{"Q2": {"Q1": 0.9}, "q2": {"Q1": 0.3}}', IDS)
    assert (found.edges, found.dropped_counts) == (ONE, {"repeated": 1})


def test_given_a_later_parent_then_its_direction_stays() -> None:
    assert [(edge.parent, edge.child) for edge in parse_edges('{"Q1": {"Q3": 1}}', IDS).edges] == [("c", "a")]


labels = st.sampled_from(["Q1", "Q2", "Q4", "x", ""])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | labels,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(labels, inner, max_size=4),
)


@given(st.text() | st.text("{}[]\"':, Q123.<think>/", max_size=80))
def test_arbitrary_text_never_raises(text: str) -> None:
    parse_edges(text, IDS)


@given(st.dictionaries(labels, st.dictionaries(labels, json_values) | st.booleans() | st.floats(), max_size=6))
def test_every_item_becomes_an_edge_or_is_counted(stated: dict[str, object]) -> None:
    """In the form asked for, every item becomes an edge or is counted."""
    found = parse_edges(json.dumps({"Q3": {}} | stated), IDS)
    items = sum(len(value) if isinstance(value, dict) else 1 for value in stated.values())
    assert found.readable
    assert len(found.edges) + sum(found.dropped_counts.values()) == items


@given(json_values, st.integers(0, 60))
def test_any_json_is_read_without_error(stated: object, cut: int) -> None:
    """Any JSON, whole or cut, gives edges between our questions, with confidences, or none."""
    text = json.dumps(stated)
    for part in (text, text[: max(len(text) - cut, 0)]):
        for edge in parse_edges(part, IDS).edges:
            assert {edge.parent, edge.child} < set(IDS)
            assert 0 <= edge.confidence <= 1
