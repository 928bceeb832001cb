"""The driver: the one loop between the scheduler, which decides, and the pool, which does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from depqa_ray.answering.answers import parse_answer, parse_batch
from depqa_ray.answering.prompts import SYSTEM, label, step_prompt
from depqa_ray.core import Completion, Job, JobKey, Outcome, OutcomeStatus, Passage, Plan, Step, StepResult
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.errors import ClusterError
from depqa_ray.planning.planner import Planner
from depqa_ray.runtime.pool import Answered, Exhausted, Joined, Lost, Pool, PoolEvent
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
from depqa_ray.scheduling.scheduler import DependencyScheduler

_CHARACTERS_PER_TOKEN = 4.0
_STEP_WORK = 40.0  # tokens: a question and its answer, as SQuAD's are; routing needs no more than the order of size


class Sink(Protocol):
    """Where results go. Times are seconds since the driver started."""

    def ended(self, result: StepResult) -> None:
        """A step ended, with an outcome for each of its questions. Recorded before anything else is told of it."""

    def planned(self, job: Job, chosen: EdgeSelection) -> None:
        """The edges of a job are known; its questions are asked along them."""

    def finished(self, job: Job, admitted: float, at: float) -> None:
        """Every question of the job has its outcome."""

    def remark(self, text: str) -> None:
        """Something that a person should hear of, such as a lost replica."""

    def joined(self, event: Joined) -> None:
        """A replica is ready."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A prompt under way: whose step it asks, and how it was dispatched."""

    step: Step
    dispatch: Dispatch
    at: float


@dataclass(slots=True)
class _Active:
    """A job under way: when it began, its plan so far, the answers so far by question id.

    ``sent`` has the latest dispatch of each step that was sent. ``edges_reply`` is what the model said about edges,
    None before and where it said nothing; ``trouble`` says why.
    """

    job: Job
    admitted: float
    plan: Plan
    answers: dict[str, str] = field(default_factory=dict)
    sent: dict[str, _Sent] = field(default_factory=dict)
    edges_reply: str | None = None
    trouble: str = ""


class Driver:
    """Admits jobs while there is room and carries the scheduler's actions out until every job has finished.

    ``in_flight`` bounds the jobs under way; where it is None, jobs are admitted while the replicas have fewer than
    ``steps_per_replica`` steps each. Jobs are taken from their iterator only then, so memory does not grow with them.
    ``system`` gives the system message of all prompts about a passage. With ``fresh`` the replicas forget what they
    have read before each job, which only makes sense one job at a time. With ``edges_apart`` the pool has replicas that
    are asked for edges and nothing else.
    Invariant: ``_active`` has exactly the scheduler's jobs; ``_sent`` exactly the prompts with living replicas.
    """

    def __init__(
        self,
        pool: Pool,
        sink: Sink,
        planner: Planner,
        max_new_tokens: int,
        steps_per_replica: int,
        in_flight: int | None = None,
        *,
        system: Callable[[Passage], str] = lambda passage: SYSTEM,
        fresh: bool = False,
        edges_apart: bool = False,
    ) -> None:
        self._pool, self._sink, self._planner = pool, sink, planner
        self._max_new_tokens = max_new_tokens
        self._system = system
        self._steps_per_replica, self._in_flight, self._fresh = steps_per_replica, in_flight, fresh
        self._roles: tuple[Role, ...] = ("answers", "edges") if edges_apart else ("answers",)
        self._seen: set[Role] = set()
        self._scheduler = DependencyScheduler(edges_apart=edges_apart)
        self._began = pool.now()
        self._active: dict[JobKey, _Active] = {}
        self._sent: dict[str, _Sent] = {}

    async def run(self, jobs: Iterator[Job]) -> None:
        """Answer all jobs. Raises ClusterError where no replica is left; what has ended by then is with the sink."""
        more = True
        while True:
            while more and self._room():
                job = next(jobs, None)
                more = job is not None
                if job is not None:
                    if self._fresh:
                        await self._pool.reset_prefix_cache()
                    self._admit(job)
            if not more and not self._active:
                return
            for event in await self._pool.events():
                self._hear(event)

    def _room(self) -> bool:
        replicas = self._scheduler.replicas("answers")
        if not replicas or not self._seen.issuperset(self._roles):
            return False
        if self._in_flight is not None:
            return self._scheduler.jobs < self._in_flight
        # Work for edges alone must not keep those busy that answer, nor the other way round.
        return all(
            self._scheduler.busy(role) < max(1, self._scheduler.replicas(role)) * self._steps_per_replica
            for role in self._roles
        )

    def _admit(self, job: Job) -> None:
        now = self._now()
        plan, chosen = self._planner.begin(job)
        self._active[(job.strategy, job.passage.id)] = _Active(job, now, plan)
        if chosen is not None:
            self._sink.planned(job, chosen)
        self._tell(Admitted(plan, now, len(job.passage.text) / _CHARACTERS_PER_TOKEN, _step_work(plan)))

    def _extend(self, key: JobKey) -> None:
        active = self._active[key]
        active.plan, chosen = self._planner.extend(active.job, active.plan, active.edges_reply, active.trouble)
        self._sink.planned(active.job, chosen)
        self._tell(Extended(active.plan, self._now(), _step_work(active.plan)))

    def _hear(self, event: PoolEvent) -> None:
        """Something happened to the pool: say it in the scheduler's words, and do what it answers."""
        match event:
            case Joined(replica, _, role):
                self._sink.joined(event)
                self._seen.add(role)
                self._tell(ReplicaJoined(replica, self._now(), role))
            case Answered(replica, completions):
                self._take(replica, completions)
            case Lost(replica, reason):
                self._sink.remark(f"{replica} was lost: {reason}")
                self._sent = {id_: sent for id_, sent in self._sent.items() if sent.dispatch.replica != replica}
                self._tell(ReplicaLost(replica, reason, self._now()))
            case Exhausted(reason, role):
                self._go_without(role, reason)

    def _go_without(self, role: Role, reason: str) -> None:
        """No replica of a role is left. Edges can be had without; but a model that never answered is a mistake."""
        if role == "answers":
            raise ClusterError(f"no replica is left and none can be started: {reason}")
        if role not in self._seen:
            raise ClusterError(f"nobody can be asked for edges (--deps-engine): {reason}")
        self._sink.remark(f"nobody is left who can be asked for edges, the heuristic takes over: {reason}")
        self._tell(Deserted(role, reason, self._now()))

    def _take(self, replica: str, completions: tuple[Completion, ...]) -> None:
        """Record what completions bring, then tell the scheduler: job by job, since siblings that end together count
        as one event."""
        now = self._now()
        done: dict[JobKey, list[str]] = {}
        failed: list[Failed] = []
        for completion in completions:
            sent = self._sent.get(completion.prompt_id)
            if sent is None or sent.dispatch.replica != replica:
                continue  # of a replica that was given up in the meantime
            del self._sent[completion.prompt_id]
            key = sent.dispatch.key
            if completion.error is None:
                self._record(sent, completion, now)
                done.setdefault(key, []).append(sent.step.id)
            else:  # recorded when the scheduler gives the step up
                failed.append(Failed(key, sent.step.id, completion.error, now))
        for key, steps in done.items():
            self._tell(Completed(key, tuple(steps), now))
        for failure in failed:
            self._tell(failure)

    def _record(self, sent: _Sent, completion: Completion, now: float) -> None:
        active = self._active[sent.dispatch.key]
        if sent.step.form == "edges":
            active.edges_reply = completion.text
        outcomes = _outcomes(sent.step, completion.text)
        active.answers.update((outcome.question_id, outcome.answer) for outcome in outcomes)
        result = self._result(active, sent.step, outcomes, now)
        self._sink.ended(
            replace(
                result,
                text=completion.text,
                prompt_tokens=completion.prompt_tokens,
                generated_tokens=completion.generated_tokens,
                engine_seconds=completion.seconds,
            )
        )

    def _result(self, active: _Active, step: Step, outcomes: tuple[Outcome, ...], now: float) -> StepResult:
        """How a step of a job ended, with its latest dispatch where it was ever sent."""
        job = active.job
        result = StepResult(job.strategy, job.passage.id, step.id, outcomes, completed=now - active.admitted)
        sent = active.sent.get(step.id)
        if sent is None:
            return result
        return replace(
            result,
            ready=sent.dispatch.ready - active.admitted,
            dispatched=sent.at - active.admitted,
            replica=sent.dispatch.replica,
            batch=sent.dispatch.batch,
            attempts=sent.dispatch.attempt,
        )

    def _tell(self, event: Event) -> None:
        for action in self._scheduler.handle(event):
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Dispatch():
                self._dispatch(action)
            case GiveUp(key, steps, skipped, reason):
                for step in steps:
                    self._give_up(self._active[key], step, skipped, reason)
            case Extend(key):
                self._extend(key)
            case Finish(key):
                active = self._active.pop(key)
                self._sink.finished(active.job, active.admitted, self._now())

    def _dispatch(self, dispatch: Dispatch) -> None:
        active = self._active[dispatch.key]
        now = self._now()
        prompts = []
        system = self._system(active.job.passage)
        for step in dispatch.steps:
            # The same at every attempt: drawn tokens are seeded by it. Ids of strangers may hold any separator.
            prompt_id = json.dumps([*dispatch.key, step.id])
            passage, answers = active.job.passage, active.answers
            prompts.append(step_prompt(prompt_id, passage, step, answers, self._max_new_tokens, system))
            self._sent[prompt_id] = active.sent[step.id] = _Sent(step, dispatch, now)
        self._pool.send(dispatch.replica, prompts)

    def _give_up(self, active: _Active, step: Step, skipped: bool, reason: str) -> None:
        if step.form == "edges":  # which nobody has to be told of as of an answer: the job goes on
            active.trouble = reason
        status: OutcomeStatus = "skipped" if skipped else "failed"
        outcomes = tuple(Outcome(question, status, reason=reason) for question in _answered_by(step))
        self._sink.ended(self._result(active, step, outcomes, self._now()))

    def _now(self) -> float:
        return self._pool.now() - self._began


def _outcomes(step: Step, text: str) -> tuple[Outcome, ...]:
    """The answers in a model's text, one for each question that the step answers."""
    if step.form == "edges":
        return ()
    if step.form == "single":
        parsed = parse_answer(text)
        return (Outcome(step.questions[0], "answered", parsed.answer, parsed.strict_json),)
    labels = [label(position) for position in range(len(step.questions))]
    answers = parse_batch(text, labels)
    return tuple(
        Outcome(question, "answered", answers[name].answer, answers[name].strict_json)
        for question, name in zip(step.questions, labels, strict=True)
    )


def _answered_by(step: Step) -> tuple[str, ...]:
    """The questions that a step answers."""
    return () if step.form == "edges" else step.questions


def _step_work(plan: Plan) -> Mapping[str, float]:
    return {step.id: _STEP_WORK * len(step.questions) for step in plan.steps}
