"""The figures of one passage: its questions, how each ended under each strategy, and the edges. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from depqa_ray.answering.scoring import exact_match, f1, lenient, stated_answer, strict
from depqa_ray.core import Edge, Outcome, Passage, Question, StepResult
from depqa_ray.edges.graph import DependencyGraph
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.errors import StoreError
from depqa_ray.results.entry import shared_fields
from depqa_ray.results.replies import count_replies
from depqa_ray.results.schema import (
    AnswerEntry,
    Counts,
    PassageEdges,
    PassageEntry,
    PassageStrategy,
    QuestionEntry,
    Scores,
)

_WHOLE: Final = ("json", "eos", "stop")

NO_OUTCOME: Final = "no outcome was recorded"
"""Why a question failed that has no outcome although its passage is finished."""


def passage_entry(passage: Passage, strategies: list[PassageStrategy]) -> PassageEntry:
    """A passage with its questions and its figures under each strategy."""
    gold = passage.gold_edges
    questions = [
        QuestionEntry(
            id=question.id,
            question=question.text,
            gold=list(question.answers),
            gold_parents=None if gold is None else parents_of(question.id, gold),
        )
        for question in passage.questions
    ]
    return PassageEntry(
        id=passage.id, title=passage.title, context=passage.text, questions=questions, strategies=strategies
    )


def passage_strategy(
    name: str, passage: Passage, steps: Sequence[StepResult], selection: EdgeSelection | None = None
) -> PassageStrategy:
    """The figures of one passage under one strategy; every question of the passage counts once.

    Steps without outcomes asked the model for dependencies.
    """
    answers = _answer_entries(passage, steps, selection.selected if selection else ())
    asking = [step for step in steps if not step.outcomes]
    dep_prompt_tokens = sum(step.prompt_tokens for step in asking)
    dep_generated_tokens = sum(step.generated_tokens for step in asking)
    asked = any(step.batch >= 0 for step in asking)
    return PassageStrategy(
        name=name,
        metrics=mean_scores(answers),
        counts=count_statuses(answers),
        prompt_tokens=sum(step.prompt_tokens for step in steps),
        generated_tokens=sum(step.generated_tokens for step in steps),
        dep_prompt_tokens=dep_prompt_tokens,
        dep_generated_tokens=dep_generated_tokens,
        dep_tokens=dep_prompt_tokens + dep_generated_tokens,
        dep_latency=max((step.completed for step in asking), default=0.0),
        latency=max((step.completed for step in steps), default=0.0),
        batches=len({step.batch for step in steps if step.batch >= 0}),
        dag=None if selection is None else _passage_edges(selection, passage, answers, asked=asked),
        questions=answers,
        replies=count_replies(steps),
    )


def parents_of(question_id: str, edges: Iterable[Edge]) -> list[str]:
    """The ids of the questions whose answers the question needs, each once."""
    return list(dict.fromkeys(edge.parent for edge in edges if edge.child == question_id))


def mean_scores(answers: Sequence[AnswerEntry]) -> Scores:
    """The mean of each score over the answers; 0 for no answers."""
    return Scores(**means(answers, Scores.model_fields))


def count_statuses(answers: Sequence[AnswerEntry]) -> Counts:
    """Count the answers by their status, and those answered whose reply was cut."""
    statuses: Counter[str] = Counter(answer.status for answer in answers)
    cut = sum(answer.status == "answered" and answer.finish_reason == "length" for answer in answers)
    return Counts(questions=len(answers), **statuses, cut=cut)


def means(entries: Sequence[object], figures: Iterable[str]) -> dict[str, Any]:
    """The mean of each of the entries' figures, by its name."""
    return {figure: mean(getattr(entry, figure) for entry in entries) for figure in figures}


def mean(values: Iterable[float]) -> float:
    """The exact mean; 0 for no values, since JSON has no NaN."""
    found = list(values)
    return math.fsum(found) / len(found) if found else 0.0


def _answer_entries(passage: Passage, steps: Iterable[StepResult], edges: Sequence[Edge]) -> list[AnswerEntry]:
    found = {outcome.question_id: (step, outcome) for step in steps for outcome in step.outcomes}
    entries = []
    for question in passage.questions:
        missing = StepResult("", passage.id, "", ()), Outcome(question.id, "failed", reason=NO_OUTCOME)
        entries.append(_answer_entry(question, parents_of(question.id, edges), *found.get(question.id, missing)))
    return entries


def scored_answer(answer: str, golds: Sequence[str], reply: StepResult | AnswerEntry) -> str:
    """The answer as it is scored: null or "" in a whole reply says that there is none, as in a prediction file.

    An empty reply, or one that was cut or lacks the answer, says nothing.
    """
    whole = reply.finish_reason in _WHOLE and not reply.reply_fault
    return stated_answer(answer, golds) if whole else answer


def _answer_entry(question: Question, parents: list[str], step: StepResult, outcome: Outcome) -> AnswerEntry:
    answer, golds = scored_answer(outcome.answer, question.answers, step), question.answers
    scored = outcome.status == "answered" and bool(golds)
    return AnswerEntry(
        id=question.id,
        question=question.text,
        gold=list(golds),
        parents=parents,
        strict=strict(answer, outcome.strict_json, golds) if scored else 0.0,
        lenient=lenient(answer, golds) if scored else 0.0,
        em=exact_match(answer, golds) if scored else 0.0,
        f1=f1(answer, golds) if scored else 0.0,
        step=step.step_id,
        **shared_fields(AnswerEntry, step, outcome),
    )


def _passage_edges(
    selection: EdgeSelection, passage: Passage, answers: Sequence[AnswerEntry], *, asked: bool
) -> PassageEdges:
    """The edges of one passage; its ``answers``, one for each question, give the tokens of each question.

    Raises StoreError if the selected edges fit no plan.
    """
    ids = [question.id for question in passage.questions]
    try:
        graph = DependencyGraph(ids, selection.selected)
    except ValueError as error:
        raise StoreError(f"the run's edges of passage {passage.id} were damaged ({error}); run it again") from error
    tokens = [answer.prompt_tokens + answer.generated_tokens for answer in answers]
    return PassageEdges(
        asked=asked,
        edges=selection.selected,  # type: ignore[arg-type]  # built from the edges' attributes, as "proposed" is
        dropped=dict(selection.dropped_counts),
        depth=graph.depth,
        width=graph.width,
        parallelism=graph.parallelism(dict(zip(ids, tokens, strict=True))),
        **shared_fields(PassageEdges, selection),
    )
