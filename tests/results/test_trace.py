"""The trace: every step on its replica and its passage, no two slices of a lane over each other."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.core import Outcome, StepResult
from depqa_ray.results.records import PassageResult, RunRecords
from depqa_ray.results.trace import chrome_trace, write_trace
from tests.sample_run import lantern, sample_manifest, sample_records


def _slices(trace: dict[str, Any]) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] == "X"]


def _names(trace: dict[str, Any]) -> dict[int, str]:
    return {e["pid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"}


def test_each_step_is_on_its_replica_and_its_passage() -> None:
    """The trace shows each step on its replica and on its passage."""
    records = sample_records()

    trace = chrome_trace(records)

    assert len(_slices(trace)) == 2 * len(records.steps)
    names = set(_names(trace).values())
    assert {"replica r0", "replica r1", "sequential: velcarn", "dependency_parallel: lan"} <= names


def test_slices_of_a_lane_do_not_overlap() -> None:
    lanes = defaultdict(list)
    for event in _slices(chrome_trace(sample_records())):
        lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))

    for spans in lanes.values():
        assert all(earlier[1] <= later[0] + 1e-3 for earlier, later in pairwise(sorted(spans)))


def test_times_are_microseconds_since_the_start_of_the_run() -> None:
    """The times of the trace are microseconds since the start of the run."""
    step = StepResult("s", "lan", "q", (Outcome("lan-1", "answered"),), dispatched=0.25, completed=0.75, batch=0)
    records = RunRecords(sample_manifest(), (lantern(),), (step,), (PassageResult("s", "lan", 2.0, 3.0),))

    event = _slices(chrome_trace(records))[0]

    assert (event["ts"], event["dur"]) == (2.25e6, 0.5e6)


def test_resumed_session_follows_the_one_before() -> None:
    """If a run was resumed, its second session follows the first in the trace."""
    step = StepResult("s", "lan", "q", (Outcome("lan-1", "answered"),), dispatched=0.25, completed=0.75, batch=0)
    times = (PassageResult("s", "other", 0.0, 10.0), PassageResult("s", "lan", 2.0, 3.0, session=1))
    records = RunRecords(sample_manifest(), (lantern(),), (step,), times)

    assert _slices(chrome_trace(records))[0]["ts"] == pytest.approx(12.25e6)


def test_unfinished_passages_and_unsent_steps_are_left_out() -> None:
    """If a passage is unfinished or a step was never sent, the trace leaves it out."""
    never = StepResult("s", "lan", "q", (Outcome("lan-1", "skipped"),))
    lost = replace(never, passage_id="other", batch=0)
    records = RunRecords(sample_manifest(), (lantern(),), (never, lost), (PassageResult("s", "lan", 0.0, 1.0),))

    assert _slices(chrome_trace(records)) == []


def test_the_file_is_json(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    write_trace(sample_records(), path)

    assert set(json.loads(path.read_text())) == {"displayTimeUnit", "traceEvents"}
