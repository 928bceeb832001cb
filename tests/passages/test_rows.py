from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import UNKNOWN, Passage
from depqa_ray.errors import InputError
from depqa_ray.passages.base import BadRow, Row, raise_bad_row
from depqa_ray.passages.rows import read_rows
from depqa_ray.passages.sources import load_passages
from tests.passages.documents import document, qa, row, write_json, write_lines


def load(path: str) -> list[Passage]:
    return list(load_passages(path, split=""))


def load_the_rest(path: str) -> tuple[list[Passage], list[BadRow]]:
    bad: list[BadRow] = []
    return list(load_passages(path, split="", on_bad_row=bad.append)), bad


def ids(passages: list[Passage]) -> list[list[str]]:
    return [[question.id for question in passage.questions] for passage in passages]


def write_parquet(path: Path, *rows: dict[str, Any]) -> str:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(list(rows)).to_parquet(path)
    return str(path)


def test_rows_of_one_text_form_one_passage(tmp_path: Path) -> None:
    """If rows of JSON lines have the same title and text, they form one passage."""
    path = write_lines(
        tmp_path / "set.jsonl", row("q1"), row("q2", context="Other."), "", row("q3"), row("q4", title="U")
    )
    passages = load(path)
    assert sorted(ids(passages)) == [["q1", "q3"], ["q2"], ["q4"]]
    assert {(passage.title, passage.text) for passage in passages} == {
        ("T", "A text."),
        ("T", "Other."),
        ("U", "A text."),
    }
    assert len({passage.id for passage in passages}) == 3


def test_parquet_is_read_as_json_lines_are(tmp_path: Path) -> None:
    """A Parquet file gives the same passages as JSON lines do."""
    rows = [row("q1"), row("q2", context="Other."), row("q3")]
    lines = load(write_lines(tmp_path / "set.jsonl", *rows))
    assert load(write_parquet(tmp_path / "a [1] set.parquet", *rows)) == lines


def test_dependencies_in_parquet_become_gold_edges(tmp_path: Path) -> None:
    """If a Parquet file holds dependencies, they become gold edges."""
    rows = [
        row("q1", depends_on=None, is_impossible=False),
        row("q2", depends_on=["q1"], is_impossible=True),
    ]
    (passage,) = load(write_parquet(tmp_path / "set.parquet", *rows))
    assert [(edge.parent, edge.child) for edge in passage.gold_edges or ()] == [("q1", "q2")]
    assert passage.questions[1].answers == (UNKNOWN,)


def test_bad_row_of_parquet_is_skipped_and_reported(tmp_path: Path) -> None:
    """If a bad row of a Parquet file is skipped, it is reported and the rest is read."""
    path = write_parquet(tmp_path / "set.parquet", row("q1"), row("q2", question=""), row("q3"))
    passages, (bad,) = load_the_rest(path)
    assert ids(passages) == [["q1", "q3"]]
    assert (bad.where, bad.row["id"]) == (f"{path}: row 2", "q2")


def test_file_that_is_not_parquet_is_a_one_line_error(tmp_path: Path) -> None:
    """If a Parquet file holds no Parquet, the error is one line."""
    path = tmp_path / "set.parquet"
    path.write_text("no parquet")
    with pytest.raises(InputError, match="not a Parquet file that can be read") as error:
        load(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("{", "not JSON: Expecting property name"),
        ("9" * 5000, "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ("[]", "a row must be an object, not a list"),
        (row("q2", title=...), "'title' is missing"),
        (row("q2", context=...), "'context' is missing"),
        (row("q2", context=""), "'context' is empty"),
        (row("q2", context="\ud800"), "'context' holds half a surrogate pair"),
        (row("q2", question=""), "'question' is empty"),
        (row("q2", id="q1"), "the id 'q1' was given to an earlier question"),
        (row("q2", answers=...), "'answers' is missing"),
        (row("q2", answers=None), "'answers' must be a list, not null"),
        (row("q2", answers={"text": [], "answer_start": []}, is_impossible=False), "no gold answer"),
        (row("q2", answers=[]), "no gold answer"),
        (row("q2", answers={"text": [""], "answer_start": [0]}), "a gold answer is empty"),
        (row("q2", answers={"text": [None], "answer_start": [0]}), "a gold answer must be a text, not null"),
        (row("q2", answers={"answer_start": [0]}), "'text' is missing"),
    ],
)
def test_bad_line_is_refused_or_skipped(tmp_path: Path, bad: Any, what: str) -> None:
    """If a line is bad, loading fails and names its row, or the line is skipped and reported."""
    path = write_lines(tmp_path / "set.jsonl", row("q1"), bad, row("q3"))
    with pytest.raises(InputError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: row 2: {what}")
    assert "\n" not in str(error.value)
    passages, (bad_row,) = load_the_rest(path)
    assert ids(passages) == [["q1", "q3"]]
    assert bad_row.where == f"{path}: row 2"
    assert bad_row.what.startswith(what)
    json.dumps(bad_row.row)


def test_half_a_surrogate_pair_in_a_title_is_accepted(tmp_path: Path) -> None:
    (passage,) = load(write_lines(tmp_path / "set.jsonl", row("q1", title="\ud800")))
    (official,) = load(write_json(tmp_path / "set.json", document(qa("q1"), title="\ud800")))
    assert passage == official


def test_file_that_is_not_text_fails(tmp_path: Path) -> None:
    """If a file is not UTF-8 text, loading fails even if bad rows are skipped."""
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\xff\xff\n")
    with pytest.raises(InputError, match="not UTF-8 text"):
        load_the_rest(str(path))


def test_passage_is_yielded_before_the_next_one_is_read() -> None:
    """If the rows of a passage are adjacent, it is yielded before the next one is read."""
    read: list[str] = []

    def source() -> Any:
        for number in range(6):
            read.append(f"q{number}")
            yield Row(f"row {number}", row(f"q{number}", context=f"Text {number // 2}."))

    passages = read_rows(source, raise_bad_row)
    read.clear()
    next(passages)
    assert read[6:] == ["q0", "q1"]  # after the first time through, which counts


@given(st.lists(st.integers(0, 4), max_size=30))
def test_rows_in_any_order_form_whole_passages(texts: list[int]) -> None:
    """In any order of rows, each passage has all its rows in order."""
    rows = [Row(f"row {at}", row(str(at), context=f"Text {text}.")) for at, text in enumerate(texts)]
    passages = list(read_rows(lambda: (row_ for row_ in rows), raise_bad_row))
    expected = [[str(at) for at, text in enumerate(texts) if text == wanted] for wanted in set(texts)]
    assert sorted(ids(passages)) == sorted(expected)
