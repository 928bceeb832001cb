"""The DAG of a passage's questions."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Edge
from depqa_ray.edges.graph import DependencyGraph


def graph(questions: str, *pairs: str) -> DependencyGraph:
    """A graph of one-letter questions; "ab" is the edge from a to b."""
    return DependencyGraph(questions, [Edge(*pair) for pair in pairs])


DIAMOND = graph("abcde", "ab", "ac", "bd", "cd")


@st.composite
def graphs(draw: st.DrawFn) -> DependencyGraph:
    """Acyclic graphs whose asked order need not be a topological one."""
    questions = draw(st.permutations("abcdef"))[: draw(st.integers(0, 6))]
    pairs = draw(st.lists(st.sampled_from(list(combinations(sorted(questions), 2)) or [("a", "b")]), unique=True))
    return DependencyGraph(questions, [Edge(*pair) for pair in pairs if set(pair) <= set(questions)])


def chains(made: DependencyGraph) -> list[tuple[str, ...]]:
    """All paths of the graph, by brute force."""
    found = [(question,) for question in made.questions]
    for path in found:
        found.extend((*path, child) for child in made.children(path[-1]))
    return found


def test_relatives_come_in_asked_order() -> None:
    """Parents, children and ancestors in a diamond come in asked order."""
    assert DIAMOND.parents("d") == ("b", "c")
    assert DIAMOND.children("a") == ("b", "c")
    assert DIAMOND.ancestors("d") == ("a", "b", "c")
    assert DIAMOND.ancestors("e") == ()


def test_layers_of_a_diamond_hold_what_can_be_asked_next() -> None:
    """Each layer of a diamond holds the questions that can be asked next."""
    assert DIAMOND.layers() == (("a", "e"), ("b", "c"), ("d",))
    assert (DIAMOND.depth, DIAMOND.width) == (3, 2)


def test_empty_graph_has_no_layers_and_no_work() -> None:
    """If there are no questions, there are no layers, no order and no critical path."""
    empty = graph("")
    assert (empty.layers(), empty.depth, empty.width, empty.topological_order()) == ((), 0, 0, ())
    assert (empty.critical_path({}), empty.critical_work({}), empty.parallelism({})) == ((), 0.0, 1.0)


def test_questions_without_edges_keep_the_asked_order() -> None:
    """If questions have no edges, the topological order is the asked one."""
    assert graph("cab").topological_order() == ("c", "a", "b")


def test_given_work_then_the_critical_path_is_the_heaviest_chain() -> None:
    work = {"a": 1.0, "b": 5.0, "c": 2.0, "d": 1.0, "e": 4.0}
    assert DIAMOND.critical_path(work) == ("a", "b", "d")
    assert DIAMOND.critical_work(work) == 7.0
    assert DIAMOND.parallelism(work) == pytest.approx(13 / 7)


def test_given_equal_chains_then_the_one_asked_first_is_critical() -> None:
    assert DIAMOND.critical_path(dict.fromkeys("abcde", 1.0)) == ("a", "b", "d")


def test_repr_of_a_graph_shows_its_edges() -> None:
    """The repr of a graph shows its edges."""
    assert repr(graph("ab", "ab")) == "DependencyGraph(['a', 'b'], a->b)"
    assert "no edges" in repr(graph("a"))


@pytest.mark.parametrize(
    ("questions", "pairs", "message"),
    [
        ("aa", [], "is repeated"),
        ("ab", ["aa"], "itself"),
        ("ab", ["ax"], "unknown question: x"),
        ("ab", ["ab", "ab"], "is repeated"),
        ("abc", ["ab", "bc", "ca"], "cycle"),
    ],
)
def test_building_a_graph_that_is_no_dag_fails(questions: str, pairs: list[str], message: str) -> None:
    """If questions and edges are no DAG, building the graph raises ValueError."""
    with pytest.raises(ValueError, match=message):
        graph(questions, *pairs)


def test_given_an_unknown_question_then_asking_for_it_fails() -> None:
    for ask in (DIAMOND.parents, DIAMOND.children, DIAMOND.ancestors):
        with pytest.raises(KeyError):
            ask("x")


@pytest.mark.parametrize("work", [-1.0, float("nan")])
def test_negative_or_nan_work_is_refused(work: float) -> None:
    """If the work of a question is negative or NaN, ValueError is raised."""
    with pytest.raises(ValueError, match="not a length"):
        graph("a").critical_path({"a": work})


def test_given_a_question_without_work_then_it_is_refused() -> None:
    with pytest.raises(KeyError):
        graph("a").critical_path({})


@given(graphs())
def test_layers_and_order_respect_the_edges(made: DependencyGraph) -> None:
    """Layers and order hold every question once, and parents come before their children."""
    layer = {question: number for number, members in enumerate(made.layers()) for question in members}
    order = made.topological_order()

    assert sorted(layer) == sorted(order) == sorted(made.questions)
    for question in made.questions:
        parents = made.parents(question)
        assert layer[question] == 1 + max((layer[parent] for parent in parents), default=-1)
        assert all(order.index(parent) < order.index(question) for parent in parents)


@given(graphs(), st.lists(st.integers(0, 9), min_size=6, max_size=6))
def test_the_critical_path_is_the_heaviest_of_all_paths(made: DependencyGraph, weights: list[int]) -> None:
    work = {question: float(weight) for question, weight in zip("abcdef", weights, strict=True)}
    heaviest = max((sum(work[question] for question in path) for path in chains(made)), default=0.0)

    path = made.critical_path(work)

    assert made.critical_work(work) == heaviest
    assert all(parent in made.parents(child) for parent, child in pairwise(path))
    assert made.parallelism(work) >= 1.0
