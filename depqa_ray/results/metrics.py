"""Figures from a run's records, and from nothing else: they can be made again at any time.

Sums are exact (``math.fsum``), so that the order in which outcomes came in cannot show in a figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from depqa_ray.core import StepResult
from depqa_ray.results.averages import count_statuses, mean, mean_scores
from depqa_ray.results.dags import edge_summary
from depqa_ray.results.entries import passage_entry, passage_strategy
from depqa_ray.results.intervals import Statistics, run_statistics
from depqa_ray.results.manifest import Manifest
from depqa_ray.results.records import EdgeRecord, PassageRecord, PassageResult, RunRecords
from depqa_ray.results.resampling import Resampling, choose_baseline, resampling_of
from depqa_ray.results.schema import (
    AnswerEntry,
    BootstrapEntry,
    PassageStrategy,
    Percentiles,
    RunEntry,
    RunResults,
    Split,
    StrategySummary,
    Totals,
)


@dataclass(frozen=True, slots=True)
class _Cell:
    """One passage under one strategy: what it holds, how it went."""

    record: PassageRecord
    steps: tuple[StepResult, ...]
    entry: PassageStrategy


def compute_results(records: RunRecords, resampling: Resampling | None = None) -> RunResults:
    """All figures of a run, over the passages that are finished. Pure.

    Intervals are made as ``resampling`` says, or else as the run's settings do. Raises SettingsError where those are
    none.
    """
    resampling = resampling or resampling_of(records.manifest.settings)
    steps = _by_pair(records.steps)
    dags = {(dag.strategy, dag.passage_id): dag for dag in records.dags}
    finished = {(item.strategy, item.passage_id) for item in records.finished}
    cells: dict[str, list[_Cell]] = {name: [] for name in strategy_names(records)}
    passages = []
    for record in records.passages:
        row = [
            _cell(record, steps.get((name, record.passage.id), ()), dags.get((name, record.passage.id)), name)
            for name in cells
            if (name, record.passage.id) in finished
        ]
        for cell in row:
            cells[cell.entry.name].append(cell)
        passages.append(passage_entry(record, [cell.entry for cell in row]))
    baseline = choose_baseline(resampling.baseline, list(cells))
    statistics = run_statistics(passages, list(cells), baseline, resampling)
    begun = len(records.passages)
    summaries = {name: _summary(name, cells[name], statistics[name], begun, records.finished) for name in cells}
    return RunResults(
        run=_run_entry(records.manifest, len(records.bad_rows)),
        bootstrap=BootstrapEntry(**resampling.model_dump(exclude={"baseline"}), baseline=baseline),
        strategies=summaries,
        passages=passages,
    )


def _cell(record: PassageRecord, steps: tuple[StepResult, ...], dag: EdgeRecord | None, name: str) -> _Cell:
    return _Cell(record, steps, passage_strategy(name, record, steps, dag))


def strategy_names(records: RunRecords) -> list[str]:
    """The strategies of the run in the order of its tables: as the manifest has them, any others by name."""
    seen = {step.strategy for step in records.steps} | {item.strategy for item in records.finished}
    listed = [name for name in dict.fromkeys(records.manifest.labels.strategies) if name in seen]
    return listed + sorted(seen.difference(listed))


def _summary(
    name: str, cells: list[_Cell], statistics: Statistics, begun: int, times: Iterable[PassageResult]
) -> StrategySummary:
    entries = [cell.entry for cell in cells]
    answers = [answer for entry in entries for answer in entry.questions]
    with_parents, without_parents = _splits(cells)
    return StrategySummary(
        name=name,
        passages=len(entries),
        unfinished=begun - len(entries),
        counts=count_statuses(answers),
        metrics=mean_scores(answers),
        prompt_tokens=mean(entry.prompt_tokens for entry in entries),
        generated_tokens=mean(entry.generated_tokens for entry in entries),
        dep_prompt_tokens=mean(entry.dep_prompt_tokens for entry in entries),
        dep_generated_tokens=mean(entry.dep_generated_tokens for entry in entries),
        dep_tokens=mean(entry.dep_tokens for entry in entries),
        dep_latency=mean(entry.dep_latency for entry in entries),
        latency=mean(entry.latency for entry in entries),
        latency_percentiles=_percentiles([entry.latency for entry in entries]),
        batches=mean(entry.batches for entry in entries),
        dag=edge_summary((cell.record.passage, cell.entry.dag) for cell in cells),
        with_parents=with_parents,
        without_parents=without_parents,
        final=_final(cells),
        totals=_totals(cells, wall_clock(item for item in times if item.strategy == name)),
        **statistics._asdict(),
    )


def _percentiles(latencies: list[float]) -> Percentiles | None:
    if not latencies:
        return None
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99)).tolist()
    return Percentiles(p50=p50, p95=p95, p99=p99)


def wall_clock(times: Iterable[PassageResult]) -> float:
    """Seconds during which at least one of the passages was under way.

    Of a strategy that has the cluster to itself this is the time from its first admission to its last finish. Where
    strategies take turns, passage by passage, the others' turns are left out; so is the time between two sessions of a
    resumed run, whose clocks start anew.
    """
    stretches = []
    session, busy_until = -1, 0.0
    for item in sorted(times, key=attrgetter("session", "admitted", "finished")):
        if item.session != session:
            session, busy_until = item.session, item.admitted
        stretches.append(max(0.0, item.finished - max(busy_until, item.admitted)))
        busy_until = max(busy_until, item.finished)
    return math.fsum(stretches)


def _totals(cells: list[_Cell], seconds: float) -> Totals:
    entries = [cell.entry for cell in cells]
    answered = sum(entry.counts.answered for entry in entries)
    return Totals(
        prompt_tokens=sum(entry.prompt_tokens for entry in entries),
        generated_tokens=sum(entry.generated_tokens for entry in entries),
        dep_prompt_tokens=sum(entry.dep_prompt_tokens for entry in entries),
        dep_generated_tokens=sum(entry.dep_generated_tokens for entry in entries),
        dep_tokens=sum(entry.dep_tokens for entry in entries),
        batches=sum(entry.batches for entry in entries),
        engine_seconds=math.fsum(step.engine_seconds for cell in cells for step in cell.steps),
        seconds=seconds,
        questions_per_second=answered / seconds if seconds > 0 else 0.0,
    )


def _splits(cells: list[_Cell]) -> tuple[Split, Split] | tuple[None, None]:
    """Scores with and without gold parents, over the passages that have gold edges."""
    known = [cell for cell in cells if cell.record.passage.gold_edges is not None]
    if not known:
        return None, None
    dependent: list[AnswerEntry] = []
    others: list[AnswerEntry] = []
    for cell in known:
        children = {edge.child for edge in cell.record.passage.gold_edges or ()}
        for answer, question in zip(cell.entry.questions, cell.record.passage.questions, strict=True):
            (dependent if question.id in children else others).append(answer)
    return _split(dependent), _split(others)


def _final(cells: list[_Cell]) -> Split | None:
    """Scores over the questions whose answers are final."""
    answers = [
        answer
        for cell in cells
        for answer, question in zip(cell.entry.questions, cell.record.passage.questions, strict=True)
        if question.final
    ]
    return _split(answers) if answers else None


def _split(answers: list[AnswerEntry]) -> Split:
    if not answers:
        return Split(questions=0, em=None, f1=None)
    scores = mean_scores(answers)
    return Split(questions=len(answers), em=scores.em, f1=scores.f1)


def _by_pair(steps: Iterable[StepResult]) -> dict[tuple[str, str], tuple[StepResult, ...]]:
    found: dict[tuple[str, str], list[StepResult]] = {}
    for step in steps:
        found.setdefault((step.strategy, step.passage_id), []).append(step)
    return {pair: tuple(sorted(group, key=attrgetter("step_id"))) for pair, group in found.items()}


def _run_entry(manifest: Manifest, bad_rows: int) -> RunEntry:
    labels = manifest.labels
    return RunEntry(
        model=labels.model,
        engine=labels.engine,
        dataset=labels.dataset,
        edges=labels.edges,
        embedded_reader=labels.embedded_reader,
        isolated=labels.isolated,
        started=manifest.started,
        fingerprint=manifest.fingerprint,
        prompt_version=manifest.prompt_version,
        settings=dict(manifest.settings),
        versions=dict(manifest.versions),
        python=manifest.python,
        system=manifest.system,
        cpus=manifest.cpus,
        devices=list(manifest.devices),
        bad_rows=bad_rows,
    )
