"""What a run's prediction files say where there is no answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from depqa_ray.answering.scoring import score_predictions
from depqa_ray.core import UNKNOWN
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.predictions import predictions
from tests.sample_run import lantern, sample_records


@pytest.mark.parametrize(
    ("reason", "fault", "answer", "right"),
    [
        ("json", "", "", True),  # {"answer": null} and {"answer": ""}
        ("eos", "", " ", True),
        ("eos", "", "Ada", False),
        ("eos", "empty", "", False),
        ("eos", "thoughts_only", "", False),
        ("json", "no_json", "", False),
        ("length", "", "", False),
        ("", "", "", False),  # an earlier version, which did not record how replies ended
    ],
)
def test_stated_absence_scores_as_in_a_prediction_file(reason: Any, fault: Any, answer: str, right: bool) -> None:
    """Null or "" in a whole reply is right for an unanswerable question, in the run and in its predictions alike."""
    record = lantern()
    records = sample_records(record)
    steps = tuple(
        replace(
            step,
            finish_reason=reason,
            reply_fault=fault,
            outcomes=tuple(replace(outcome, status="answered", answer=answer) for outcome in step.outcomes),
        )
        for step in records.steps
    )
    results = compute_results(replace(records, steps=steps))
    entry = results.passages[0].strategies[1].questions[2]
    assert (entry.gold, entry.em, entry.f1) == ([UNKNOWN], float(right), float(right))
    official = predictions(results, results.passages[0].strategies[1].name)
    assert official.get("lan-3") == ("" if right else answer or None)
    scores = score_predictions(official, [record.passage])
    summary = results.strategies[results.passages[0].strategies[1].name].metrics
    assert (scores.exact_match, scores.f1) == pytest.approx((100 * summary.em, 100 * summary.f1))
