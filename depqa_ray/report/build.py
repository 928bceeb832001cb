"""The views of a run's pages, from its entries and records."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from depqa_ray.core import UNKNOWN, StepResult
from depqa_ray.report.endings import ending_text, notable_ending
from depqa_ray.report.intervals import intervals_view
from depqa_ray.report.provenance import provenance_view
from depqa_ray.report.published import published_table
from depqa_ray.report.svg.graph import graph_views, labels_of, summary_text
from depqa_ray.report.svg.timeline import draw_timeline, step_label
from depqa_ray.report.tables import (
    averages_table,
    passage_table,
    replies_table,
    replies_to_note,
    run_tables,
    totals_table,
)
from depqa_ray.report.text import ABSENT, number, one_line, score, seconds, visible
from depqa_ray.report.view import (
    AnswerView,
    IndexView,
    LinkView,
    PageView,
    QuestionView,
    StepView,
    StrategyTimelineView,
)
from depqa_ray.results.records import RunRecords, steps_by_job
from depqa_ray.results.schema import AnswerEntry, PassageEntry, RunResults

_SLUG_LENGTH: Final = 48


def page_file(position: int, passage_id: str) -> str:
    """A file name for the passage at ``position`` (from 0): its number, then its id in plain ASCII."""
    plain = unicodedata.normalize("NFKD", passage_id).encode("ascii", "ignore").decode("ascii")
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    return f"passage-{position + 1:04d}-{slug}.html" if slug else f"passage-{position + 1:04d}.html"


def index_view(results: RunResults, warnings: Sequence[str] = ()) -> IndexView:
    """The view of the run's page."""
    summaries = list(results.strategies.values())
    names = [summary.name for summary in summaries]
    return IndexView(
        provenance=provenance_view(results, warnings),
        averages=averages_table(summaries),
        replies=replies_table(summaries),
        tables=tuple(run_tables(results)),
        intervals=intervals_view(results),
        published=published_table(results),
        totals=totals_table(summaries),
        passages=tuple(_link(position, entry, names) for position, entry in enumerate(results.passages)),
    )


def page_views(results: RunResults, records: RunRecords) -> Iterator[PageView]:
    """The views of the passages' pages, with the steps of the strategies that finished them."""
    provenance = provenance_view(results)
    links = [_link(position, entry) for position, entry in enumerate(results.passages)]
    steps = steps_by_job(records.steps)
    neighbours = zip([None, *links], links, [*links[1:], None], strict=False)
    for record, entry, (previous, link, next_) in zip(records.passages, results.passages, neighbours, strict=True):
        shown = {strategy.name: steps.get((strategy.name, record.passage.id), []) for strategy in entry.strategies}
        yield PageView(
            link=link,
            provenance=provenance,
            summary=_summary(entry),
            context=visible(entry.context),
            graphs=graph_views(entry),
            figures=passage_table(entry),
            replies=replies_table(entry.strategies) if replies_to_note(entry.strategies) else None,
            questions=_question_views(entry),
            timelines=_timelines(shown, labels_of(record.passage.questions)),
            previous=previous,
            next=next_,
        )


def _summary(entry: PassageEntry) -> str:
    """The size of a passage in words; that of its graph too if all strategies with edges agree on it."""
    found = (strategy.dag for strategy in entry.strategies)
    sizes = {(edges.depth, len(edges.edges)): edges for edges in found if edges is not None}
    return summary_text(entry, next(iter(sizes.values())) if len(sizes) == 1 else None)


def _link(position: int, entry: PassageEntry, names: Sequence[str] = ()) -> LinkView:
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
    labels = labels_of(entry.questions)
    first = next((strategy for strategy in entry.strategies if strategy.dag is not None), None)
    return tuple(
        QuestionView(
            label=labels[question.id],
            text=visible(question.question),
            gold=tuple(map(visible, question.gold)),
            unanswerable=question.gold == [UNKNOWN],
            parents=tuple(label for id_, label in labels.items() if first and id_ in first.questions[place].parents),
            answers=tuple(_answer_view(strategy.questions[place]) for strategy in entry.strategies),
        )
        for place, question in enumerate(entry.questions)
    )


def _answer_view(entry: AnswerEntry) -> AnswerView:
    verdict: str = entry.status
    if entry.status == "answered":
        verdict = "exact" if entry.em == 1.0 else "partial" if entry.f1 > 0.0 else "wrong"
    text = f"partial, F1 {score(entry.f1)}" if verdict == "partial" else verdict
    return AnswerView(verdict, text, visible(entry.answer), notable_ending(entry), one_line(entry.reason))


def _timelines(
    steps: Mapping[str, Sequence[StepResult]], labels: Mapping[str, str]
) -> tuple[StrategyTimelineView, ...]:
    """The timelines of strategies. All have the span of the longest, so that their bars compare."""
    span = max((step.completed for own in steps.values() for step in own), default=0.0)
    return tuple(
        StrategyTimelineView(one_line(strategy), draw_timeline(own, labels, span), _step_views(own, labels))
        for strategy, own in steps.items()
    )


def _step_views(steps: Sequence[StepResult], labels: Mapping[str, str]) -> tuple[StepView, ...]:
    ordered = sorted(steps, key=lambda step: (step.batch < 0, step.batch, step.ready, step.step_id))
    return tuple(_step_view(step, labels) for step in ordered)


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
        ending_text(step),
    )
    return StepView(step_label(step, labels), cells, visible(step.text))
