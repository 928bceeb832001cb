"""The scheduler: pure decisions about when a step starts and where. Events in, actions out; no await, no clock.

The states of a step::

    waiting --last blocker ended--> ready --replica there--> running --> done
       |                              ^                         |
       | a parent failed              '---- replica lost -------+--> failed
       '--> skipped

All steps of a job that one event makes ready leave as one batch. Once all steps of an open plan have ended, its
strategy is asked for the rest of the plan. Steps that may have broken a replica leave one by one (``suspects``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from depqa_ray.core import JobKey, Step, prerequisites
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
from depqa_ray.scheduling.runs import JobRun, StepRun, StepState
from depqa_ray.scheduling.suspects import Suspects


@dataclass(slots=True)
class _RoleRun:
    """The work of one role.

    - ``running`` has the living replicas, each with its steps in the order in which they were sent.
    - ``unsent`` names the jobs that have steps which are ready, no suspects, and without a replica.
    - ``busy`` counts the steps that are ready or running.
    - ``exhausted`` is None, or why there will be no replica.
    """

    router: Router = field(default_factory=Router)
    suspects: Suspects = field(default_factory=Suspects)
    running: dict[str, dict[StepRun, None]] = field(default_factory=dict)
    unsent: dict[JobKey, None] = field(default_factory=dict)
    busy: int = 0
    exhausted: str | None = None

    @property
    def idle(self) -> str | None:
        """A replica that has nothing."""
        return next((replica for replica, runs in self.running.items() if not runs), None)

    @property
    def is_trying(self) -> bool:
        """Whether a suspect is with the replica that is reserved for them."""
        return bool(self.running.get(self.router.reserved))


class DependencyScheduler:
    """Holds the jobs under way and decides.

    With ``dedicated_edge_replicas``, replicas of the role "edge" get the steps that ask for edges, and no others;
    otherwise those that answer get all.
    """

    def __init__(self, *, dedicated_edge_replicas: bool = False) -> None:
        self._dedicated_edge_replicas = dedicated_edge_replicas
        roles: tuple[Role, ...] = ("answer", "edge")
        self._roles = {role: _RoleRun() for role in roles}
        self._jobs: dict[JobKey, JobRun] = {}
        self._jobs_of_passage: Counter[str] = Counter()

    def __repr__(self) -> str:
        load = {name: role.router.load for name, role in self._roles.items() if role.running}
        return f"<DependencyScheduler jobs={len(self._jobs)} load={load}>"

    @property
    def jobs(self) -> int:
        """How many jobs are under way."""
        return len(self._jobs)

    def busy(self, role: Role) -> int:
        """How many steps are with a replica of that role, or ready for one."""
        return self._roles[role].busy

    def replicas(self, role: Role) -> int:
        """How many replicas of that role take work."""
        return len(self._roles[role].running)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Return the actions, in order, on an event at ``now`` (seconds). Raises InvalidEvent if it cannot happen."""
        actions = self._react(event, now)
        for role in self._roles.values():
            actions += self._try_suspect(role)
        return actions

    def _react(self, event: Event, now: float) -> list[Action]:
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
            case ReplicaJoined(replica, name):
                return self._join(self._roles[name], replica)
            case ReplicaLost(replica):
                role = next((role for role in self._roles.values() if replica in role.running), None)
                return self._lose(role, event, now) if role else []
            case RoleExhausted(reason, name):
                return self._exhaust(self._roles[name], reason, now)

    def validate(self) -> None:
        """Raise AssertionError if an invariant is broken."""
        for name, role in self._roles.items():
            runs = [run for job in self._jobs.values() for run in job.steps.values() if run.role == name]
            self._validate_role(role, runs)
        assert self._jobs_of_passage == Counter(job.plan.passage_id for job in self._jobs.values())
        for key, job in self._jobs.items():
            assert job.plan.key == key
            assert job.plan.open or not job.ended, f"{key} has ended and is still here"
            for run in job.steps.values():
                self._validate_step(job, run)

    def _validate_role(self, role: _RoleRun, runs: list[StepRun]) -> None:
        role.router.validate()
        assert role.running.keys() == role.router.load.keys()
        assert role.busy == sum(run.state in ("ready", "running") for run in runs), role.busy
        for replica in role.running:
            assert set(role.running[replica]) == {run for run in runs if run.replica == replica}, replica
        unsent = {run.job.plan.key for run in runs if run.state == "ready" and run.suspects is None}
        assert unsent == role.unsent.keys(), f"{unsent} are unsent, not {role.unsent}"
        assert not unsent or role.running.keys() <= {role.router.reserved}, f"{unsent} are ready and were not sent"
        waiting = [run for run in runs if run.state == "ready" and run.suspects is not None]
        assert len(waiting) == len(role.suspects) and all(run in role.suspects for run in waiting), waiting
        assert not waiting or role.is_trying or role.idle is None, f"{waiting} could be tried"
        assert len(role.running.get(role.router.reserved, ())) <= 1, "suspects are tried one by one"
        trying = {run for run in runs if run.suspects is not None and run.state == "running"}
        assert trying == set(role.running.get(role.router.reserved, ())), f"{trying} are suspects in company"

    def _validate_step(self, job: JobRun, run: StepRun) -> None:
        place = (job.plan.key, run.step.id)
        running = run.state == "running"
        assert bool(run.replica) == running and (running or not run.assigned), place
        assert not running or run.replica in self._roles[run.role].running, f"{place} is with {run.replica}"
        blockers = {id_ for id_ in prerequisites(run.step) if not job.steps[id_].ended}
        assert run.blockers == blockers or run.state == "skipped", place
        assert (run.state == "waiting") <= bool(blockers), f"{place} waits for nothing"
        assert run.suspects is None or run in run.suspects, place

    def _job_of(self, key: JobKey, event: Event, now: float) -> JobRun:
        job = self._jobs.get(key)
        if job is None:
            raise InvalidEvent(f"no job {key} is under way", event)
        job.story.append((now, event))
        return job

    def _running(self, job: JobRun, step_id: str, event: Event) -> StepRun:
        run = job.steps.get(step_id)
        if run is None or run.state != "running":
            state = "unknown" if run is None else run.state
            raise job.invalid(f"step {step_id} of {job.plan.key} is {state}, not running", event)
        return run

    def _admit(self, event: Admitted, now: float) -> list[Action]:
        key = event.plan.key
        if key in self._jobs:
            raise self._jobs[key].invalid(f"job {key} is under way already", event)
        job = self._jobs[key] = JobRun(event.plan, event.prefix_work)
        self._jobs_of_passage[event.plan.passage_id] += 1
        job.story.append((now, event))
        return self._start(job, event.plan.steps, event.step_work, now)

    def _extend(self, event: PlanExtended, now: float) -> list[Action]:
        job = self._job_of(event.plan.key, event, now)
        known = len(job.plan.steps)
        if not (job.plan.open and job.ended) or event.plan.steps[:known] != job.plan.steps:
            raise job.invalid(f"job {job.plan.key} cannot be extended by this plan", event)
        job.plan = event.plan
        return self._start(job, event.plan.steps[known:], event.step_work, now)

    def _start(self, job: JobRun, steps: tuple[Step, ...], work: Mapping[str, float], now: float) -> list[Action]:
        """Add steps to a job; their prerequisites may have ended already."""
        added = [StepRun(job, step, self._role(step), work.get(step.id, 1.0)) for step in steps]
        job.steps.update((run.step.id, run) for run in added)
        for run in added:
            for id_ in prerequisites(run.step):
                if not job.steps[id_].ended:
                    run.blockers.add(id_)
                    job.steps[id_].children.append(run)
        self._make_ready(added, now)
        return self._advance(job, now)

    def _role(self, step: Step) -> Role:
        return "edge" if self._dedicated_edge_replicas and step.form == "edges" else "answer"

    def _join(self, role: _RoleRun, replica: str) -> list[Action]:
        role.router.join(replica)
        role.running[replica] = {}
        role.exhausted = None
        # With suspects and no replica reserved for them, the new one is: it is empty.
        return [] if role.suspects.urgent and not role.router.reserved else self._send_unsent(role)

    def _send_unsent(self, role: _RoleRun) -> list[Action]:
        return [action for key in list(role.unsent) for action in self._dispatch(self._jobs[key])]

    def _end_running(
        self, job: JobRun, runs: Iterable[StepRun], state: StepState, reason: str, now: float
    ) -> list[Action]:
        """Steps with a replica ended: free what they blocked, end what cannot be asked any more."""
        actions: list[Action] = []
        freed: list[StepRun] = []
        for run in runs:
            role = self._roles[run.role]
            role.router.release(run.replica, run.assigned)
            del role.running[run.replica][run]
            role.suspects.acquit(run)
            run.replica, run.assigned = "", 0.0
            freed += self._end_step(run, state, reason, actions)
        self._make_ready(freed, now)
        return [*actions, *self._advance(job, now)]

    def _end_step(self, run: StepRun, state: StepState, reason: str, actions: list[Action]) -> list[StepRun]:
        """Put a step into a final state. Returns the steps that it, or a step skipped for it, no longer blocks."""
        if run.state != "waiting":
            self._roles[run.role].busy -= 1
        run.state = state
        if state == "failed" or state == "skipped":
            actions.append(EndSteps(run.job.plan.key, (run.step,), state, reason))
        freed: list[StepRun] = []
        for child in run.children:
            child.blockers.discard(run.step.id)
            if state != "done" and run.step.id in child.step.parents and child.state == "waiting":
                freed += self._end_step(child, "skipped", f"{run.step.id} {state}", actions)
            freed.append(child)
        return freed

    def _make_ready(self, candidates: Iterable[StepRun], now: float) -> None:
        for run in candidates:
            if run.state == "waiting" and not run.blockers:
                run.state, run.ready_at = "ready", now
                self._roles[run.role].busy += 1

    def _advance(self, job: JobRun, now: float) -> list[Action]:
        """Dispatch what is ready, fail what no replica is left for, and see whether the job has ended."""
        actions: list[Action] = []
        while unservable := self._unservable(job):
            freed = [child for run, why in unservable for child in self._end_step(run, "failed", why, actions)]
            self._make_ready(freed, now)
        return [*actions, *self._dispatch(job), *self._finish(job)]

    def _unservable(self, job: JobRun) -> list[tuple[StepRun, str]]:
        """The ready steps whose role is exhausted, and why it is."""
        exhausted = {name: role.exhausted for name, role in self._roles.items() if role.exhausted is not None}
        if not exhausted:
            return []
        return [
            (run, exhausted[run.role]) for run in job.steps.values() if run.state == "ready" and run.role in exhausted
        ]

    def _dispatch(self, job: JobRun) -> list[Action]:
        """Send all ready steps of a job: one batch for each role, time of becoming ready, and attempt."""
        groups: dict[tuple[Role, float, int], list[StepRun]] = {}
        for run in job.steps.values():
            if run.state == "ready" and run.suspects is None:
                suspects = self._roles[run.role].suspects
                if suspects.is_guilty_passage(run.passage_id):
                    suspects.accuse([run])
                else:
                    groups.setdefault((run.role, run.ready_at, run.attempts), []).append(run)
        for role in self._roles.values():
            role.unsent.pop(job.plan.key, None)
        return [action for (name, _, _), runs in groups.items() for action in self._route(job, runs, self._roles[name])]

    def _route(self, job: JobRun, runs: list[StepRun], role: _RoleRun) -> list[Action]:
        replica = role.router.route(job.plan.passage_id, job.prefix_work)
        if replica is None:
            role.unsent[job.plan.key] = None
            return []
        return [self._send(job, runs, replica)]

    def _send(self, job: JobRun, runs: list[StepRun], replica: str) -> Dispatch:
        first, passage_id = runs[0], job.plan.passage_id
        role = self._roles[first.role]
        # The batch reads the passage once: its first step is charged for that.
        reading = 0.0 if role.router.affinity.get(passage_id) == replica else job.prefix_work
        for run in runs:
            run.state, run.replica, run.assigned = "running", replica, run.work + reading
            run.attempts += 1
            role.running[replica][run] = None
            role.router.assign(passage_id, replica, run.assigned)
            reading = 0.0
        batch, job.batches = job.batches, job.batches + 1
        return Dispatch(job.plan.key, batch, replica, tuple(run.step for run in runs), first.ready_at, first.attempts)

    def _try_suspect(self, role: _RoleRun) -> list[Action]:
        """Send the next suspect to a replica that has nothing else. Ordinary work goes before those that can wait."""
        if role.is_trying or not (role.suspects or role.router.reserved):
            return []
        actions: list[Action] = []
        if not role.suspects.urgent:
            role.router.reserved = ""
            actions = self._send_unsent(role)
        replica = role.router.reserved or role.idle
        if replica and (run := role.suspects.next()):
            role.router.reserved = replica
            actions.append(self._send(run.job, [run], replica))
        return actions

    def _finish(self, job: JobRun) -> list[Action]:
        key = job.plan.key
        if not job.ended:
            return []
        if job.plan.open:
            return [RequestPlan(key)]
        del self._jobs[key]
        self._jobs_of_passage[job.plan.passage_id] -= 1
        if not self._jobs_of_passage[job.plan.passage_id]:
            del self._jobs_of_passage[job.plan.passage_id]
            for role in self._roles.values():
                role.router.clear_affinity(job.plan.passage_id)
        return [Finish(key)]

    def _exhaust(self, role: _RoleRun, reason: str, now: float) -> list[Action]:
        role.exhausted = reason
        waiting = [*(self._jobs[key] for key in role.unsent), *(run.job for run in role.suspects.clear())]
        return [action for job in dict.fromkeys(waiting) for action in self._advance(job, now)]

    def _lose(self, role: _RoleRun, event: ReplicaLost, now: float) -> list[Action]:
        """Make the steps of a lost replica ready again, as suspects if one of them may have broken it."""
        role.router.leave(event.replica)
        lost = list(role.running.pop(event.replica))
        for run in lost:
            run.state, run.replica, run.assigned = "ready", "", 0.0
        touched = dict.fromkeys(run.job for run in lost)
        for job in touched:
            job.story.append((now, event))
        actions: list[Action] = []
        freed: list[StepRun] = []
        failed, released = role.suspects.after_loss(lost, event.cause)
        for run, why in failed:
            freed += self._end_step(run, "failed", f"{why}: {event.reason}", actions)
        self._make_ready(freed, now)
        touched |= dict.fromkeys(run.job for run in released)
        return actions + [action for job in touched for action in self._advance(job, now)]
