"""Figures from a run's records, and from nothing else: they can be computed again at any time.

Sums are exact (``math.fsum``), so the order of the outcomes cannot change a figure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from typing import Final

import numpy as np

from depqa_ray.core import Edge, Passage, Question, StepResult
from depqa_ray.edges.quality import EdgeQuality, edge_quality
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.results.entries import count_statuses, mean, mean_scores, means, passage_entry, passage_strategy
from depqa_ray.results.entry import shared_fields
from depqa_ray.results.intervals import Resampling, Statistics, choose_baseline, resampling_of, run_statistics
from depqa_ray.results.records import PassageResult, RunRecords, job_key, steps_by_job
from depqa_ray.results.replies import reply_advice, sum_replies
from depqa_ray.results.run_entry import RunEntry
from depqa_ray.results.schema import (
    BootstrapEntry,
    EdgeQualityEntry,
    EdgeSummary,
    PassageStrategy,
    Percentiles,
    RunResults,
    ScoreSplit,
    StrategySummary,
    Totals,
)

_SUMS: Final = (
    "prompt_tokens", "generated_tokens", "dep_prompt_tokens", "dep_generated_tokens", "dep_tokens", "batches"
)  # fmt: skip
_MEANS: Final = (*_SUMS, "dep_latency", "latency")


@dataclass(frozen=True, slots=True)
class PassageRun:
    """One passage under one strategy: the records, and the entry computed from them."""

    passage: Passage
    steps: tuple[StepResult, ...]
    selection: EdgeSelection | None
    entry: PassageStrategy


def compute_results(records: RunRecords, resampling: Resampling | None = None) -> RunResults:
    """All figures of a run, over the passages that are finished. Pure.

    Intervals follow ``resampling``, or the run's settings if it is None. Raises SettingsError if those are invalid,
    StoreError if stored edges were damaged.
    """
    resampling = resampling or resampling_of(records.manifest.settings)
    names = strategy_names(records)
    runs = _passage_runs(records, names)
    passages = [
        passage_entry(
            record.passage, [found[record.passage.id].entry for found in runs.values() if record.passage.id in found]
        )
        for record in records.passages
    ]
    baseline = choose_baseline(resampling.baseline, names)
    statistics = run_statistics(passages, names, baseline, resampling)
    results = RunResults(
        run=RunEntry(
            **shared_fields(RunEntry, records.manifest.labels, records.manifest),
            bad_rows=len(records.bad_rows),
            sample=records.sample,
        ),
        bootstrap=BootstrapEntry(**resampling.model_dump(exclude={"baseline"}), baseline=baseline),
        strategies={name: _summary(name, list(runs[name].values()), statistics[name], records) for name in names},
        passages=passages,
    )
    steps = {name: [step for run in found.values() for step in run.steps] for name, found in runs.items()}
    return results.model_copy(update={"advice": list(reply_advice(results, steps))})


def strategy_names(records: RunRecords) -> list[str]:
    """The strategies of the run in the order of its tables: as the manifest lists them, then any others by name."""
    seen = {step.strategy for step in records.steps} | {item.strategy for item in records.finished}
    listed = [name for name in dict.fromkeys(records.manifest.labels.strategies) if name in seen]
    return listed + sorted(seen.difference(listed))


def wall_clock(times: Iterable[PassageResult]) -> float:
    """Seconds during which at least one of the passages was running.

    If a strategy has the cluster to itself, this is the time from its first admission to its last finish. If strategies
    take turns, passage by passage, the others' turns are left out. So is the time between two sessions of a resumed
    run, whose clocks differ.
    """
    stretches = []
    session, busy_until = -1, 0.0
    for item in sorted(times, key=attrgetter("session", "admitted", "finished")):
        if item.session != session:
            session, busy_until = item.session, item.admitted
        stretches.append(max(0.0, item.finished - max(busy_until, item.admitted)))
        busy_until = max(busy_until, item.finished)
    return math.fsum(stretches)


def _passage_runs(records: RunRecords, names: Sequence[str]) -> dict[str, dict[str, PassageRun]]:
    """The finished passages of each strategy, by passage id, in the order of the records."""
    steps = steps_by_job(records.steps)
    selections = {job_key(record): record.chosen for record in records.edges}
    finished = set(map(job_key, records.finished))
    runs: dict[str, dict[str, PassageRun]] = {name: {} for name in names}
    for name, record in product(names, records.passages):
        passage, key = record.passage, (name, record.passage.id)
        if key in finished:
            own, selection = sorted(steps.get(key, ()), key=attrgetter("step_id")), selections.get(key)
            entry = passage_strategy(name, passage, own, selection)
            runs[name][passage.id] = PassageRun(passage, tuple(own), selection, entry)
    return runs


def _summary(name: str, runs: Sequence[PassageRun], statistics: Statistics, records: RunRecords) -> StrategySummary:
    entries = [run.entry for run in runs]
    answers = [answer for entry in entries for answer in entry.questions]
    known = [run for run in runs if run.passage.gold_edges is not None]
    final = _split(runs, lambda _, question: question.final)
    return StrategySummary(
        name=name,
        passages=len(entries),
        unfinished=len(records.passages) - len(entries),
        counts=count_statuses(answers),
        metrics=mean_scores(answers),
        **means(entries, _MEANS),
        latency_percentiles=_percentiles([entry.latency for entry in entries]),
        dag=_edge_summary(runs),
        with_parents=_split(known, _has_gold_parents) if known else None,
        without_parents=_split(known, lambda *asked: not _has_gold_parents(*asked)) if known else None,
        final=final if final.questions else None,
        totals=_totals(runs, wall_clock(item for item in records.finished if item.strategy == name)),
        replies=sum_replies([entry.replies for entry in entries]),
        **statistics._asdict(),
    )


def _percentiles(latencies: list[float]) -> Percentiles | None:
    if not latencies:
        return None
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99)).tolist()
    return Percentiles(p50=p50, p95=p95, p99=p99)


def _totals(runs: Sequence[PassageRun], seconds: float) -> Totals:
    answered = sum(run.entry.counts.answered for run in runs)
    return Totals(
        **{figure: sum(getattr(run.entry, figure) for run in runs) for figure in _SUMS},
        engine_seconds=math.fsum(step.engine_seconds for run in runs for step in run.steps),
        seconds=seconds,
        questions_per_second=answered / seconds if seconds > 0 else 0.0,
    )


def _split(runs: Iterable[PassageRun], wanted: Callable[[Passage, Question], bool]) -> ScoreSplit:
    """Scores over the wanted questions."""
    answers = [
        answer
        for run in runs
        for answer, question in zip(run.entry.questions, run.passage.questions, strict=True)
        if wanted(run.passage, question)
    ]
    scores = mean_scores(answers)
    em, f1 = (scores.em, scores.f1) if answers else (None, None)
    return ScoreSplit(questions=len(answers), em=em, f1=f1)


def _has_gold_parents(passage: Passage, question: Question) -> bool:
    return any(edge.child == question.id for edge in passage.gold_edges or ())


def _edge_summary(runs: Iterable[PassageRun]) -> EdgeSummary | None:
    """The edges of a strategy over its passages; None if it uses none."""
    found = [(run.passage, run.selection, run.entry.dag) for run in runs if run.selection and run.entry.dag]
    if not found:
        return None
    entries = [entry for _, _, entry in found]
    dropped: Counter[str] = Counter()
    for entry in entries:
        dropped.update(entry.dropped)
    return EdgeSummary(
        passages=len(entries),
        asked=sum(entry.asked for entry in entries),
        cached=sum(entry.cached for entry in entries),
        fallbacks=sum(bool(entry.fallback) for entry in entries),
        edges=mean(len(entry.edges) for entry in entries),
        **means(entries, ("depth", "width", "parallelism")),
        dropped=dict(sorted(dropped.items())),
        # The model proposed nothing where the heuristic took over.
        proposed_quality=_quality(
            (passage, () if chosen.fallback else chosen.proposed) for passage, chosen, _ in found
        ),
        selected_quality=_quality((passage, chosen.selected) for passage, chosen, _ in found),
    )


def _quality(pairs: Iterable[tuple[Passage, Sequence[Edge]]]) -> EdgeQualityEntry | None:
    """How well the edges of passages match their gold edges; None if no passage has gold edges."""
    found = EdgeQuality()
    for passage, edges in pairs:
        if passage.gold_edges is not None:
            found += edge_quality([question.id for question in passage.questions], edges, passage.gold_edges)
    if not found.questions:
        return None
    return EdgeQualityEntry(
        edges=found.proposed,
        gold=found.gold,
        precision=found.precision if found.proposed else None,
        recall=found.recall if found.gold else None,
        f1=found.f1 if found.proposed or found.gold else None,
        right_share=found.right_share,
    )
