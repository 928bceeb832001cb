"""A run as a Chrome trace, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

Each replica is a track group, and so is each passage under each strategy. Slices of one track must not overlap, but
steps do: a group has as many lanes as steps that overlap in it. Format: the "Trace Event Format" of the Chromium
project, complete events ("X"), times in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from depqa_ray.core import StepResult
from depqa_ray.results.records import PassageResult, RunRecords, job_key
from depqa_ray.results.store import write_atomically

_Event = dict[str, Any]


class _Slice(NamedTuple):
    """A step from ``start`` to ``end``, in seconds since the run's start."""

    start: float
    end: float
    step: StepResult


def chrome_trace(records: RunRecords) -> _Event:
    """The trace of the finished passages as a JSON object. Pure."""
    starts = _session_starts(records.finished)
    finished = {job_key(item): item for item in sorted(records.finished, key=lambda item: item.admitted)}
    replicas: dict[str, list[_Slice]] = {}
    passages: dict[str, list[_Slice]] = {f"{strategy}: {passage}": [] for strategy, passage in finished}
    for step in records.steps:
        item = finished.get(job_key(step))
        if item is None or step.batch < 0:
            continue
        admitted = starts[item.session] + item.admitted
        slice_ = _Slice(admitted + step.dispatched, admitted + step.completed, step)
        replicas.setdefault(step.replica, []).append(slice_)
        passages[f"{step.strategy}: {step.passage_id}"].append(slice_)
    groups = [(f"replica {name}", replicas[name]) for name in sorted(replicas)] + list(passages.items())
    events = [event for number, (name, slices) in enumerate(groups, 1) for event in _group(number, name, slices)]
    return {"displayTimeUnit": "ms", "traceEvents": events}


def write_trace(records: RunRecords, path: Path) -> None:
    """Write the run's trace to ``path``. Raises StoreError."""
    write_atomically(path, json.dumps(chrome_trace(records), separators=(",", ":"), allow_nan=False) + "\n")


def _session_starts(finished: Iterable[PassageResult]) -> dict[int, float]:
    """When each session's clock starts on the trace's clock: at the last finish of the session before."""
    ends: dict[int, float] = {}
    for item in finished:
        ends[item.session] = max(ends.get(item.session, 0.0), item.finished)
    sessions = sorted(ends)
    return dict(zip(sessions, accumulate((ends[session] for session in sessions), initial=0.0), strict=False))


def _details(step: StepResult) -> dict[str, Any]:
    return {
        "strategy": step.strategy,
        "passage": step.passage_id,
        "batch": step.batch,
        "replica": step.replica,
        "waited_seconds": step.dispatched - step.ready,
        "prompt_tokens": step.prompt_tokens,
        "generated_tokens": step.generated_tokens,
        "outcomes": {outcome.question_id: outcome.status for outcome in step.outcomes},
    }


def _group(number: int, name: str, slices: Iterable[_Slice]) -> list[_Event]:
    """A track group: its name, its position, and its slices, each on the first free lane."""
    events: list[_Event] = [
        {"ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": name}},
        {"ph": "M", "name": "process_sort_index", "pid": number, "tid": 0, "args": {"sort_index": number}},
    ]
    free_from: list[float] = []
    for start, end, step in sorted(slices, key=lambda item: (item.start, item.end, item.step.step_id)):
        lane = next((lane for lane, free in enumerate(free_from) if free <= start), len(free_from))
        free_from[lane : lane + 1] = [end]
        events.append(
            {
                "ph": "X",
                "name": step.step_id,
                "cat": "step",
                "pid": number,
                "tid": lane + 1,
                "ts": start * 1e6,
                "dur": max(0.0, end - start) * 1e6,
                "args": _details(step),
            }
        )
    return events
