"""A plan: the DAG of steps into which a strategy compiles a passage. The scheduler knows nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from depqa_ray.models import Step


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one passage under one strategy.

    An ``open`` plan is only the beginning of one: when all its steps have ended, its strategy extends it.

    Raises ValueError where step ids repeat, a parent or barrier is no step of the plan, the steps form a cycle, or a
    question is asked by two steps, or by none though the plan is not open (``questions`` are the ids that have to be
    asked).
    """

    strategy: str
    passage_id: str
    questions: tuple[str, ...]
    steps: tuple[Step, ...]
    open: bool = False

    def __post_init__(self) -> None:
        ids = [step.id for step in self.steps]
        if len(set(ids)) < len(ids):
            raise ValueError(f"plan of {self.passage_id}: step ids repeat")
        for step in self.steps:
            missing = sorted(set(needs(step)) - set(ids))
            if missing:
                raise ValueError(f"plan of {self.passage_id}: step {step.id} needs {missing}, which are no steps")
        try:
            TopologicalSorter({step.id: needs(step) for step in self.steps}).prepare()
        except CycleError as error:
            raise ValueError(f"plan of {self.passage_id}: steps form a cycle: {error.args[1]}") from None
        asked = [question for step in self.steps if step.form != "edges" for question in step.questions]
        complete = set(asked) <= set(self.questions) if self.open else sorted(asked) == sorted(self.questions)
        if not complete or len(set(asked)) < len(asked):
            raise ValueError(f"plan of {self.passage_id}: each question has to be asked by exactly one step")


def needs(step: Step) -> tuple[str, ...]:
    """The steps that have to end before this one may start."""
    return tuple(dict.fromkeys((*step.parents, *step.waits)))
