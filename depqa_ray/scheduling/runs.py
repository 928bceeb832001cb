"""Steps and jobs under way, as the scheduler keeps them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

from depqa_ray.core import Plan, Step
from depqa_ray.scheduling.events import Event, InvalidEvent, Role

StepState = Literal["waiting", "ready", "running", "done", "failed", "skipped"]
_ENDED: Final[frozenset[StepState]] = frozenset({"done", "failed", "skipped"})
_STORY: Final = 8  # events of a job that are kept for the message of an InvalidEvent


@dataclass(slots=True, eq=False)
class StepRun:
    """One step under way.

    - ``role`` is the kind of replica that it needs, ``work`` its estimated tokens without reading the passage.
    - ``blockers`` are the prerequisites that have not ended; empty unless waiting or skipped.
    - ``children`` are the steps that it blocked when they were added.
    - ``attempts`` counts dispatches. ``ready_at`` is when it first became ready, in seconds.
    - While it runs, ``replica`` has it and counts it as ``assigned`` tokens of load; otherwise "" and 0.
    - ``lost_alone`` counts the losses of a replica that had only this step, ``lost_together`` the others.
    - ``suspects`` is None, or the group that it is a suspect in: the steps that a replica had when it was lost.
    """

    job: JobRun
    step: Step
    role: Role
    work: float
    state: StepState = "waiting"
    blockers: set[str] = field(default_factory=set)
    children: list[StepRun] = field(default_factory=list)
    attempts: int = 0
    ready_at: float = 0.0
    replica: str = ""
    assigned: float = 0.0
    lost_alone: int = 0
    lost_together: int = 0
    suspects: dict[StepRun, None] | None = None

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.state in _ENDED

    @property
    def passage_id(self) -> str:
        """The passage that it asks about."""
        return self.job.plan.passage_id


@dataclass(slots=True, eq=False)
class JobRun:
    """One plan under way: its steps by id, in plan order, and the last events that it went through."""

    plan: Plan
    prefix_work: float
    steps: dict[str, StepRun] = field(default_factory=dict)
    batches: int = 0
    story: deque[tuple[float, Event]] = field(default_factory=lambda: deque(maxlen=_STORY))

    @property
    def ended(self) -> bool:
        """Whether all steps so far have ended."""
        return all(run.ended for run in self.steps.values())

    def invalid(self, problem: str, event: Event) -> InvalidEvent:
        """The error for an event that this job cannot have."""
        return InvalidEvent(problem, event, self.story)
