"""The picture of a DAG: layers left to right, nothing on top of anything else."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Edge
from depqa_ray.edges.graph import DependencyGraph
from depqa_ray.report.svg.layout import BOX_HEIGHT, BOX_WIDTH, lay_out

PAIRS = [(str(a), str(b)) for a, b in combinations(range(7), 2)]
KEYS = [str(key) for key in range(7)]


@given(st.lists(st.sampled_from(PAIRS), unique=True))
def test_child_is_to_the_right_of_its_parents(edges: list[tuple[str, str]]) -> None:
    """The box of a child is to the right of its parents' boxes."""
    boxes = {box.key: box for box in lay_out(KEYS, edges).boxes}

    assert all(boxes[parent].x + BOX_WIDTH < boxes[child].x for parent, child in edges)


@given(st.lists(st.sampled_from(PAIRS), unique=True))
def test_layers_are_those_of_the_dependency_graph(edges: list[tuple[str, str]]) -> None:
    graph = DependencyGraph(KEYS, [Edge(*edge) for edge in edges])

    expected = {key: depth for depth, layer in enumerate(graph.layers()) for key in layer}
    assert {box.key: box.layer for box in lay_out(KEYS, edges).boxes} == expected


@given(st.lists(st.sampled_from(PAIRS), unique=True))
def test_boxes_do_not_overlap_and_stay_in_the_picture(edges: list[tuple[str, str]]) -> None:
    drawing = lay_out(KEYS, edges)

    for box in drawing.boxes:
        assert box.x >= 0 and box.x + BOX_WIDTH <= drawing.width
        assert box.y >= 0 and box.y + BOX_HEIGHT <= drawing.height
    columns = {
        box.layer: sorted(other.y for other in drawing.boxes if other.layer == box.layer) for box in drawing.boxes
    }
    for tops in columns.values():
        assert all(upper + BOX_HEIGHT < lower for upper, lower in pairwise(tops))


@given(st.lists(st.sampled_from(PAIRS), unique=True))
def test_there_is_a_line_for_each_edge(edges: list[tuple[str, str]]) -> None:
    assert [(line.parent, line.child) for line in lay_out(KEYS, edges).lines] == edges


def test_a_long_line_passes_the_boxes_between() -> None:
    drawing = lay_out(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])

    long_line = drawing.lines[2].path
    between = next(box for box in drawing.boxes if box.key == "b")
    level = float(long_line.split("H")[0].rsplit(",", 1)[1])
    assert "H" in long_line
    assert not between.y <= level <= between.y + BOX_HEIGHT


def test_senseless_edges_are_left_out_and_cycles_refused() -> None:
    drawing = lay_out(["a", "b", "c"], [("a", "a"), ("a", "ghost"), ("b", "c")])

    assert [(line.parent, line.child) for line in drawing.lines] == [("b", "c")]
    assert {box.key: box.layer for box in drawing.boxes} == {"a": 0, "b": 0, "c": 1}
    with pytest.raises(ValueError, match="cycle"):
        lay_out(["b", "c"], [("b", "c"), ("c", "b")])


def test_no_questions_make_an_empty_picture() -> None:
    assert lay_out([], []).boxes == ()
