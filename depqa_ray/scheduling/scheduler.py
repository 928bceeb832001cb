"""The scheduler: pure decisions about when a step starts and where. Events in, actions out; no await, no clock.

The states of a step::

    waiting --last blocker ended--> ready --replica there--> running --> done
       |                              ^                         |
       | a parent failed              '---- replica lost -------+--> failed
       '--> skipped

All steps of a job that one event makes ready leave as one batch. Once all steps of an open plan have ended, its
strategy is asked for the rest of the plan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from depqa_ray.core import JobKey, Plan, Step, prerequisites
from depqa_ray.scheduling.events import (
    Action,
    Admitted,
    Completed,
    Dispatch,
    EndSteps,
    Event,
    Failed,
    Finish,
    InvalidEvent,
    PlanExtended,
    ReplicaJoined,
    ReplicaLost,
    RequestPlan,
    Role,
    RoleExhausted,
)
from depqa_ray.scheduling.routing import Router

StepState = Literal["waiting", "ready", "running", "done", "failed", "skipped"]
_ENDED: Final[frozenset[StepState]] = frozenset({"done", "failed", "skipped"})
_STORY: Final = 8  # events of a job that are kept for the message of an InvalidEvent


@dataclass(slots=True)
class _StepRun:
    """One step under way.

    - ``role`` is the kind of replica that it needs, ``work`` its estimated tokens without reading the passage.
    - ``blockers`` are the prerequisites that have not ended; empty unless waiting or skipped.
    - ``children`` are the steps that it blocked when they were added.
    - ``attempts`` counts dispatches. ``ready_at`` is when it first became ready, in seconds.
    - While it runs, ``replica`` has it and counts it as ``assigned`` tokens of load; otherwise "" and 0.
    """

    step: Step
    role: Role
    work: float
    state: StepState = "waiting"
    blockers: set[str] = field(default_factory=set)
    children: list[_StepRun] = field(default_factory=list)
    attempts: int = 0
    ready_at: float = 0.0
    replica: str = ""
    assigned: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in _ENDED


@dataclass(slots=True)
class _JobRun:
    """One plan under way: its steps by id, in plan order, and the last events that it went through."""

    plan: Plan
    prefix_work: float
    steps: dict[str, _StepRun] = field(default_factory=dict)
    batches: int = 0
    story: deque[tuple[float, Event]] = field(default_factory=lambda: deque(maxlen=_STORY))

    @property
    def ended(self) -> bool:
        return all(run.ended for run in self.steps.values())

    def invalid(self, problem: str, event: Event) -> InvalidEvent:
        return InvalidEvent(problem, event, self.story)


class DependencyScheduler:
    """Holds the jobs under way and decides.

    ``max_attempts`` bounds how often a step is dispatched when replicas are lost. With ``dedicated_edge_replicas``,
    replicas of the role "edge" get the steps that ask for edges, and no others; otherwise those that answer get all.
    """

    def __init__(self, max_attempts: int = 3, *, dedicated_edge_replicas: bool = False) -> None:
        self._max_attempts = max_attempts
        self._dedicated_edge_replicas = dedicated_edge_replicas
        self._routers: dict[Role, Router] = {"answer": Router(), "edge": Router()}
        self._exhausted: dict[Role, str] = {}
        self._jobs: dict[JobKey, _JobRun] = {}

    def __repr__(self) -> str:
        load = {role: router.load for role, router in self._routers.items() if router.load}
        return f"<DependencyScheduler jobs={len(self._jobs)} load={load}>"

    @property
    def jobs(self) -> int:
        """How many jobs are under way."""
        return len(self._jobs)

    def busy(self, role: Role) -> int:
        """How many steps are with a replica of that role, or ready for one."""
        return sum(
            run.role == role and run.state in ("ready", "running")
            for job in self._jobs.values()
            for run in job.steps.values()
        )

    def replicas(self, role: Role) -> int:
        """How many replicas of that role take work."""
        return len(self._routers[role].load)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Return the actions, in order, on an event at ``now`` (seconds). Raises InvalidEvent if it cannot happen."""
        match event:
            case Admitted():
                return self._admit(event, now)
            case PlanExtended():
                return self._extend(event, now)
            case Completed(key, steps):
                job = self._job_of(key, event, now)
                # Checked one by one, so that a step cannot be named twice.
                return self._end_running(job, (self._running(job, step, event) for step in steps), "done", "", now)
            case Failed(key, step, reason):
                job = self._job_of(key, event, now)
                return self._end_running(job, [self._running(job, step, event)], "failed", reason, now)
            case ReplicaJoined(replica, role):
                self._routers[role].join(replica)
                self._exhausted.pop(role, None)
                return [action for job in self._jobs.values() for action in self._dispatch(job)]
            case ReplicaLost(replica, reason):
                return self._requeue_lost(replica, reason, now)
            case RoleExhausted(reason, role):
                self._exhausted[role] = reason
                affected = [job for job in self._jobs.values() if self._unservable(job)]
                return [action for job in affected for action in self._advance(job, now)]

    def validate(self) -> None:
        """Raise AssertionError if an invariant is broken."""
        for router in self._routers.values():
            router.validate()
        for key, job in self._jobs.items():
            assert job.plan.key == key
            assert job.plan.open or not job.ended, f"{key} has ended and is still here"
            for run in job.steps.values():
                self._validate_step(job, run)

    def _validate_step(self, job: _JobRun, run: _StepRun) -> None:
        place = (job.plan.key, run.step.id)
        running = run.state == "running"
        assert bool(run.replica) == running and (running or not run.assigned), place
        assert not running or run.replica in self._routers[run.role].load, f"{place} is with {run.replica}"
        blockers = {id_ for id_ in prerequisites(run.step) if not job.steps[id_].ended}
        assert run.blockers == blockers or run.state == "skipped", place
        assert (run.state == "waiting") <= bool(blockers), f"{place} waits for nothing"
        assert run.state != "ready" or not self._routers[run.role].load, f"{place} is ready and was not sent"

    def _job_of(self, key: JobKey, event: Event, now: float) -> _JobRun:
        job = self._jobs.get(key)
        if job is None:
            raise InvalidEvent(f"no job {key} is under way", event)
        job.story.append((now, event))
        return job

    def _running(self, job: _JobRun, step_id: str, event: Event) -> _StepRun:
        run = job.steps.get(step_id)
        if run is None or run.state != "running":
            state = "unknown" if run is None else run.state
            raise job.invalid(f"step {step_id} of {job.plan.key} is {state}, not running", event)
        return run

    def _admit(self, event: Admitted, now: float) -> list[Action]:
        key = event.plan.key
        if key in self._jobs:
            raise self._jobs[key].invalid(f"job {key} is under way already", event)
        job = self._jobs[key] = _JobRun(event.plan, event.prefix_work)
        job.story.append((now, event))
        return self._start(job, event.plan.steps, event.step_work, now)

    def _extend(self, event: PlanExtended, now: float) -> list[Action]:
        job = self._job_of(event.plan.key, event, now)
        known = len(job.plan.steps)
        if not (job.plan.open and job.ended) or event.plan.steps[:known] != job.plan.steps:
            raise job.invalid(f"job {job.plan.key} cannot be extended by this plan", event)
        job.plan = event.plan
        return self._start(job, event.plan.steps[known:], event.step_work, now)

    def _start(self, job: _JobRun, steps: tuple[Step, ...], work: Mapping[str, float], now: float) -> list[Action]:
        """Add steps to a job; their prerequisites may have ended already."""
        added = [_StepRun(step, self._role(step), work.get(step.id, 1.0)) for step in steps]
        job.steps.update((run.step.id, run) for run in added)
        for run in added:
            for id_ in prerequisites(run.step):
                if not job.steps[id_].ended:
                    run.blockers.add(id_)
                    job.steps[id_].children.append(run)
        _make_ready(added, now)
        return self._advance(job, now)

    def _role(self, step: Step) -> Role:
        return "edge" if self._dedicated_edge_replicas and step.form == "edges" else "answer"

    def _end_running(
        self, job: _JobRun, runs: Iterable[_StepRun], state: StepState, reason: str, now: float
    ) -> list[Action]:
        """Steps with a replica ended: free what they blocked, end what cannot be asked any more."""
        actions: list[Action] = []
        freed: list[_StepRun] = []
        for run in runs:
            self._routers[run.role].release(run.replica, run.assigned)
            run.replica, run.assigned = "", 0.0
            freed += _end_step(job, run, state, reason, actions)
        _make_ready(freed, now)
        return [*actions, *self._advance(job, now)]

    def _advance(self, job: _JobRun, now: float) -> list[Action]:
        """Dispatch what is ready, fail what no replica is left for, and see whether the job has ended."""
        actions: list[Action] = []
        while unservable := self._unservable(job):
            freed = [
                child
                for run in unservable
                for child in _end_step(job, run, "failed", self._exhausted[run.role], actions)
            ]
            _make_ready(freed, now)
        return [*actions, *self._dispatch(job), *self._finish(job)]

    def _unservable(self, job: _JobRun) -> list[_StepRun]:
        """The ready steps whose role is exhausted."""
        if not self._exhausted:
            return []
        return [run for run in job.steps.values() if run.state == "ready" and run.role in self._exhausted]

    def _dispatch(self, job: _JobRun) -> list[Action]:
        """Send all ready steps of a job: one batch for each role, time of becoming ready, and attempt."""
        groups: dict[tuple[Role, float, int], list[_StepRun]] = {}
        for run in job.steps.values():
            if run.state == "ready":
                groups.setdefault((run.role, run.ready_at, run.attempts), []).append(run)
        return [
            self._send(job, runs, replica)
            for (role, _, _), runs in groups.items()
            if (replica := self._routers[role].route(job.plan.passage_id, job.prefix_work)) is not None
        ]

    def _send(self, job: _JobRun, runs: list[_StepRun], replica: str) -> Dispatch:
        first, passage_id = runs[0], job.plan.passage_id
        router = self._routers[first.role]
        # The batch reads the passage once: its first step is charged for that.
        reading = 0.0 if router.affinity.get(passage_id) == replica else job.prefix_work
        for run in runs:
            run.state, run.replica, run.assigned = "running", replica, run.work + reading
            run.attempts += 1
            router.assign(passage_id, replica, run.assigned)
            reading = 0.0
        batch, job.batches = job.batches, job.batches + 1
        return Dispatch(job.plan.key, batch, replica, tuple(run.step for run in runs), first.ready_at, first.attempts)

    def _finish(self, job: _JobRun) -> list[Action]:
        key = job.plan.key
        if not job.ended:
            return []
        if job.plan.open:
            return [RequestPlan(key)]
        del self._jobs[key]
        if not any(other.plan.passage_id == job.plan.passage_id for other in self._jobs.values()):
            for router in self._routers.values():
                router.clear_affinity(job.plan.passage_id)
        return [Finish(key)]

    def _requeue_lost(self, replica: str, reason: str, now: float) -> list[Action]:
        """Make the steps of a lost replica ready again; those that were sent often enough fail."""
        for router in self._routers.values():
            router.leave(replica)
        actions: list[Action] = []
        for job in list(self._jobs.values()):
            lost = [run for run in job.steps.values() if run.replica == replica]
            if not lost:
                continue
            job.story.append((now, ReplicaLost(replica, reason)))
            spent = [run for run in lost if run.attempts >= self._max_attempts]
            for run in lost:
                if run.attempts < self._max_attempts:
                    run.state, run.replica, run.assigned = "ready", "", 0.0
            why = f"sent {self._max_attempts} times, the replica was lost each time: {reason}"
            actions += self._end_running(job, spent, "failed", why, now)
        return actions


def _end_step(job: _JobRun, run: _StepRun, state: StepState, reason: str, actions: list[Action]) -> list[_StepRun]:
    """Put a step into a final state. Returns the steps that it, or a step skipped for it, no longer blocks."""
    run.state = state
    if state == "failed" or state == "skipped":
        actions.append(EndSteps(job.plan.key, (run.step,), state, reason))
    freed: list[_StepRun] = []
    for child in run.children:
        child.blockers.discard(run.step.id)
        if state != "done" and run.step.id in child.step.parents and child.state == "waiting":
            freed += _end_step(job, child, "skipped", f"{run.step.id} {state}", actions)
        freed.append(child)
    return freed


def _make_ready(candidates: Iterable[_StepRun], now: float) -> None:
    for run in candidates:
        if run.state == "waiting" and not run.blockers:
            run.state, run.ready_at = "ready", now
