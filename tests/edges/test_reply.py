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
    "text", ["", "none", '{"answer": "x"}', '{"Q1": "Rome", "Q2": "1999"}', '{"Q9": {}}', '<think>{"Q1": {}}', "[]"]
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
        ({"Q2": ["Q1"]}, "malformed"),
        ({"Q2": "Q1"}, "malformed"),
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


@given(st.dictionaries(labels, json_values | st.dictionaries(labels, st.floats()), max_size=6), st.integers(0, 60))
def test_every_item_becomes_an_edge_or_is_counted(stated: dict[str, object], cut: int) -> None:
    text = json.dumps({"Q3": {}} | stated)
    found = parse_edges(text, IDS)
    items = sum(len(value) if isinstance(value, dict) else 1 for value in stated.values())
    assert found.readable
    assert len(found.edges) + sum(found.dropped_counts.values()) == items
    parse_edges(text[: max(len(text) - cut, 0)], IDS)
