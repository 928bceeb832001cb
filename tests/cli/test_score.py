"""``depqa-ray score``: prediction files against data sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from depqa_ray.cli.commands import main
from depqa_ray.results.schema import RunResults
from tests.hub_repositories import add_data_set
from tests.hub_server import Hub
from tests.passages.documents import row, write_lines
from tests.sample_run import write_sample


def test_predictions_of_a_run_score_what_its_results_say(capsys: pytest.CaptureFixture[str]) -> None:
    """If the predictions of a run are scored, the figures are those of its results."""
    write_sample(Path("r"))
    assert main(["report", "r"]) == 0
    results = RunResults.model_validate_json(Path("r/results.json").read_text("utf-8"))
    for name, summary in results.strategies.items():
        capsys.readouterr()
        assert main(["score", f"r/predictions-{name}.json", "r"]) == 0
        scored = json.loads(capsys.readouterr().out)
        assert scored["exact_match"] == pytest.approx(100 * summary.metrics.em)
        assert scored["f1"] == pytest.approx(100 * summary.metrics.f1)


def test_question_without_prediction_is_reported_and_scores_0(capsys: pytest.CaptureFixture[str]) -> None:
    """If questions have no prediction, the command says so in one line and scores them 0; the data set is named."""
    Path("p.json").write_text('{"x": "a"}', "utf-8")
    assert main(["score", "p.json", "embedded"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"exact_match": 0.0, "f1": 0.0}
    ids = ", ".join(f"world-2026-0-q{number}" for number in (1, 2, 3))
    assert shown.err.splitlines() == [
        "Data set: embedded: 120 questions",
        f"120 of 120 questions without a prediction will receive score 0: {ids}, ...",
        "1 of 1 prediction ignored, being of no question of the data set: x",
    ]


def test_null_and_empty_predictions_say_that_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """In a prediction file, null and "" are right for unanswerable questions and wrong for others."""
    rows = [row("q1"), row("q2", answers={"text": [], "answer_start": []})]
    write_lines(Path("set.jsonl"), *rows)
    for text in (None, "", " ", "unknown"):
        Path("p.json").write_text(json.dumps({"q1": text, "q2": text}), "utf-8")
        assert main(["score", "p.json", "set.jsonl"]) == 0
        shown = capsys.readouterr()
        assert json.loads(shown.out) == {"exact_match": 50.0, "f1": 50.0}
        assert shown.err == "Data set: set.jsonl: 2 questions\n"


def test_scored_data_of_the_hub_has_split_and_commit(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """If the data set comes from the hub, the command names its split and commit; for a run, those that it read."""
    add_data_set(hub.root, validation=[row("v1")])
    commit = hub.commit("rajpurkar/squad", "datasets")
    Path("p.json").write_text('{"v1": "gold v1"}', "utf-8")
    assert main(["score", "p.json", "squad", "--split", "validation"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"exact_match": 100.0, "f1": 100.0}
    assert f"Data set: squad, split validation, commit {commit}: 1 question" in shown.err
    write_sample(Path("r"))
    assert main(["score", "p.json", "r"]) == 0
    assert "Data set: embedded, as run r asked: 8 questions" in capsys.readouterr().err
