"""The scheduler: pure decisions about when a step starts and where. Events in, actions out; no await, no clock.

The life of a step::

    waiting --last need ended--> ready --replica there--> running --> done
       |                           ^                         |
       | a parent failed           '---- replica lost -------+--> failed
       '--> skipped

A step that one event makes ready leaves with all others of its job that the same event made ready, as one batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from depqa_ray.models import Step
from depqa_ray.scheduling.events import (
    Action,
    Admitted,
    Completed,
    Dispatch,
    Event,
    Failed,
    Finish,
    GiveUp,
    JobKey,
    ReplicaJoined,
    ReplicaLost,
)
from depqa_ray.scheduling.plan import Plan, needs
from depqa_ray.scheduling.routing import Router

StepState = Literal["waiting", "ready", "running", "done", "failed", "skipped"]
_ENDED: frozenset[StepState] = frozenset({"done", "failed", "skipped"})


@dataclass(slots=True)
class _Job:
    """One plan under way.

    Invariants: ``unmet`` of a step are its needs that have not ended; a step waits while it has some; ``replica`` and
    ``work`` have exactly the running steps.
    """

    plan: Plan
    prefix_work: float
    step_work: dict[str, float]
    steps: dict[str, Step]
    state: dict[str, StepState]
    unmet: dict[str, set[str]]
    children: dict[str, list[str]]
    attempts: dict[str, int]
    ready_at: dict[str, float] = field(default_factory=dict)
    replica: dict[str, str] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    batches: int = 0

    @property
    def key(self) -> JobKey:
        return (self.plan.strategy, self.plan.passage_id)

    @property
    def ended(self) -> bool:
        return all(state in _ENDED for state in self.state.values())


class DependencyScheduler:
    """Holds the jobs under way and decides. ``max_attempts`` bounds how often a step is sent when replicas are lost."""

    def __init__(self, max_attempts: int = 3) -> None:
        self._max_attempts = max_attempts
        self._router = Router()
        self._jobs: dict[JobKey, _Job] = {}

    def __repr__(self) -> str:
        return f"<DependencyScheduler jobs={len(self._jobs)} running={self.running} load={self._router.load}>"

    @property
    def jobs(self) -> int:
        """How many jobs are under way."""
        return len(self._jobs)

    @property
    def running(self) -> int:
        """How many steps are with a replica."""
        return sum(len(job.replica) for job in self._jobs.values())

    @property
    def replicas(self) -> int:
        """How many replicas take work."""
        return len(self._router.load)

    def handle(self, event: Event) -> list[Action]:
        """What to do about an event, in this order. Raises ValueError for an event that cannot be."""
        match event:
            case Admitted():
                return self._admit(event)
            case Completed(key, steps, now):
                return self._end(self._job(key), [(step, "done", "") for step in steps], now)
            case Failed(key, step, reason, now):
                return self._end(self._job(key), [(step, "failed", reason)], now)
            case ReplicaJoined(replica, _):
                self._router.join(replica)
                return [action for job in self._jobs.values() for action in self._dispatch(job)]
            case ReplicaLost(replica, reason, now):
                return self._lose(replica, reason, now)

    def validate(self) -> None:
        """Raise AssertionError where an invariant is broken."""
        self._router.validate()
        for job in self._jobs.values():
            assert not job.ended, f"{job.key} has ended and is still here"
            assert set(job.replica) == set(job.work) == {s for s, state in job.state.items() if state == "running"}
            assert set(job.replica.values()) <= set(self._router.load)
            for step_id, step in job.steps.items():
                open_needs = {need for need in needs(step) if job.state[need] not in _ENDED}
                assert job.unmet[step_id] == open_needs or job.state[step_id] == "skipped", (job.key, step_id)
                assert (job.state[step_id] == "waiting") <= bool(open_needs), f"{step_id} waits for nothing"
                assert job.state[step_id] != "ready" or not self._router.load, f"{step_id} is ready and was not sent"

    def _job(self, key: JobKey) -> _Job:
        if key not in self._jobs:
            raise ValueError(f"no job {key} is under way")
        return self._jobs[key]

    def _admit(self, event: Admitted) -> list[Action]:
        job = _new_job(event)
        if job.key in self._jobs:
            raise ValueError(f"job {job.key} is under way already")
        self._jobs[job.key] = job
        _make_ready(job, job.steps, event.now)
        return [*self._dispatch(job), *self._finish(job)]

    def _end(self, job: _Job, ended: Iterable[tuple[str, StepState, str]], now: float) -> list[Action]:
        """Steps with a replica have ended: free what waited for them, give up what cannot be asked any more."""
        actions: list[Action] = []
        touched: list[str] = []
        for step_id, state, reason in ended:
            if job.state.get(step_id) != "running":
                raise ValueError(f"step {step_id} of {job.key} is {job.state.get(step_id, 'unknown')}, not running")
            self._router.done(job.replica.pop(step_id), job.work.pop(step_id))
            job.state[step_id] = state
            if state == "failed":
                actions.append(GiveUp(job.key, (job.steps[step_id],), False, reason))
            touched += self._release(job, step_id, actions)
        _make_ready(job, touched, now)
        return [*actions, *self._dispatch(job), *self._finish(job)]

    def _release(self, job: _Job, step_id: str, actions: list[Action]) -> list[str]:
        """Tell a step's children that it has ended. Returns those children; skips the ones that needed its answer."""
        touched: list[str] = []
        for child_id in job.children[step_id]:
            job.unmet[child_id].discard(step_id)
            child = job.steps[child_id]
            if job.state[step_id] != "done" and step_id in child.parents and job.state[child_id] == "waiting":
                job.state[child_id] = "skipped"
                actions.append(GiveUp(job.key, (child,), True, f"{step_id} {job.state[step_id]}"))
                touched += self._release(job, child_id, actions)
            touched.append(child_id)
        return touched

    def _dispatch(self, job: _Job) -> list[Action]:
        """Send all ready steps of a job, as one batch for each moment at which they became ready and each attempt."""
        ready = [step for step_id, step in job.steps.items() if job.state[step_id] == "ready"]
        groups: dict[tuple[float, int], list[Step]] = {}
        for step in ready:
            groups.setdefault((job.ready_at[step.id], job.attempts[step.id] + 1), []).append(step)
        return [
            self._send(job, tuple(steps), ready_at, attempt, replica)
            for (ready_at, attempt), steps in groups.items()
            if (replica := self._router.pick(job.plan.passage_id, job.prefix_work)) is not None
        ]

    def _send(self, job: _Job, steps: tuple[Step, ...], ready: float, attempt: int, replica: str) -> Dispatch:
        passage_id = job.plan.passage_id
        prefix = 0.0 if self._router.homes.get(passage_id) == replica else job.prefix_work
        for position, step in enumerate(steps):
            # The batch reads the passage once: its first step bears that.
            work = job.step_work.get(step.id, 1.0) + (0.0 if position else prefix)
            self._router.sent(passage_id, replica, work)
            job.state[step.id], job.replica[step.id], job.work[step.id] = "running", replica, work
            job.attempts[step.id] = attempt
        batch, job.batches = job.batches, job.batches + 1
        return Dispatch(job.key, batch, replica, steps, ready, attempt)

    def _finish(self, job: _Job) -> list[Action]:
        if not job.ended:
            return []
        del self._jobs[job.key]
        if not any(other.plan.passage_id == job.plan.passage_id for other in self._jobs.values()):
            self._router.forget(job.plan.passage_id)
        return [Finish(job.key)]

    def _lose(self, replica: str, reason: str, now: float) -> list[Action]:
        """Send what the replica had to others, but for steps that have been sent often enough."""
        self._router.leave(replica)
        actions: list[Action] = []
        for job in list(self._jobs.values()):
            lost = [step_id for step_id, holder in job.replica.items() if holder == replica]
            spent = [step_id for step_id in lost if job.attempts[step_id] >= self._max_attempts]
            for step_id in lost:
                if step_id not in spent:
                    del job.replica[step_id], job.work[step_id]
                    job.state[step_id] = "ready"
            if spent:
                why = f"sent {self._max_attempts} times, the replica was lost each time: {reason}"
                actions += self._end(job, [(step_id, "failed", why) for step_id in spent], now)
            elif lost:
                actions += self._dispatch(job)
        return actions


def _new_job(event: Admitted) -> _Job:
    steps = {step.id: step for step in event.plan.steps}
    children: dict[str, list[str]] = {step_id: [] for step_id in steps}
    for step in event.plan.steps:
        for need in needs(step):
            children[need].append(step.id)
    return _Job(
        plan=event.plan,
        prefix_work=event.prefix_work,
        step_work=dict(event.step_work),
        steps=steps,
        state=dict.fromkeys(steps, "waiting"),
        unmet={step_id: set(needs(step)) for step_id, step in steps.items()},
        children=children,
        attempts=dict.fromkeys(steps, 0),
    )


def _make_ready(job: _Job, candidates: Iterable[str], now: float) -> None:
    for step_id in candidates:
        if job.state[step_id] == "waiting" and not job.unmet[step_id]:
            job.state[step_id] = "ready"
            job.ready_at[step_id] = now
