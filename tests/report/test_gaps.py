"""Notes on what a run's figures leave out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from depqa_ray.report.gaps import gap_notes
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import RunRecords
from tests.sample_run import sample_manifest, sample_records

UNANSWERED = "sequential: 2 questions without an answer, mostly because: the engine ran out of room."


def gaps(records: RunRecords, **settings: Any) -> list[str]:
    manifest = replace(records.manifest, settings={**records.manifest.settings, **settings})
    return list(gap_notes(compute_results(replace(records, manifest=manifest))))


def test_questions_that_were_sent_again_are_counted() -> None:
    """If replicas were lost, a note says of which strategies the latencies hold the wait for others."""
    records = sample_records()
    again = [replace(step, attempts=2) if step.strategy == "full_batch" else step for step in records.steps]
    count = sum(len(step.outcomes) for step in again if step.attempts > 1)
    assert gaps(replace(records, steps=tuple(again)))[1:] == [
        f"full_batch: {count} questions asked again after a replica was lost: the wait counts in its latencies."
    ]


def finished(*wanted: tuple[str, str]) -> RunRecords:
    """The sample, in which these strategies finished these passages."""
    records = sample_records()
    items = tuple(item for item in records.finished if (item.strategy, item.passage_id) in wanted)
    steps = tuple(step for step in records.steps if (step.strategy, step.passage_id) in wanted)
    return replace(records, finished=items, steps=steps)


def test_a_whole_run_has_no_gap_but_its_failures() -> None:
    assert gaps(sample_records()) == [UNANSWERED]


def test_missing_passages_and_questions_are_counted() -> None:
    """If a strategy did not finish all passages, a note counts the passages and questions that are missing."""
    records = finished(("sequential", "velcarn"), ("full_batch", "velcarn"), ("full_batch", "lan"))
    assert gaps(records)[0] == (
        "sequential: 1 of 2 passages reached, with 3 of 8 questions, was not finished and counts in no figure."
    )


def test_a_strategy_that_began_nothing_is_named() -> None:
    """If a strategy of the settings has no record, it has no row, and a note says why."""
    records = finished(("full_batch", "velcarn"), ("full_batch", "lan"))
    assert gaps(records, strategies=["full_batch", "independent"]) == [
        "independent: 2 of 2 passages reached, with 8 of 8 questions, were not finished and count in no figure."
    ]


def test_passages_that_were_not_reached_are_counted() -> None:
    """If fewer passages were reached than asked for, a note says how many; 0 asks for all there are."""
    note = "2 passages of the 40 asked for: the data set has no more of use, or the run was stopped."
    assert gaps(sample_records(), context_count=40)[0] == note
    assert gaps(sample_records(), context_count=2) == gaps(sample_records(), context_count=0) == [UNANSWERED]


def test_a_run_that_ended_before_its_first_passage_says_so() -> None:
    assert gaps(RunRecords(sample_manifest()), context_count=3) == ["The run ended before its first passage."]
