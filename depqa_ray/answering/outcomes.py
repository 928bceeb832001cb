"""From a step's end to the outcomes of its questions: one for each question that it asks, whatever the model wrote."""

from __future__ import annotations

from depqa_ray.answering.answers import parse_answer, parse_batch
from depqa_ray.answering.prompts import labels
from depqa_ray.core import Outcome, OutcomeStatus, Step


def parse_outcomes(step: Step, text: str) -> tuple[Outcome, ...]:
    """The answers in a model's text, in the order of the step's questions; none for a step that asks for edges."""
    if step.form == "edges":
        return ()
    if step.form == "single":
        parsed = parse_answer(text)
        return (Outcome(step.questions[0], "answered", parsed.answer, parsed.strict_json),)
    keys = labels(len(step.questions))
    answers = parse_batch(text, keys)
    return tuple(
        Outcome(question, "answered", answers[key].answer, answers[key].strict_json)
        for question, key in zip(step.questions, keys, strict=True)
    )


def unanswered(step: Step, status: OutcomeStatus, reason: str) -> tuple[Outcome, ...]:
    """The outcomes of a step that ended without a reply; none for a step that asks for edges."""
    return () if step.form == "edges" else tuple(Outcome(id_, status, reason=reason) for id_ in step.questions)
