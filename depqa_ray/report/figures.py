"""Figures as rows of formatted cells, the same on a page and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from depqa_ray.report.text import ABSENT, counted, number, one_line, rate, score, seconds
from depqa_ray.report.view import ScoreRow
from depqa_ray.results.schema import PassageStrategy, Split, StrategySummary


def passage_row(entry: PassageStrategy) -> ScoreRow:
    """The figures of one passage under one strategy."""
    return _figures(entry)


def summary_row(summary: StrategySummary) -> ScoreRow:
    """The averages of one strategy."""
    return _figures(
        summary, tuple(score(split.em if split else None) for split in (summary.with_parents, summary.without_parents))
    )


def total_row(summary: StrategySummary) -> ScoreRow:
    """The totals of one strategy."""
    totals, counts = summary.totals, summary.counts
    return ScoreRow(
        one_line(summary.name),
        (
            number(summary.passages),
            number(counts.questions),
            number(counts.answered),
            number(counts.failed),
            number(counts.skipped),
            number(totals.prompt_tokens),
            number(totals.generated_tokens),
            number(totals.dep_tokens),
            seconds(totals.seconds),
            rate(totals.questions_per_second),
        ),
    )


def _figures(entry: PassageStrategy | StrategySummary, splits: tuple[str, ...] = ()) -> ScoreRow:
    metrics = entry.metrics
    return ScoreRow(
        one_line(entry.name),
        (
            score(metrics.strict),
            score(metrics.lenient),
            score(metrics.em),
            score(metrics.f1),
            number(entry.prompt_tokens),
            number(entry.generated_tokens),
            number(entry.dep_tokens),
            seconds(entry.latency),
            number(entry.batches),
        ),
        splits if any(split != ABSENT for split in splits) else (),
    )


def split_row(summary: StrategySummary) -> ScoreRow:
    """The scores with gold parents, then without: the number of questions, EM and F1 of each."""
    return ScoreRow(one_line(summary.name), _split_cells(summary.with_parents) + _split_cells(summary.without_parents))


def final_rows(summaries: Sequence[StrategySummary]) -> tuple[ScoreRow, ...]:
    """The scores of the final answers: the number of questions, EM and F1; no rows where there are no such answers."""
    if not any(summary.final for summary in summaries):
        return ()
    return tuple(ScoreRow(one_line(summary.name), _split_cells(summary.final)) for summary in summaries)


def _split_cells(split: Split | None) -> tuple[str, str, str]:
    return (number(split.questions), score(split.em), score(split.f1)) if split else ("0", ABSENT, ABSENT)


def count_passages(summaries: Sequence[StrategySummary]) -> str:
    """How many passages the averages are over, in words."""
    counts = sorted({summary.passages for summary in summaries})
    if len(counts) > 1:  # a run that was cut short
        return f"{counts[0]} to {counts[-1]} passages"
    return counted(counts[0] if counts else 0, "passage", "passages")
