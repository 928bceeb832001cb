"""A job between its admission and its last outcome: what was sent, what was answered, and the results made of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from depqa_ray.answering.answers import parse_reply, unanswered
from depqa_ray.core import Completion, Job, Outcome, OutcomeStatus, Plan, Step, StepResult
from depqa_ray.scheduling.events import Dispatch

_CHARS_PER_TOKEN: Final = 4.0
_STEP_TOKENS: Final = 40.0  # a question and its answer, as SQuAD's are; routing needs the order of size only


@dataclass(frozen=True, slots=True)
class SentStep:
    """A step that was sent: by which dispatch, and when (seconds of the driver's clock)."""

    step: Step
    dispatch: Dispatch
    at: float


@dataclass(slots=True)
class ActiveJob:
    """A job, its plan so far, and when it was admitted (seconds of the driver's clock).

    - ``answers`` holds the answers so far, by question id.
    - ``sent`` holds the latest dispatch of each step that was sent.
    - ``refused`` has the ids of the steps that an engine refused.
    - ``edges_reply`` is the model's reply about edges; None if there is none, and then ``failure_reason`` says why.
    """

    job: Job
    plan: Plan
    admitted: float
    answers: dict[str, str] = field(default_factory=dict)
    sent: dict[str, SentStep] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    edges_reply: str | None = None
    failure_reason: str = ""

    @property
    def prefix_work(self) -> float:
        """Estimated tokens of the passage."""
        return len(self.job.passage.text) / _CHARS_PER_TOKEN

    @property
    def step_work(self) -> Mapping[str, float]:
        """Estimated tokens of each step of the plan."""
        return {step.id: _STEP_TOKENS * len(step.questions) for step in self.plan.steps}

    def complete(self, step: Step, completion: Completion, now: float) -> StepResult:
        """Take in the model's reply to a step that was sent."""
        if step.form == "edges":
            self.edges_reply = completion.text
        reply = parse_reply(step, completion.text)
        self.answers.update((outcome.question_id, outcome.answer) for outcome in reply.outcomes)
        return replace(
            self._result(step, reply.outcomes, now),
            text=completion.text,
            prompt_tokens=completion.prompt_tokens,
            generated_tokens=completion.generated_tokens,
            engine_seconds=completion.seconds,
            finish_reason=completion.finish_reason,
            reply_fault=reply.fault,
        )

    def end(self, step: Step, status: OutcomeStatus, reason: str, now: float) -> StepResult:
        """End a step without a reply. If it asked for edges, no question fails: the planner has a fallback."""
        if step.form == "edges":
            self.failure_reason = reason
        result = self._result(step, unanswered(step, status, reason), now)
        return replace(result, finish_reason="refused") if step.id in self.refused else result

    def _result(self, step: Step, outcomes: tuple[Outcome, ...], now: float) -> StepResult:
        result = StepResult(*self.job.key, step.id, outcomes, completed=now - self.admitted)
        sent = self.sent.get(step.id)
        if sent is None:
            return result
        return replace(
            result,
            ready=sent.dispatch.ready - self.admitted,
            dispatched=sent.at - self.admitted,
            replica=sent.dispatch.replica,
            batch=sent.dispatch.batch,
            attempts=sent.dispatch.attempt,
        )
