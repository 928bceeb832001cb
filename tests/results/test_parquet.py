"""The table of answers: read back as it was written, with its types, for any answers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Outcome, Passage, Question, StepResult
from depqa_ray.errors import StoreError
from depqa_ray.results import parquet
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.parquet import write_parquet
from depqa_ray.results.records import PassageRecord, PassageResult, RunRecords
from depqa_ray.results.schema import AnswerEntry
from tests.sample_run import STRATEGIES, sample_manifest, sample_records

COLUMNS = [
    *("strategy", "passage_id", "title", "question_id", "question", "gold", "parents", "answer", "status", "reason"),
    *("strict", "lenient", "em", "f1", "step", "text", "prompt_tokens", "generated_tokens"),
    *("ready", "dispatched", "completed", "engine_seconds", "replica", "batch", "attempts"),
    *("finish_reason", "reply_fault"),
]


def written(folder: Path, records: RunRecords) -> list[dict[str, Any]]:
    write_parquet(compute_results(records), folder / "made" / "answers.parquet")
    rows: list[dict[str, Any]] = pq.read_table(folder / "made" / "answers.parquet").to_pylist()
    return rows


def of_one_answer(text: str) -> RunRecords:
    """A run in which one question was asked; all of its texts are ``text``."""
    passage = Passage("p", text, text, (Question(text, text, (text, "b")),))
    step = StepResult("independent", "p", text, (Outcome(text, "failed", reason=text),), text, replica=text)
    return RunRecords(
        sample_manifest(), (PassageRecord(passage),), (step,), (PassageResult("independent", "p", 0.0, 1.0),)
    )


def test_each_question_has_a_row_for_each_strategy(tmp_path: Path) -> None:
    """Each question has a row for each strategy, with all that is known."""
    results = compute_results(sample_records())
    rows = written(tmp_path, sample_records())

    assert [(row["passage_id"], row["strategy"]) for row in rows] == [
        (passage, strategy)
        for passage, asked in (("velcarn", 5), ("lan", 3))
        for strategy in STRATEGIES
        for _ in range(asked)
    ]
    answers = [answer for passage in results.passages for entry in passage.strategies for answer in entry.questions]
    for row, answer in zip(rows, answers, strict=True):
        known = answer.model_dump()
        assert row["question_id"] == known.pop("id")
        assert known.items() <= row.items()
    assert [row["parents"] for row in rows if row["question_id"] == "velcarn-q2"] == [[], [], ["velcarn-q1"]]
    assert {row["title"] for row in rows} == {"Velcarn", "The lantern"}


def test_given_the_file_then_pandas_reads_what_the_results_say(tmp_path: Path) -> None:
    write_parquet(compute_results(sample_records()), tmp_path / "answers.parquet")
    means = pd.read_parquet(tmp_path / "answers.parquet").groupby("strategy").f1.mean()
    for name, summary in compute_results(sample_records()).strategies.items():
        assert math.isclose(means[name], summary.metrics.f1)


@pytest.mark.parametrize("records", [RunRecords(sample_manifest()), sample_records()], ids=["empty", "full"])
def test_columns_and_types_do_not_depend_on_the_rows(tmp_path: Path, records: RunRecords) -> None:
    """If there is no row or there are many, the columns and their types are the same."""
    rows = written(tmp_path, records)
    assert len(rows) == sum(summary.counts.questions for summary in compute_results(records).strategies.values())
    schema = pq.read_schema(tmp_path / "made" / "answers.parquet")
    assert schema.names == COLUMNS
    types = {name: str(schema.field(name).type) for name in COLUMNS}
    assert (types["gold"], types["f1"], types["batch"]) == ("list<element: string>", "double", "int64")
    assert not [name for name, type_ in types.items() if "null" in type_]


@given(text=st.text(st.characters(), min_size=1))
def test_any_text_comes_back_if_utf8_can_hold_it(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Any text comes back, except for what UTF-8 cannot hold."""
    (row,) = written(tmp_path_factory.mktemp("any"), of_one_answer(text))
    expected = text.encode("utf-8", "replace").decode("utf-8")
    for name in ("title", "question_id", "question", "reason", "text", "replica"):
        assert row[name] == expected
    assert row["gold"] == [expected, "b"]


def test_how_each_reply_ended_is_in_its_row(tmp_path: Path) -> None:
    records = sample_records()
    ends: tuple[tuple[Any, Any], ...] = (("length", "thoughts_only"), ("eos", "empty"), ("refused", ""), ("", ""))
    steps = tuple(
        replace(step, finish_reason=reason, reply_fault=fault)
        for step, (reason, fault) in zip(records.steps[:4], ends, strict=True)
    )

    rows = written(tmp_path, replace(records, steps=(*steps, *records.steps[4:])))

    assert [(row["finish_reason"], row["reply_fault"]) for row in rows[:5]] == [*ends, ("json", "")]


def test_given_a_new_field_of_an_answer_then_it_is_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Longer(AnswerEntry):
        again: list[str] | None = None
        seen: bool = True

    monkeypatch.setattr(parquet, "AnswerEntry", Longer)
    results = compute_results(sample_records())
    cut = results.passages[0].strategies[0]
    longer = [Longer(**answer.model_dump()) for answer in cut.questions]
    entry = results.passages[0].model_copy(update={"strategies": [cut.model_copy(update={"questions": longer})]})
    write_parquet(results.model_copy(update={"passages": [entry]}), tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == [*COLUMNS, "again", "seen"]
    assert (table["again"].to_pylist(), str(table["again"].type)) == ([None] * 5, "list<element: string>")
    assert table["seen"].to_pylist() == [True] * 5


def test_unwritable_path_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """If the path cannot be written, the error is one line and no file is left."""
    (tmp_path / "taken").mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*taken") as caught:
        write_parquet(compute_results(sample_records()), tmp_path / "taken")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_existing_file_is_replaced_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """If the file exists, it is replaced and nothing is printed."""
    (tmp_path / "a.parquet").write_text("old", "utf-8")
    write_parquet(compute_results(sample_records()), tmp_path / "a.parquet")
    assert pq.read_metadata(tmp_path / "a.parquet").num_rows == 24
    assert capfd.readouterr() == ("", "")
