"""The entries of one passage in the results: its questions, and how each ended under each strategy. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from depqa_ray.answering.scoring import exact_match, f1, lenient, strict
from depqa_ray.core import Edge, Outcome, Question, StepResult
from depqa_ray.results.averages import count_statuses, mean_scores
from depqa_ray.results.dags import passage_edges
from depqa_ray.results.records import EdgeRecord, PassageRecord
from depqa_ray.results.schema import AnswerEntry, PassageEntry, PassageStrategy, QuestionEntry

NO_OUTCOME: Final = "no outcome was recorded"
"""The reason of a question that its finished passage left without an outcome: a hole, counted as a failure."""


def passage_strategy(
    name: str, record: PassageRecord, steps: Sequence[StepResult], dag: EdgeRecord | None = None
) -> PassageStrategy:
    """The figures of one passage under one strategy, every question of the passage counted once.

    Steps without outcomes are those that asked the model for dependencies.
    """
    found = {outcome.question_id: (step, outcome) for step in steps for outcome in step.outcomes}
    hole = StepResult(name, record.passage.id, "", ())
    answers = []
    for question in record.passage.questions:
        step, outcome = found.get(question.id) or (hole, Outcome(question.id, "failed", reason=NO_OUTCOME))
        answers.append(
            _answer_entry(question, parents_of(question.id, dag.chosen.selected if dag else ()), step, outcome)
        )
    dep_steps = [step for step in steps if not step.outcomes]
    dep_prompt_tokens = sum(step.prompt_tokens for step in dep_steps)
    dep_generated_tokens = sum(step.generated_tokens for step in dep_steps)
    return PassageStrategy(
        name=name,
        metrics=mean_scores(answers),
        counts=count_statuses(answers),
        prompt_tokens=sum(step.prompt_tokens for step in steps),
        generated_tokens=sum(step.generated_tokens for step in steps),
        dep_prompt_tokens=dep_prompt_tokens,
        dep_generated_tokens=dep_generated_tokens,
        dep_tokens=dep_prompt_tokens + dep_generated_tokens,
        dep_latency=max((step.completed for step in dep_steps), default=0.0),
        latency=max((step.completed for step in steps), default=0.0),
        batches=len({step.batch for step in steps if step.batch >= 0}),
        dag=None
        if dag is None
        else passage_edges(dag, record.passage, answers, asked=any(step.batch >= 0 for step in dep_steps)),
        questions=answers,
    )


def parents_of(question_id: str, edges: Iterable[Edge]) -> list[str]:
    """The ids of the questions whose answers the question needs, each once."""
    return list(dict.fromkeys(edge.parent for edge in edges if edge.child == question_id))


def passage_entry(record: PassageRecord, strategies: list[PassageStrategy]) -> PassageEntry:
    """A passage with its questions and what the strategies made of it."""
    passage, gold = record.passage, record.passage.gold_edges
    return PassageEntry(
        id=passage.id,
        title=passage.title,
        context=passage.text,
        questions=[
            QuestionEntry(
                id=question.id,
                question=question.text,
                gold=list(question.answers),
                gold_parents=None if gold is None else parents_of(question.id, gold),
            )
            for question in passage.questions
        ],
        strategies=strategies,
    )


def _answer_entry(question: Question, parents: list[str], step: StepResult, outcome: Outcome) -> AnswerEntry:
    answer, golds = outcome.answer, question.answers
    scored = outcome.status == "answered" and bool(golds)
    return AnswerEntry(
        id=question.id,
        question=question.text,
        gold=list(golds),
        parents=parents,
        answer=answer,
        status=outcome.status,
        reason=outcome.reason,
        strict=strict(answer, outcome.strict_json, golds) if scored else 0.0,
        lenient=lenient(answer, golds) if scored else 0.0,
        em=exact_match(answer, golds) if scored else 0.0,
        f1=f1(answer, golds) if scored else 0.0,
        step=step.step_id,
        text=step.text,
        prompt_tokens=step.prompt_tokens,
        generated_tokens=step.generated_tokens,
        ready=step.ready,
        dispatched=step.dispatched,
        completed=step.completed,
        engine_seconds=step.engine_seconds,
        replica=step.replica,
        batch=step.batch,
        attempts=step.attempts,
    )
