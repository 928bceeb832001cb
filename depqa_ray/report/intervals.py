"""The intervals of a run, in words and formatted numbers, for a page and for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from depqa_ray.report.tables import count_passages
from depqa_ray.report.text import ABSENT, number, one_line, score, seconds, signed
from depqa_ray.report.view import IntervalCell, IntervalRow, IntervalsView
from depqa_ray.results.schema import BootstrapEntry, Difference, Figure, Interval, RunResults, StrategySummary

FEW: Final = 20
"""Over fewer passages intervals are too narrow. 95 % intervals of normal values, of exponential values and of shares of
right answers cover the true mean in 94, 90 and 93 of 100 cases over 20 passages; in 90, 86 and 91 over 10; in 84, 77
and 85 over 5."""


def _tokens(value: float) -> str:
    """A mean of counts in few digits, so that four of them and a strategy's name fit into a line."""
    return number(value) if value < 1000 else f"{value:.0f}"


_Form = Callable[[float], str]
_FIGURES: Final[dict[Figure, tuple[str, _Form]]] = {
    "em": ("EM", score),
    "f1": ("F1", score),
    "prompt_tokens": ("Prompt tokens", _tokens),
    "generated_tokens": ("Generated tokens", _tokens),
    "latency": ("Latency (s)", seconds),
}


def intervals_view(results: RunResults) -> IntervalsView | None:
    """The view; None if it would add nothing to the averages: one strategy without an interval, or no strategy."""
    summaries = list(results.strategies.values())
    if len(summaries) < 2 and not any(any(summary.intervals.values()) for summary in summaries):
        return None
    return IntervalsView(
        title=_title(results.bootstrap, summaries),
        baseline=one_line(results.bootstrap.baseline or ""),
        figures=tuple(label for label, _ in _FIGURES.values()),
        rows=tuple(map(_row, summaries)),
        notes=tuple(_notes(results.bootstrap, summaries)),
    )


def _title(bootstrap: BootstrapEntry, summaries: list[StrategySummary]) -> str:
    what = f"{100 * bootstrap.confidence:g} % intervals over {count_passages(summaries)}"
    drawn = f"{what}, {bootstrap.resamples:,} resamples"
    return drawn if bootstrap.baseline is None else f"Differences to {one_line(bootstrap.baseline)}, {drawn}"


def _notes(bootstrap: BootstrapEntry, summaries: list[StrategySummary]) -> Iterator[str]:
    yield (
        "An interval says how far an average may move with other passages like these: the passages were drawn again, "
        "with replacement, the same ones for every strategy. Passages are drawn and not questions, since the questions "
        "of one passage are not independent. How latencies vary when the same passages are run again is not in it."
    )
    if bootstrap.baseline is not None:
        yield "* marks a difference whose interval excludes zero."
    if any(summary.differences and summary.paired_passages < summary.passages for summary in summaries):
        yield "A difference is over the passages that both strategies finished."
    if any(summary.passages < FEW for summary in summaries):
        yield f"Over fewer than {FEW} passages intervals are too narrow; over a single one there is none."


def _row(summary: StrategySummary) -> IntervalRow:
    return IntervalRow(
        one_line(summary.name),
        tuple(_average(summary, figure) for figure in _FIGURES),
        tuple(_difference(summary.differences.get(figure), form) for figure, (_, form) in _FIGURES.items()),
    )


def _average(summary: StrategySummary, figure: Figure) -> IntervalCell:
    form = _FIGURES[figure][1]
    value = getattr(summary.metrics if figure in ("em", "f1") else summary, figure)
    return IntervalCell(form(value), _ends(summary.intervals.get(figure), form))


def _difference(difference: Difference | None, form: _Form) -> IntervalCell:
    if difference is None:
        return IntervalCell(ABSENT, ABSENT)
    shown = partial(signed, form=form)
    return IntervalCell(shown(difference.value), _ends(difference.interval, shown), difference.excludes_zero)


def _ends(interval: Interval | None, form: _Form) -> str:
    return ABSENT if interval is None else f"[{form(interval.low)}, {form(interval.high)}]"
