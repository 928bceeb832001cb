"""The scheduler's events (in) and actions (out).

The driver passes an event's time separately, in seconds of its own clock. Events about replicas come from the pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from depqa_ray.core import JobKey, Plan, Step

Role = Literal["answer", "edge"]
"""A replica's task. Without dedicated edge replicas, those that answer are asked for edges too."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A job starts. Work is in estimated tokens: ``prefix_work`` to read the passage, ``step_work`` by step id."""

    plan: Plan
    prefix_work: float = 1.0
    step_work: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completed:
    """Steps of one job completed at the same moment."""

    key: JobKey
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A step failed, and would fail on another replica too."""

    key: JobKey
    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlanExtended:
    """The reply to RequestPlan: the whole plan, which starts with the steps that ended, and the new steps' work."""

    plan: Plan
    step_work: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplicaJoined:
    """A replica is ready for work."""

    replica: str
    role: Role = "answer"


LossCause = Literal["crash", "timeout", "machine"]
"""What ended a replica: it broke, it gave no answer in time, or its machine is gone. No prompt causes the last."""


@dataclass(frozen=True, slots=True)
class ReplicaLost:
    """A replica is gone, with all its running steps. No later event is about it."""

    replica: str
    reason: str
    cause: LossCause = "crash"


@dataclass(frozen=True, slots=True)
class RoleExhausted:
    """No replica of a role is left and none will come: its steps fail with that reason from now on."""

    reason: str
    role: Role = "answer"


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send these steps to that replica as one batch.

    ``batch`` numbers the job's batches from 0. ``ready`` is when the steps became ready; ``attempt`` counts from 1.
    """

    key: JobKey
    batch: int
    replica: str
    steps: tuple[Step, ...]
    ready: float
    attempt: int


@dataclass(frozen=True, slots=True)
class EndSteps:
    """These steps end without an answer: "failed", or "skipped" because of a parent."""

    key: JobKey
    steps: tuple[Step, ...]
    status: Literal["failed", "skipped"]
    reason: str


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """All steps of an open plan have ended: its strategy has to extend it (PlanExtended)."""

    key: JobKey


@dataclass(frozen=True, slots=True)
class Finish:
    """All steps of the job have ended."""

    key: JobKey


ReplicaEvent: TypeAlias = ReplicaJoined | ReplicaLost | RoleExhausted
Event: TypeAlias = Admitted | Completed | Failed | PlanExtended | ReplicaEvent
Action: TypeAlias = Dispatch | EndSteps | RequestPlan | Finish


_LONGEST: Final = 200  # characters of an event in a message: a plan may be long


class InvalidEvent(ValueError):  # noqa: N818  (named as dask's InvalidTransition)
    """An event that cannot be in the state that its job is in: a programming error.

    ``story`` holds the job's last events and times, the oldest first: how it came to that state.
    """

    def __init__(self, problem: str, event: Event, story: Sequence[tuple[float, Event]] = ()) -> None:
        self.event, self.story = event, tuple(story)
        lines = (f"  at {at:.3f} s: {repr(earlier)[:_LONGEST]}" for at, earlier in self.story)
        super().__init__("\n".join((f"{problem}: {repr(event)[:_LONGEST]}", *lines)))
