"""Edges out of a model's reply."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.dependencies.model import ProposedEdges, parse_edges
from depqa_ray.models import Edge

IDS = ("a", "b", "c")
ONE = (Edge("a", "b", 0.9, "the model says so", "model"),)


@pytest.mark.parametrize(
    "text",
    [
        '{"edges": [["Q1", "Q2", 0.9]]}',
        'Here they are:\n```json\n{"edges": [["Q1", "Q2", 0.9]]}\n```',
        '<think>\nQ3 needs {"edges": [["Q2", "Q3", 1.0]]}?\n</think>\n\n{"edges": [["q1", " Q2", 0.9]]}',
        '{"edges": [["Q1", "Q2", 0.9], ["Q2',
        "{'edges': [['Q1', 'Q2', 0.9],]}",
        '{"answer": "x"} {"edges": [["Q1", "Q2", "0.9"]]}',
    ],
)
def test_given_an_edge_in_any_wrapping_then_it_is_read(text: str) -> None:
    found = parse_edges(text, IDS)
    assert (found.edges, found.readable) == (ONE, True)


@pytest.mark.parametrize("text", ["", "none", '{"answer": "x"}', '{"edges": "none"}', '<think>{"edges": []}'])
def test_given_no_list_of_edges_then_the_reply_is_unreadable(text: str) -> None:
    assert parse_edges(text, IDS) == ProposedEdges()


def test_given_an_empty_list_then_that_is_an_answer() -> None:
    assert parse_edges('{"edges": []}', IDS) == ProposedEdges(readable=True)


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (["Q1", "Q9", 0.9], "unknown question"),
        (["Q2", "Q2", 0.9], "self edge"),
        (["Q1", "Q2"], "no confidence"),
        (["Q1", "Q2", None], "no confidence"),
        (["Q1", "Q2", True], "no confidence"),
        (["Q1", "Q2", "sure"], "no confidence"),
        (["Q1", "Q2", float("nan")], "no confidence"),
        (["Q1", "Q2", 1.01], "confidence out of range"),
        (["Q1", "Q2", -1], "confidence out of range"),
        (["Q1", "Q2", 0.5, 4], "malformed"),
        (["Q1"], "malformed"),
        ([1, 2, 0.5], "unknown question"),
        ({"from": "Q1"}, "malformed"),
        ("Q1", "malformed"),
    ],
)
def test_given_an_item_that_cannot_be_used_then_it_is_counted(item: object, fault: str) -> None:
    found = parse_edges(json.dumps({"edges": [item]}), IDS)
    assert (found.edges, found.dropped_counts, found.readable) == ((), {fault: 1}, True)


def test_given_a_pair_twice_then_the_first_is_kept() -> None:
    found = parse_edges('{"edges": [["Q1", "Q2", 0.9], ["Q1", "Q2", 0.3]]}', IDS)
    assert (found.edges, found.dropped_counts) == (ONE, {"repeated": 1})


def test_given_a_later_parent_then_its_direction_stays() -> None:
    assert [(edge.parent, edge.child) for edge in parse_edges('{"edges": [["Q3", "Q1", 1]]}', IDS).edges] == [
        ("c", "a")
    ]


labels = st.sampled_from(["Q1", "Q2", "Q3", "Q4", "x", ""])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | labels, lambda inner: st.lists(inner, max_size=4)
)


@given(st.text() | st.text("{}[]\"':, Q123.edgs<think>/", max_size=80))
def test_arbitrary_text_never_raises(text: str) -> None:
    parse_edges(text, IDS)


@given(st.lists(json_values | st.tuples(labels, labels, st.floats()).map(list), max_size=8), st.integers(0, 60))
def test_every_item_becomes_an_edge_or_is_counted(items: list[object], cut: int) -> None:
    text = json.dumps({"edges": items})
    found = parse_edges(text, IDS)
    assert found.readable
    assert len(found.edges) + sum(found.dropped_counts.values()) == len(items)
    parse_edges(text[: max(len(text) - cut, 0)], IDS)
