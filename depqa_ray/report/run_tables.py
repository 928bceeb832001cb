"""Tables over a whole run that stand under its averages: latencies, dependencies, and how right these are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from depqa_ray.report.figures import final_rows
from depqa_ray.report.text import ABSENT, number, one_line, reasons, score, seconds
from depqa_ray.report.view import ScoreRow, TableView
from depqa_ray.results.schema import EdgeQualityEntry, EdgeSummary, RunEntry, RunResults, StrategySummary

ISOLATED: Final = "one passage at a time, on idle replicas"
LOADED: Final = "under full load"

_LATENCY: Final = ("mean", "p50", "p95", "p99")
_FINAL: Final = ("questions", "EM", "F1")
_DEPENDENCIES: Final = (
    "asked", "from\ncache", "fall-\nbacks", "edges", "depth", "width", "paral-\nlelism", "tokens", "latency\n(s)"
)  # fmt: skip
_QUALITY: Final = (
    "proposed\nprecision", "prop.\nrecall", "prop.\nF1",
    "selected\nprecision", "sel.\nrecall", "sel.\nF1", "right\nparents",
)  # fmt: skip


def run_tables(results: RunResults) -> tuple[TableView, ...]:
    """The tables that a run has something to say in."""
    return tuple(_tables(results))


def _tables(results: RunResults) -> Iterator[TableView]:
    summaries = list(results.strategies.values())
    if rows := final_rows(summaries):
        caption = "Over the questions whose answers are their passages' final ones; the others are steps on the way."
        yield TableView("Final answers", caption, _FINAL, rows)
    if rows := tuple(_latency_row(summary) for summary in summaries if summary.latency_percentiles is not None):
        yield TableView(
            f"Latency in seconds, {_load(results.run)}",
            "From a passage's admission to its last answer, over passages.",
            _LATENCY,
            rows,
        )
    dags = [(summary, summary.dag) for summary in summaries if summary.dag is not None]
    if dags:
        rows = tuple(_dependencies_row(summary, dag) for summary, dag in dags)
        caption = (
            "Asked, from the cache and fallbacks count passages; the rest are means over all passages. Depth, width "
            "and parallelism are those of the dependencies, whatever order a strategy asks in."
        )
        yield TableView("Dependencies", caption, _DEPENDENCIES, rows, tuple(_notes(dags)))
    if rows := tuple(_quality_row(summary, dag) for summary, dag in dags if dag.proposed_quality is not None):
        caption = (
            "Over passages with gold dependencies. Proposed: by the source itself, nothing where it fell back. "
            "Selected: what the strategy went by, the heuristic's where it fell back. Right parents: the share of "
            "questions with exactly the gold ones."
        )
        yield TableView("Dependencies against the gold ones", caption, _QUALITY, rows)


def _load(run: RunEntry) -> str:
    """What else went on while latencies were measured."""
    if run.isolated:
        return ISOLATED
    most = run.settings.get("in_flight")
    return f"{most} at a time" if isinstance(most, int) else LOADED


def _latency_row(summary: StrategySummary) -> ScoreRow:
    found = summary.latency_percentiles
    percentiles = (found.p50, found.p95, found.p99) if found else ()
    return ScoreRow(one_line(summary.name), tuple(map(seconds, (summary.latency, *percentiles))))


def _dependencies_row(summary: StrategySummary, dag: EdgeSummary) -> ScoreRow:
    whole = map(number, (dag.asked, dag.cached, dag.fallbacks))
    shape = (f"{value:.2f}" for value in (dag.edges, dag.depth, dag.width, dag.parallelism))
    return ScoreRow(one_line(summary.name), (*whole, *shape, number(summary.dep_tokens), seconds(summary.dep_latency)))


def _quality_row(summary: StrategySummary, dag: EdgeSummary) -> ScoreRow:
    cells = (*_scores(dag.proposed_quality), *_scores(dag.selected_quality))
    right = dag.selected_quality.right_share if dag.selected_quality else None
    return ScoreRow(one_line(summary.name), (*cells, score(right)))


def _scores(quality: EdgeQualityEntry | None) -> tuple[str, ...]:
    if quality is None:
        return (ABSENT,) * 3
    return tuple(map(score, (quality.precision, quality.recall, quality.f1)))


def _notes(dags: Sequence[tuple[StrategySummary, EdgeSummary]]) -> Iterator[str]:
    if any(dag.asked for _, dag in dags):
        yield "The tokens and the latency of asking for the dependencies are part of the averages, too."
    if any(dag.cached for _, dag in dags):
        yield "From the cache: passages whose reply an earlier run had kept; they cost nothing here."
    if any(dag.fallbacks for _, dag in dags):
        yield "Fallbacks: passages whose reply was of no use, or never came; the questions' wording decided instead."
    for summary, dag in dags:
        if dag.dropped:
            yield f"{one_line(summary.name)} left out: {reasons(dag.dropped)}."
