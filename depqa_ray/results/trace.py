"""A run as a Chrome trace, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

Each replica is a track group, and so is each passage under each strategy. Slices of one track must not overlap, but
steps do: a group has as many lanes as steps that overlap in it. Format: the "Trace Event Format" of the Chromium
project, complete events ("X"), times in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from depqa_ray.core import StepResult
from depqa_ray.results.records import PassageResult, RunRecords, job_key
from depqa_ray.results.store import write_atomically

_Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Slice:
    """A lane's entry from ``start`` to ``end``, in seconds since the run's first start."""

    name: str
    start: float
    end: float
    details: _Event


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
        slice_ = _step_slice(step, starts[item.session] + item.admitted)
        replicas.setdefault(step.replica, []).append(slice_)
        passages[f"{step.strategy}: {step.passage_id}"].append(slice_)
    groups = [(f"replica {name}", replicas[name]) for name in sorted(replicas)] + list(passages.items())
    events = [event for number, (name, slices) in enumerate(groups, 1) for event in _group(number, name, slices)]
    return {"displayTimeUnit": "ms", "traceEvents": events}


def write_trace(records: RunRecords, path: Path) -> Path:
    """Write the run's trace to ``path``. Raises StoreError."""
    write_atomically(path, json.dumps(chrome_trace(records), separators=(",", ":"), allow_nan=False) + "\n")
    return path


def _session_starts(finished: Iterable[PassageResult]) -> dict[int, float]:
    """When each session's clock starts on the trace's clock: at the last finish of the session before."""
    ends: dict[int, float] = {}
    for item in finished:
        ends[item.session] = max(ends.get(item.session, 0.0), item.finished)
    sessions = sorted(ends)
    return dict(zip(sessions, accumulate((ends[session] for session in sessions), initial=0.0), strict=False))


def _step_slice(step: StepResult, admitted: float) -> _Slice:
    details = {
        "strategy": step.strategy,
        "passage": step.passage_id,
        "batch": step.batch,
        "replica": step.replica,
        "waited_seconds": step.dispatched - step.ready,
        "prompt_tokens": step.prompt_tokens,
        "generated_tokens": step.generated_tokens,
        "outcomes": {outcome.question_id: outcome.status for outcome in step.outcomes},
    }
    return _Slice(step.step_id, admitted + step.dispatched, admitted + step.completed, details)


def _group(number: int, name: str, slices: Sequence[_Slice]) -> list[_Event]:
    """A track group: its name, its position, and its slices, each on the first free lane."""
    events: list[_Event] = [
        {"ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": name}},
        {"ph": "M", "name": "process_sort_index", "pid": number, "tid": 0, "args": {"sort_index": number}},
    ]
    free_from: list[float] = []
    for item in sorted(slices, key=lambda item: (item.start, item.end, item.name)):
        lane = next((lane for lane, free in enumerate(free_from) if free <= item.start), len(free_from))
        free_from[lane : lane + 1] = [item.end]
        events.append(
            {
                "ph": "X",
                "name": item.name,
                "cat": "step",
                "pid": number,
                "tid": lane + 1,
                "ts": item.start * 1e6,
                "dur": max(0.0, item.end - item.start) * 1e6,
                "args": item.details,
            }
        )
    return events
