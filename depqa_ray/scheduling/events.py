"""What the scheduler is told and what it answers: events in, actions out. Times are seconds of the driver's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from depqa_ray.core import JobKey, Plan, Step

Role = Literal["answers", "edges"]
"""What a replica is for. Where none is for edges alone, those for answers are asked for edges, too."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A job begins. Work is counted in tokens, estimated: ``prefix_work`` to read the passage, ``step_work`` a step."""

    plan: Plan
    now: float
    prefix_work: float = 1.0
    step_work: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completed:
    """Steps of one job have ended well, at the same moment."""

    key: JobKey
    steps: tuple[str, ...]
    now: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A step could not be answered, and would not be by another replica either."""

    key: JobKey
    step: str
    reason: str
    now: float


@dataclass(frozen=True, slots=True)
class Extended:
    """The answer to Extend: the job's plan, whose first steps are those that have ended, and the work of the others."""

    plan: Plan
    now: float
    step_work: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplicaJoined:
    """A replica is ready for work."""

    replica: str
    now: float
    role: Role = "answers"


@dataclass(frozen=True, slots=True)
class Deserted:
    """No replica of a role is left and none is coming: its steps fail for that reason, from now on."""

    role: Role
    reason: str
    now: float


@dataclass(frozen=True, slots=True)
class ReplicaLost:
    """A replica is gone, with all that it was working on."""

    replica: str
    reason: str
    now: float


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send these steps, as one batch, to that replica.

    ``batch`` numbers the job's batches from 0. ``ready`` is when the steps became ready; ``attempt`` counts from 1.
    """

    key: JobKey
    batch: int
    replica: str
    steps: tuple[Step, ...]
    ready: float
    attempt: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """These steps end without an answer: "failed", or "skipped" because of a parent."""

    key: JobKey
    steps: tuple[Step, ...]
    skipped: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Extend:
    """Every step of an open plan has ended: its strategy has to say how it goes on (Extended)."""

    key: JobKey


@dataclass(frozen=True, slots=True)
class Finish:
    """Every step of the job has ended."""

    key: JobKey


Event: TypeAlias = Admitted | Completed | Failed | Extended | ReplicaJoined | ReplicaLost | Deserted
Action: TypeAlias = Dispatch | GiveUp | Extend | Finish
