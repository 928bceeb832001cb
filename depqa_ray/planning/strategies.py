"""The strategies: each compiles a passage and its selected edges into a plan. All else is the same for all of them.

If a model is asked for the edges, a strategy that uses them starts with an open plan of that one step, and extends it
after the reply.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from depqa_ray.core import Edge, Passage, Plan, Step
from depqa_ray.edges.graph import DependencyGraph
from depqa_ray.settings.types import StrategyName

EDGES: Final = "edges"
"""The id of the step that asks for the edges."""


def compile_plan(strategy: StrategyName, passage: Passage, edges: Sequence[Edge], *, seed: int = 0) -> Plan:
    """The plan of a strategy for a passage. ``edges`` are the selected ones; strategies without a DAG ignore them.

    A drawn order depends on ``seed`` and the passage's id alone.
    Raises ValueError if the edges form a cycle or name questions that the passage does not have.
    """
    ids = tuple(question.id for question in passage.questions)
    steps = _COMPILERS[strategy](ids, edges, random.Random(f"{seed}/order/{passage.id}"))
    return Plan(strategy, passage.id, ids, steps)


def asking_plan(strategy: StrategyName, passage: Passage) -> Plan:
    """The open plan that asks a model for the passage's edges."""
    ids = tuple(question.id for question in passage.questions)
    return Plan(strategy, passage.id, ids, (Step(EDGES, ids, form="edges"),), open=True)


def extended_plan(plan: Plan, complete: Plan) -> Plan:
    """An open plan followed by all steps of a complete one, which wait for the steps of the open plan."""
    before = tuple(step.id for step in plan.steps)
    after = tuple(replace(step, barriers=(*step.barriers, *before)) for step in complete.steps)
    return replace(complete, steps=(*plan.steps, *after))


def _sequential(ids: tuple[str, ...], edges: Sequence[Edge], dice: random.Random) -> tuple[Step, ...]:
    """A chain: each step sees all earlier answers."""
    return tuple(
        Step(_id(id_), (id_,), parents=(_id(ids[index - 1]),) if index else (), context=ids[:index])
        for index, id_ in enumerate(ids)
    )


def _sequential_shuffled(ids: tuple[str, ...], edges: Sequence[Edge], dice: random.Random) -> tuple[Step, ...]:
    """The chain in an order that is drawn for each passage."""
    return _sequential(tuple(dice.sample(ids, len(ids))), edges, dice)


def _sequential_ordered(ids: tuple[str, ...], edges: Sequence[Edge], dice: random.Random) -> tuple[Step, ...]:
    """The chain in an order in which each question comes after those whose answers it needs."""
    return _sequential(DependencyGraph(ids, edges).topological_order(), edges, dice)


def _full_batch(ids: tuple[str, ...], edges: Sequence[Edge], dice: random.Random) -> tuple[Step, ...]:
    """One step that asks everything."""
    return (Step("all", ids, form="batch"),)


def _independent(ids: tuple[str, ...], edges: Sequence[Edge], dice: random.Random) -> tuple[Step, ...]:
    """A step a question, none waiting for another."""
    return tuple(Step(_id(id_), (id_,)) for id_ in ids)


def _dependency_parallel(ids: tuple[str, ...], edges: Sequence[Edge], dice: random.Random) -> tuple[Step, ...]:
    """A step a question, which starts when its own parents have ended and sees their answers."""
    graph = DependencyGraph(ids, edges)
    return tuple(
        Step(_id(id_), (id_,), parents=tuple(map(_id, graph.parents(id_))), context=graph.parents(id_)) for id_ in ids
    )


def _dependency_layered(ids: tuple[str, ...], edges: Sequence[Edge], dice: random.Random) -> tuple[Step, ...]:
    """The steps of ``dependency_parallel``, where each also waits for the whole layer before its own."""
    layers = DependencyGraph(ids, edges).layers()
    before = {
        id_: tuple(map(_id, layers[depth - 1])) if depth else () for depth, layer in enumerate(layers) for id_ in layer
    }
    steps = _dependency_parallel(ids, edges, dice)
    return tuple(replace(step, barriers=before[step.questions[0]]) for step in steps)


def _id(question_id: str) -> str:
    """The id of the step that asks that question alone."""
    return f"ask:{question_id}"


_Compiler = Callable[[tuple[str, ...], Sequence[Edge], random.Random], tuple[Step, ...]]
_COMPILERS: Final[Mapping[StrategyName, _Compiler]] = {
    "sequential": _sequential,
    "sequential_shuffled": _sequential_shuffled,
    "sequential_ordered": _sequential_ordered,
    "full_batch": _full_batch,
    "independent": _independent,
    "dependency_parallel": _dependency_parallel,
    "dependency_layered": _dependency_layered,
}
STRATEGIES: Final[tuple[StrategyName, ...]] = tuple(_COMPILERS)

USES_EDGES: Final[frozenset[StrategyName]] = frozenset(
    {"dependency_parallel", "dependency_layered", "sequential_ordered"}
)
"""The strategies whose plans depend on the edges. The others never pay for finding them."""
