"""The driver: the one loop between the scheduler, which decides, and the pool, which computes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from depqa_ray.answering.prompts import PromptBuilder
from depqa_ray.core import Completion, Job, JobKey, Prompt
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.errors import ClusterError
from depqa_ray.planning.planner import Planner
from depqa_ray.results.records import EdgeRecord, PassageResult
from depqa_ray.runtime.active_job import ActiveJob, SentStep
from depqa_ray.runtime.pool import CompletionsReceived, Pool, PoolEvent
from depqa_ray.runtime.recorder import Recorder
from depqa_ray.scheduling.events import (
    Action,
    Admitted,
    Completed,
    Dispatch,
    EndSteps,
    Event,
    Failed,
    Finish,
    LossCause,
    PlanExtended,
    ReplicaJoined,
    ReplicaLost,
    RequestPlan,
    Role,
    RoleExhausted,
)
from depqa_ray.scheduling.scheduler import DependencyScheduler


class Driver:
    """Admits jobs while there is capacity and carries out the scheduler's actions until every job has finished.

    ``in_flight`` bounds the jobs under way; if it is None, jobs are admitted while the replicas have fewer than
    ``steps_per_replica`` steps each. Jobs are taken from their iterator only then, so memory does not grow with them.
    With ``cold_cache``, replicas reset their prefix caches before each job: this makes sense for one job at a time.

    Invariants:

    - ``_active`` has exactly the scheduler's jobs;
    - ``_sent`` has exactly the prompts with living replicas, by replica and prompt id.
    """

    def __init__(
        self,
        pool: Pool,
        recorder: Recorder,
        planner: Planner,
        prompts: PromptBuilder,
        steps_per_replica: int,
        in_flight: int | None = None,
        *,
        cold_cache: bool = False,
    ) -> None:
        self._pool, self._recorder, self._planner, self._prompts = pool, recorder, planner, prompts
        self._steps_per_replica, self._in_flight, self._cold_cache = steps_per_replica, in_flight, cold_cache
        self._scheduler = DependencyScheduler(dedicated_edge_replicas="edge" in pool.roles)
        self._ready_roles: set[Role] = set()
        self._started = pool.now()
        self._active: dict[JobKey, ActiveJob] = {}
        self._sent: defaultdict[str, dict[str, SentStep]] = defaultdict(dict)

    async def run(self, jobs: Iterator[Job]) -> None:
        """Answer all jobs. Raises ClusterError if no replica is left; the recorder has what ended by then."""
        more = True
        while True:
            while more and self._has_capacity():
                job = next(jobs, None)
                more = job is not None
                if job is not None:
                    if self._cold_cache:
                        await self._pool.reset_prefix_cache()
                    self._admit(job)
            if not more and not self._active:
                return
            for event in await self._pool.events():
                self._on_pool_event(event)

    def _has_capacity(self) -> bool:
        if not self._scheduler.replicas("answer") or self._ready_roles != self._pool.roles:
            return False
        if self._in_flight is not None:
            return self._scheduler.jobs < self._in_flight
        # Edges alone must not fill the replicas that answer, nor the other way round.
        return all(
            self._scheduler.busy(role) < max(1, self._scheduler.replicas(role)) * self._steps_per_replica
            for role in self._pool.roles
        )

    def _admit(self, job: Job) -> None:
        admitted = self._now()
        plan, selection = self._planner.begin(job)
        active = self._active[job.key] = ActiveJob(job, plan, admitted)
        self._record_edges(job, selection)
        self._notify(Admitted(plan, active.prefix_work, active.step_work), admitted)

    def _extend(self, key: JobKey) -> None:
        active = self._active[key]
        reply, reason = active.edges_reply, active.failure_reason
        active.plan, selection = self._planner.extend(active.job, active.plan, reply, reason)
        self._record_edges(active.job, selection)
        self._notify(PlanExtended(active.plan, active.step_work), self._now())

    def _record_edges(self, job: Job, selection: EdgeSelection | None) -> None:
        if selection is not None:
            self._recorder.record(EdgeRecord(*job.key, selection))

    def _on_pool_event(self, event: PoolEvent) -> None:
        match event:
            case CompletionsReceived(replica, completions):
                self._on_completions(replica, completions)
                return
            case ReplicaJoined(replica, role):
                self._recorder.on_ready(replica, role, self._pool.info(replica))
                self._ready_roles.add(role)
            case ReplicaLost(replica, reason, cause):
                lost = self._sent.pop(replica, {})
                self._recorder.warn(f"{replica} was lost: {reason}{_what_it_had(lost.values(), cause)}")
            case RoleExhausted(reason, role):
                self._on_role_exhausted(role, reason)
        self._notify(event, self._now())

    def _on_role_exhausted(self, role: Role, reason: str) -> None:
        """Raise ClusterError unless the heuristic can replace the model. A model that never answered is a mistake."""
        if role == "answer":
            raise ClusterError(f"no replica is left and none can be started: {reason}")
        if role not in self._ready_roles:
            raise ClusterError(f"no replica can be asked for edges (--deps-engine): {reason}")
        self._recorder.warn(f"no replica is left to ask for edges, so the heuristic takes over: {reason}")

    def _on_completions(self, replica: str, completions: tuple[Completion, ...]) -> None:
        """Record completions, then notify the scheduler job by job: siblings that end together are one event."""
        now, expected = self._now(), self._sent.get(replica, {})
        done: dict[JobKey, list[str]] = {}
        failed: list[Failed] = []
        for completion in completions:
            sent = expected.pop(completion.prompt_id, None)
            if sent is None:
                continue  # the replica was lost in the meantime
            key = sent.dispatch.key
            if completion.error is None:
                self._recorder.record(self._active[key].complete(sent.step, completion, now))
                done.setdefault(key, []).append(sent.step.id)
            else:  # recorded when the scheduler ends the step
                self._active[key].refused.add(sent.step.id)
                failed.append(Failed(key, sent.step.id, completion.error))
        for key, steps in done.items():
            self._notify(Completed(key, tuple(steps)), now)
        for failure in failed:
            self._notify(failure, now)

    def _notify(self, event: Event, now: float) -> None:
        for action in self._scheduler.handle(event, now):
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Dispatch():
                self._dispatch(action)
            case EndSteps(key, steps, status, reason):
                for step in steps:
                    self._recorder.record(self._active[key].end(step, status, reason, self._now()))
            case RequestPlan(key):
                self._extend(key)
            case Finish(key):
                admitted = self._active.pop(key).admitted
                self._recorder.record(PassageResult(*key, admitted, self._now()))

    def _dispatch(self, dispatch: Dispatch) -> None:
        active, now = self._active[dispatch.key], self._now()
        prompts: list[Prompt] = []
        for step in dispatch.steps:
            prompt = self._prompts.build(active.job, step, active.answers)
            self._sent[dispatch.replica][prompt.id] = active.sent[step.id] = SentStep(step, dispatch, now)
            prompts.append(prompt)
        self._pool.send(dispatch.replica, prompts)

    def _now(self) -> float:
        return self._pool.now() - self._started


def _what_it_had(lost: Collection[SentStep], cause: LossCause) -> str:
    """What becomes of a lost replica's prompts, for people."""
    count = len(lost)
    if count > 1:
        return f"; its {count} prompts are sent again{'' if cause == 'machine' else ' one by one'}"
    return "".join(f"; it had one prompt, about the passage {sent.dispatch.key[1]}" for sent in lost)
