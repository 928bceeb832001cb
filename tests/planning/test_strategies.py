"""The plan of each strategy for a passage."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import prerequisites
from depqa_ray.planning.strategies import STRATEGIES, USES_EDGES, compile_plan
from depqa_ray.settings.types import StrategyName
from tests.runtime.helpers import edge, passage, passages_with_edges


def test_every_named_strategy_has_a_compiler() -> None:
    """The settings accept exactly the strategies that can be compiled."""
    assert get_args(StrategyName) == STRATEGIES


@given(passages_with_edges())
def test_every_strategy_asks_each_question_once(drawn: tuple) -> None:
    """Every strategy asks each question once and shows only answers that are there by then."""
    passage_, edges = drawn
    for strategy in STRATEGIES:
        plan = compile_plan(strategy, passage_, edges)
        assert sorted(q for step in plan.steps for q in step.questions) == [q.id for q in passage_.questions]
        assert plan.questions == tuple(q.id for q in passage_.questions)
        ended: dict[str, set[str]] = {}
        by_id = {step.id: step for step in plan.steps}

        def known(step_id: str, by_id=by_id, ended=ended) -> set[str]:
            if step_id not in ended:
                step = by_id[step_id]
                ended[step_id] = set(step.questions).union(*(known(need) for need in prerequisites(step)))
            return ended[step_id]

        for step in plan.steps:
            before = set().union(*(known(need) for need in prerequisites(step)))
            assert set(step.context) <= before


@given(passages_with_edges())
def test_strategies_without_edges_ignore_them(drawn: tuple) -> None:
    """If a strategy does not use edges, its plan does not depend on them."""
    passage_, edges = drawn
    for strategy in set(STRATEGIES) - USES_EDGES:
        assert compile_plan(strategy, passage_, edges) == compile_plan(strategy, passage_, ())
    assert set(STRATEGIES) >= USES_EDGES


def test_edge_changes_the_plan_of_strategies_that_use_edges() -> None:
    """If there is an edge, each strategy that uses edges has another plan than without it."""
    backwards = (edge("p", 2, 0),)
    for strategy in USES_EDGES:
        assert compile_plan(strategy, passage("p", 3), backwards) != compile_plan(strategy, passage("p", 3), ())


@given(passages_with_edges(), st.integers())
def test_sequential_strategies_are_one_chain_with_history(drawn: tuple, seed: int) -> None:
    """The sequential strategies are one chain of steps, and each step shows the whole history."""
    passage_, edges = drawn
    for strategy in (name for name in STRATEGIES if name.startswith("sequential")):
        steps = compile_plan(strategy, passage_, edges, seed=seed).steps
        assert all(later.parents == (earlier.id,) for earlier, later in pairwise(steps))
        assert steps[0].parents == ()
        order = tuple(step.questions[0] for step in steps)
        assert [step.context for step in steps] == [order[:place] for place in range(len(order))]


@given(passages_with_edges())
def test_sequential_ordered_asks_parents_first(drawn: tuple) -> None:
    """The strategy sequential_ordered asks each question after its parents."""
    passage_, edges = drawn
    place = {
        step.questions[0]: place for place, step in enumerate(compile_plan("sequential_ordered", passage_, edges).steps)
    }
    assert all(place[edge_.parent] < place[edge_.child] for edge_ in edges)


def test_sequential_shuffled_order_follows_from_the_seed() -> None:
    """The order of sequential_shuffled follows from the seed and the passage."""

    def order(name: str, seed: int) -> tuple[int, ...]:
        steps = compile_plan("sequential_shuffled", passage(name, 5), (), seed=seed).steps
        return tuple(int(step.questions[0].rpartition("q")[2]) for step in steps)

    assert order("p", 1) == order("p", 1)
    assert len({order("p", seed) for seed in range(20)}) > 10
    assert len({order(f"p{number}", 1) for number in range(20)}) > 10


def test_dependency_parallel_follows_a_fork_and_a_join() -> None:
    """If edges fork and join, the plan of dependency_parallel follows them."""
    edges = (edge("p", 0, 1), edge("p", 0, 2), edge("p", 1, 3), edge("p", 2, 3))
    plan = compile_plan("dependency_parallel", passage("p", 4), edges)
    assert [step.parents for step in plan.steps] == [(), ("ask:p-q0",), ("ask:p-q0",), ("ask:p-q1", "ask:p-q2")]
    assert plan.steps[3].context == ("p-q1", "p-q2")


def test_dependency_layered_waits_for_the_whole_layer() -> None:
    """The strategy dependency_layered waits for all questions of the layer before."""
    plan = compile_plan("dependency_layered", passage("p", 3), (edge("p", 0, 2),))
    assert plan.steps[2].parents == ("ask:p-q0",)
    assert plan.steps[2].barriers == ("ask:p-q0", "ask:p-q1")


def test_given_sequential_then_each_step_shows_the_whole_history() -> None:
    plan = compile_plan("sequential", passage("p", 3), ())
    assert [step.context for step in plan.steps] == [(), ("p-q0",), ("p-q0", "p-q1")]
    assert [step.parents for step in plan.steps] == [(), ("ask:p-q0",), ("ask:p-q1",)]


def test_given_a_cycle_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        compile_plan("dependency_parallel", passage("p", 2), (edge("p", 0, 1), edge("p", 1, 0)))
