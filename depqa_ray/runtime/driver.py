"""The driver: the one loop between the scheduler, which decides, and the pool, which does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from depqa_ray.answering.answers import parse_answer, parse_batch
from depqa_ray.answering.prompts import SYSTEM, label, step_prompt
from depqa_ray.config import StrategyName
from depqa_ray.errors import ClusterError
from depqa_ray.models import Completion, Edge, Outcome, Passage, Step, StepResult
from depqa_ray.runtime.pool import Answered, Exhausted, Joined, Lost, Pool, PoolEvent
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
from depqa_ray.scheduling.plan import Plan
from depqa_ray.scheduling.scheduler import DependencyScheduler
from depqa_ray.strategies import compile_plan

_CHARACTERS_PER_TOKEN = 4.0
_STEP_WORK = 40.0  # tokens: a question and its answer, as SQuAD's are; routing needs no more than the order of size


@dataclass(frozen=True, slots=True)
class Job:
    """One passage to be answered under one strategy."""

    strategy: StrategyName
    passage: Passage
    edges: tuple[Edge, ...] = ()


class Sink(Protocol):
    """Where results go. Times are seconds since the driver started."""

    def ended(self, result: StepResult) -> None:
        """A step ended, with an outcome for each of its questions. Recorded before anything else is told of it."""

    def finished(self, job: Job, admitted: float, at: float) -> None:
        """Every question of the job has its outcome."""

    def remark(self, text: str) -> None:
        """Something that a person should hear of, such as a lost replica."""

    def joined(self, event: Joined) -> None:
        """A replica is ready."""


@dataclass(slots=True)
class _Active:
    """A job under way: when it began, and the answers so far by question id."""

    job: Job
    admitted: float
    answers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A prompt under way: whose step it asks, and how it was dispatched."""

    step: Step
    dispatch: Dispatch
    at: float


class Driver:
    """Admits jobs while there is room and carries the scheduler's actions out until every job has finished.

    ``in_flight`` bounds the jobs under way; where it is None, jobs are admitted while the replicas have fewer than
    ``steps_per_replica`` steps each. Jobs are taken from their iterator only then, so memory does not grow with them.
    ``system`` gives the system message of all prompts about a passage; ``seed`` is that of drawn orders.
    Invariant: ``_active`` has exactly the scheduler's jobs; ``_sent`` exactly the prompts with living replicas.
    """

    def __init__(
        self,
        pool: Pool,
        sink: Sink,
        max_new_tokens: int,
        steps_per_replica: int,
        in_flight: int | None = None,
        scheduler: DependencyScheduler | None = None,
        *,
        system: Callable[[Passage], str] = lambda passage: SYSTEM,
        seed: int = 0,
    ) -> None:
        self._pool, self._sink = pool, sink
        self._max_new_tokens = max_new_tokens
        self._system, self._seed = system, seed
        self._steps_per_replica, self._in_flight = steps_per_replica, in_flight
        self._scheduler = scheduler or DependencyScheduler()
        self._began = pool.now()
        self._active: dict[JobKey, _Active] = {}
        self._sent: dict[str, _Sent] = {}

    async def run(self, jobs: Iterator[Job]) -> None:
        """Answer all jobs. Raises ClusterError where no replica is left; what has ended by then is with the sink."""
        more = True
        while True:
            while more and self._room():
                job = next(jobs, None)
                more = job is not None and self._admit(job)
            if not more and not self._active:
                return
            for event in await self._pool.events():
                self._hear(event)

    def _room(self) -> bool:
        if not self._scheduler.replicas:
            return False
        if self._in_flight is not None:
            return self._scheduler.jobs < self._in_flight
        return self._scheduler.running < self._scheduler.replicas * self._steps_per_replica

    def _admit(self, job: Job) -> bool:
        plan = compile_plan(job.strategy, job.passage, job.edges, seed=self._seed)
        now = self._now()
        self._active[(job.strategy, job.passage.id)] = _Active(job, now)
        self._tell(Admitted(plan, now, len(job.passage.text) / _CHARACTERS_PER_TOKEN, _step_work(plan)))
        return True

    def _hear(self, event: PoolEvent) -> None:
        """Something happened to the pool: say it in the scheduler's words, and do what it answers."""
        match event:
            case Joined(replica, _):
                self._sink.joined(event)
                self._tell(ReplicaJoined(replica, self._now()))
            case Answered(_, completions):
                self._take(completions)
            case Lost(replica, reason):
                self._sink.remark(f"{replica} was lost: {reason}")
                self._sent = {id_: sent for id_, sent in self._sent.items() if sent.dispatch.replica != replica}
                self._tell(ReplicaLost(replica, reason, self._now()))
            case Exhausted(reason):
                raise ClusterError(f"no replica is left and none can be started: {reason}")

    def _take(self, completions: tuple[Completion, ...]) -> None:
        """Record what completions bring, then tell the scheduler: job by job, since siblings that end together count
        as one event."""
        now = self._now()
        done: dict[JobKey, list[str]] = {}
        failed: list[Failed] = []
        for completion in completions:
            sent = self._sent.pop(completion.prompt_id, None)
            if sent is None:
                continue  # of a replica that was given up in the meantime
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
        outcomes = _outcomes(sent.step, completion.text)
        active.answers.update((outcome.question_id, outcome.answer) for outcome in outcomes)
        self._sink.ended(
            StepResult(
                strategy=active.job.strategy,
                passage_id=active.job.passage.id,
                step_id=sent.step.id,
                outcomes=outcomes,
                text=completion.text,
                prompt_tokens=completion.prompt_tokens,
                generated_tokens=completion.generated_tokens,
                ready=sent.dispatch.ready - active.admitted,
                dispatched=sent.at - active.admitted,
                completed=now - active.admitted,
                engine_seconds=completion.seconds,
                replica=sent.dispatch.replica,
                batch=sent.dispatch.batch,
                attempts=sent.dispatch.attempt,
            )
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
            case Finish(key):
                active = self._active.pop(key)
                self._sink.finished(active.job, active.admitted, self._now())

    def _dispatch(self, dispatch: Dispatch) -> None:
        active = self._active[dispatch.key]
        now = self._now()
        prompts = []
        system = self._system(active.job.passage)
        for step in dispatch.steps:
            prompt_id = "/".join((*dispatch.key, step.id, str(dispatch.attempt)))
            passage, answers = active.job.passage, active.answers
            prompts.append(step_prompt(prompt_id, passage, step, answers, self._max_new_tokens, system))
            self._sent[prompt_id] = _Sent(step, dispatch, now)
        self._pool.send(dispatch.replica, prompts)

    def _give_up(self, active: _Active, step: Step, skipped: bool, reason: str) -> None:
        now = self._now() - active.admitted
        self._sink.ended(
            StepResult(
                strategy=active.job.strategy,
                passage_id=active.job.passage.id,
                step_id=step.id,
                outcomes=tuple(
                    Outcome(question, "skipped" if skipped else "failed", reason=reason) for question in step.questions
                ),
                completed=now,
            )
        )

    def _now(self) -> float:
        return self._pool.now() - self._began


def _outcomes(step: Step, text: str) -> tuple[Outcome, ...]:
    """The answers in a model's text, one for each question of the step."""
    if step.form == "single":
        parsed = parse_answer(text)
        return (Outcome(step.questions[0], "answered", parsed.answer, parsed.strict_json),)
    labels = [label(position) for position in range(len(step.questions))]
    answers = parse_batch(text, labels)
    return tuple(
        Outcome(question, "answered", answers[name].answer, answers[name].strict_json)
        for question, name in zip(step.questions, labels, strict=True)
    )


def _step_work(plan: Plan) -> Mapping[str, float]:
    return {step.id: _STEP_WORK * len(step.questions) for step in plan.steps}
