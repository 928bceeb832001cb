"""From a run's figures and records to the views of its pages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from depqa_ray.core import UNKNOWN, StepResult
from depqa_ray.report.figures import passage_row, summary_row, total_row
from depqa_ray.report.interval_view import intervals_view
from depqa_ray.report.provenance import origin_view
from depqa_ray.report.published import published_view
from depqa_ray.report.run_tables import run_tables
from depqa_ray.report.svg.graph import graph_views, labels_of, size_in_words
from depqa_ray.report.svg.timeline import draw_timeline, step_label
from depqa_ray.report.text import ABSENT, number, one_line, score, seconds, visible
from depqa_ray.report.view import (
    AnswerView,
    CourseView,
    IndexView,
    LinkView,
    OriginView,
    PageView,
    QuestionView,
    StepView,
)
from depqa_ray.results.records import PassageRecord, RunRecords
from depqa_ray.results.schema import AnswerEntry, PassageEntry, RunResults

_SLUG_LENGTH: Final = 48


def page_file(position: int, passage_id: str) -> str:
    """A file name for the passage at ``position`` (from 0): its number, then what is plain ASCII of its id."""
    plain = unicodedata.normalize("NFKD", passage_id).encode("ascii", "ignore").decode("ascii")
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    return f"passage-{position + 1:04d}-{slug}.html" if slug else f"passage-{position + 1:04d}.html"


def index_view(results: RunResults, remarks: Sequence[str] = ()) -> IndexView:
    """The view of the run's page."""
    summaries = list(results.strategies.values())
    names = [summary.name for summary in summaries]
    return IndexView(
        origin=origin_view(results, remarks),
        strategies=tuple(map(one_line, names)),
        scores=tuple(summary_row(summary) for summary in summaries),
        tables=run_tables(results),
        intervals=intervals_view(results),
        published=published_view(results),
        totals=tuple(total_row(summary) for summary in summaries),
        passages=tuple(_link(position, entry, names) for position, entry in enumerate(results.passages)),
    )


def page_view(
    results: RunResults,
    position: int,
    record: PassageRecord,
    steps: Sequence[StepResult],
    origin: OriginView | None = None,
) -> PageView:
    """The view of the passage at ``position``; ``steps`` are those of its finished strategies.

    ``origin`` is that of the run, which takes going through all passages: who makes many pages gives it.
    """
    entry = results.passages[position]
    labels = {question.id: f"Q{place}" for place, question in enumerate(record.passage.questions, 1)}
    span = max((step.completed for step in steps), default=0.0)
    last = len(results.passages) - 1
    return PageView(
        link=_link(position, entry, []),
        origin=origin or origin_view(results),
        summary=_summary(entry),
        context=visible(entry.context),
        graphs=graph_views(entry),
        scores=tuple(passage_row(strategy) for strategy in entry.strategies),
        questions=_question_views(entry),
        courses=tuple(
            _course(strategy.name, [step for step in steps if step.strategy == strategy.name], labels, span)
            for strategy in entry.strategies
        ),
        previous=_link(position - 1, results.passages[position - 1], []) if position > 0 else None,
        next=_link(position + 1, results.passages[position + 1], []) if position < last else None,
    )


def _summary(entry: PassageEntry) -> str:
    """The size of a passage in words; its dependencies where all strategies that go by any go by as many."""
    sizes = {(dag.depth, len(dag.edges)): dag for strategy in entry.strategies if (dag := strategy.dag) is not None}
    return size_in_words(entry, next(iter(sizes.values())) if len(sizes) == 1 else None)


def pages_of(results: RunResults, records: RunRecords) -> list[tuple[int, PassageRecord, list[StepResult]]]:
    """For each passage its place, its record and the step results of the strategies that finished it."""
    steps: dict[tuple[str, str], list[StepResult]] = {}
    for step in records.steps:
        steps.setdefault((step.passage_id, step.strategy), []).append(step)
    return [
        (
            position,
            record,
            [step for shown in entry.strategies for step in steps.get((record.passage.id, shown.name), [])],
        )
        for position, (record, entry) in enumerate(zip(records.passages, results.passages, strict=True))
    ]


def _link(position: int, entry: PassageEntry, names: Sequence[str]) -> LinkView:
    found = {strategy.name: strategy.metrics.em for strategy in entry.strategies}
    return LinkView(
        number=position + 1,
        file=page_file(position, entry.id),
        title=one_line(entry.title) or one_line(entry.id) or f"Passage {position + 1}",
        id=one_line(entry.id),
        questions=len(entry.questions),
        scores=tuple(score(found.get(name)) for name in names),
    )


def _question_views(entry: PassageEntry) -> tuple[QuestionView, ...]:
    labels = labels_of(entry)
    dag = next((strategy.dag for strategy in entry.strategies if strategy.dag is not None), None)
    edges = {(edge.parent, edge.child) for edge in dag.edges} if dag else set()
    return tuple(
        QuestionView(
            label=labels[question.id],
            anchor=labels[question.id].lower(),
            text=visible(question.question),
            gold=tuple(map(visible, question.gold)),
            unanswerable=question.gold == [UNKNOWN],
            parents=tuple(label for parent, label in labels.items() if (parent, question.id) in edges),
            answers=tuple(_answer_view(strategy.name, strategy.questions[place]) for strategy in entry.strategies),
        )
        for place, question in enumerate(entry.questions)
    )


def _answer_view(strategy: str, entry: AnswerEntry) -> AnswerView:
    name, answer, reason = one_line(strategy), visible(entry.answer), one_line(entry.reason)
    if entry.status != "answered":
        return AnswerView(name, entry.status, entry.status, answer, reason)
    if entry.em == 1.0:
        return AnswerView(name, "exact", "exact", answer)
    if entry.f1 > 0.0:
        return AnswerView(name, "partial", f"partial, F1 {score(entry.f1)}", answer)
    return AnswerView(name, "wrong", "wrong", answer)


def _course(strategy: str, steps: Sequence[StepResult], labels: Mapping[str, str], span: float) -> CourseView:
    ordered = sorted(steps, key=lambda step: (step.batch < 0, step.batch, step.ready, step.step_id))
    timeline = draw_timeline(one_line(strategy), ordered, labels, span)
    return CourseView(one_line(strategy), timeline, tuple(_step_view(step, labels) for step in ordered))


def _step_view(step: StepResult, labels: Mapping[str, str]) -> StepView:
    sent = step.batch >= 0
    cells = (
        number(step.prompt_tokens),
        number(step.generated_tokens),
        seconds(step.ready),
        seconds(step.dispatched) if sent else ABSENT,
        seconds(step.completed),
        one_line(step.replica) if sent else ABSENT,
        number(step.batch) if sent else ABSENT,
        number(step.attempts),
    )
    return StepView(step_label(step, labels), cells, visible(step.text))
