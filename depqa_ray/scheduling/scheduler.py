"""The scheduler: pure decisions about when a step starts and where. Events in, actions out; no await, no clock.

The life of a step::

    waiting --last need ended--> ready --replica there--> running --> done
       |                           ^                         |
       | a parent failed           '---- replica lost -------+--> failed
       '--> skipped

A step that one event makes ready leaves with all others of its job that the same event made ready, as one batch. When
all steps of an open plan have ended, its strategy is asked how it goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from depqa_ray.core import JobKey, Plan, Step, prerequisites
from depqa_ray.scheduling.events import (
    Action,
    Admitted,
    Completed,
    Deserted,
    Dispatch,
    Event,
    Extend,
    Extended,
    Failed,
    Finish,
    GiveUp,
    ReplicaJoined,
    ReplicaLost,
    Role,
)
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
    step_work: dict[str, float] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    state: dict[str, StepState] = field(default_factory=dict)
    unmet: dict[str, set[str]] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
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
    """Holds the jobs under way and decides.

    ``max_attempts`` bounds how often a step is sent when replicas are lost. With ``edges_apart`` the replicas of the
    role "edges" get the steps that ask for edges, and no others; else those for answers get all.
    """

    def __init__(self, max_attempts: int = 3, *, edges_apart: bool = False) -> None:
        self._max_attempts = max_attempts
        self._edges_apart = edges_apart
        self._routers: dict[Role, Router] = {"answers": Router(), "edges": Router()}
        self._deserted: dict[Role, str] = {}
        self._jobs: dict[JobKey, _Job] = {}

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
            job.state[step.id] in ("ready", "running") and self._role(step) == role
            for job in self._jobs.values()
            for step in job.steps.values()
        )

    def replicas(self, role: Role) -> int:
        """How many replicas of that role take work."""
        return len(self._routers[role].load)

    def handle(self, event: Event) -> list[Action]:
        """What to do about an event, in this order. Raises ValueError for an event that cannot be."""
        match event:
            case Admitted():
                return self._admit(event)
            case Completed(key, steps, now):
                return self._end(self._job(key), [(step, "done", "") for step in steps], now)
            case Failed(key, step, reason, now):
                return self._end(self._job(key), [(step, "failed", reason)], now)
            case Extended():
                return self._extend(event)
            case ReplicaJoined(replica, _, role):
                self._routers[role].join(replica)
                self._deserted.pop(role, None)
                return [action for job in self._jobs.values() for action in self._dispatch(job)]
            case ReplicaLost(replica, reason, now):
                return self._lose(replica, reason, now)
            case Deserted(role, reason, now):
                self._deserted[role] = reason
                waiting = [job for job in self._jobs.values() if self._stranded(job)]
                return [action for job in waiting for action in self._go_on(job, now)]

    def validate(self) -> None:
        """Raise AssertionError where an invariant is broken."""
        for router in self._routers.values():
            router.validate()
        for job in self._jobs.values():
            assert job.plan.open or not job.ended, f"{job.key} has ended and is still here"
            assert set(job.replica) == set(job.work) == {s for s, state in job.state.items() if state == "running"}
            for step_id, replica in job.replica.items():
                assert replica in self._router(job.steps[step_id]).load, f"{step_id} is with {replica}"
            for step_id, step in job.steps.items():
                open_needs = {need for need in prerequisites(step) if job.state[need] not in _ENDED}
                assert job.unmet[step_id] == open_needs or job.state[step_id] == "skipped", (job.key, step_id)
                assert (job.state[step_id] == "waiting") <= bool(open_needs), f"{step_id} waits for nothing"
                assert job.state[step_id] != "ready" or not self._router(step).load, f"{step_id} is ready and not sent"

    def _job(self, key: JobKey) -> _Job:
        if key not in self._jobs:
            raise ValueError(f"no job {key} is under way")
        return self._jobs[key]

    def _role(self, step: Step) -> Role:
        return "edges" if self._edges_apart and step.form == "edges" else "answers"

    def _router(self, step: Step) -> Router:
        return self._routers[self._role(step)]

    def _admit(self, event: Admitted) -> list[Action]:
        job = _Job(event.plan, event.prefix_work)
        if job.key in self._jobs:
            raise ValueError(f"job {job.key} is under way already")
        self._jobs[job.key] = job
        _add_steps(job, event.plan.steps, event.step_work)
        _make_ready(job, job.steps, event.now)
        return self._go_on(job, event.now)

    def _extend(self, event: Extended) -> list[Action]:
        job = self._job((event.plan.strategy, event.plan.passage_id))
        known = len(job.plan.steps)
        if not (job.plan.open and job.ended) or event.plan.steps[:known] != job.plan.steps:
            raise ValueError(f"job {job.key} cannot be extended by this plan")
        job.plan = event.plan
        new = event.plan.steps[known:]
        _add_steps(job, new, event.step_work)
        _make_ready(job, [step.id for step in new], event.now)
        return self._go_on(job, event.now)

    def _end(self, job: _Job, ended: Iterable[tuple[str, StepState, str]], now: float) -> list[Action]:
        """Steps with a replica have ended: free what waited for them, give up what cannot be asked any more."""
        actions: list[Action] = []
        touched: list[str] = []
        for step_id, state, reason in ended:
            if job.state.get(step_id) != "running":
                raise ValueError(f"step {step_id} of {job.key} is {job.state.get(step_id, 'unknown')}, not running")
            self._router(job.steps[step_id]).done(job.replica.pop(step_id), job.work.pop(step_id))
            touched += self._final(job, step_id, state, reason, actions)
        _make_ready(job, touched, now)
        return [*actions, *self._go_on(job, now)]

    def _go_on(self, job: _Job, now: float) -> list[Action]:
        """Send what is ready, give up what nobody is left to answer, and see whether the job has ended."""
        actions: list[Action] = []
        while stranded := self._stranded(job):
            touched: list[str] = []
            for step in stranded:
                touched += self._final(job, step.id, "failed", self._deserted[self._role(step)], actions)
            _make_ready(job, touched, now)
        return [*actions, *self._dispatch(job), *self._finish(job)]

    def _stranded(self, job: _Job) -> list[Step]:
        """The steps that are ready for replicas that will never come."""
        return [s for s in job.steps.values() if job.state[s.id] == "ready" and self._role(s) in self._deserted]

    def _final(self, job: _Job, step_id: str, state: StepState, reason: str, actions: list[Action]) -> list[str]:
        """A step has ended. Returns the children that heard of it."""
        job.state[step_id] = state
        if state == "failed":
            actions.append(GiveUp(job.key, (job.steps[step_id],), False, reason))
        return self._release(job, step_id, actions)

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
        """Send all ready steps of a job, as one batch for each role, moment of becoming ready, and attempt."""
        ready = [step for step_id, step in job.steps.items() if job.state[step_id] == "ready"]
        groups: dict[tuple[Role, float, int], list[Step]] = {}
        for step in ready:
            groups.setdefault((self._role(step), job.ready_at[step.id], job.attempts[step.id] + 1), []).append(step)
        return [
            self._send(job, tuple(steps), ready_at, attempt, replica)
            for (role, ready_at, attempt), steps in groups.items()
            if (replica := self._routers[role].pick(job.plan.passage_id, job.prefix_work)) is not None
        ]

    def _send(self, job: _Job, steps: tuple[Step, ...], ready: float, attempt: int, replica: str) -> Dispatch:
        passage_id, router = job.plan.passage_id, self._router(steps[0])
        prefix = 0.0 if router.homes.get(passage_id) == replica else job.prefix_work
        for position, step in enumerate(steps):
            # The batch reads the passage once: its first step bears that.
            work = job.step_work.get(step.id, 1.0) + (0.0 if position else prefix)
            router.sent(passage_id, replica, work)
            job.state[step.id], job.replica[step.id], job.work[step.id] = "running", replica, work
            job.attempts[step.id] = attempt
        batch, job.batches = job.batches, job.batches + 1
        return Dispatch(job.key, batch, replica, steps, ready, attempt)

    def _finish(self, job: _Job) -> list[Action]:
        if not job.ended:
            return []
        if job.plan.open:
            return [Extend(job.key)]
        del self._jobs[job.key]
        if not any(other.plan.passage_id == job.plan.passage_id for other in self._jobs.values()):
            for router in self._routers.values():
                router.clear_affinity(job.plan.passage_id)
        return [Finish(job.key)]

    def _lose(self, replica: str, reason: str, now: float) -> list[Action]:
        """Send what the replica had to others, but for steps that have been sent often enough."""
        for router in self._routers.values():
            router.leave(replica)
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
                actions += self._go_on(job, now)
        return actions


def _add_steps(job: _Job, steps: Iterable[Step], work: Mapping[str, float]) -> None:
    """Steps that a job did not have yet; what they need may have ended."""
    steps = tuple(steps)
    job.step_work.update(work)
    for step in steps:
        job.steps[step.id], job.state[step.id], job.attempts[step.id] = step, "waiting", 0
        job.children[step.id] = []
    for step in steps:
        job.unmet[step.id] = {need for need in prerequisites(step) if job.state[need] not in _ENDED}
        for need in job.unmet[step.id]:
            job.children[need].append(step.id)


def _make_ready(job: _Job, candidates: Iterable[str], now: float) -> None:
    for step_id in candidates:
        if job.state[step_id] == "waiting" and not job.unmet[step_id]:
            job.state[step_id] = "ready"
            job.ready_at[step_id] = now
