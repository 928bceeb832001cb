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


def test_given_json_lines_when_loaded_then_rows_of_one_text_are_one_passage(tmp_path: Path) -> None:
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


def test_given_parquet_when_loaded_then_it_is_read_as_json_lines_are(tmp_path: Path) -> None:
    rows = [row("q1"), row("q2", context="Other."), row("q3")]
    lines = load(write_lines(tmp_path / "set.jsonl", *rows))
    assert load(write_parquet(tmp_path / "a [1] set.parquet", *rows)) == lines


def test_given_parquet_with_dependencies_when_loaded_then_gold_edges_are_there(tmp_path: Path) -> None:
    rows = [
        row("q1", depends_on=None, is_impossible=False),
        row("q2", depends_on=["q1"], is_impossible=True),
    ]
    (passage,) = load(write_parquet(tmp_path / "set.parquet", *rows))
    assert [(edge.parent, edge.child) for edge in passage.gold_edges or ()] == [("q1", "q2")]
    assert passage.questions[1].answers == (UNKNOWN,)


def test_given_a_bad_row_of_a_parquet_file_when_skipped_then_it_is_set_aside(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "set.parquet", row("q1"), row("q2", question=""), row("q3"))
    passages, (bad,) = load_the_rest(path)
    assert ids(passages) == [["q1", "q3"]]
    assert (bad.where, bad.row["id"]) == (f"{path}: row 2", "q2")


def test_given_no_parquet_in_a_parquet_file_when_loaded_then_one_line_says_so(tmp_path: Path) -> None:
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
        (row("q2", answers={"text": [], "answer_start": []}), "no gold answer"),
        (row("q2", answers={"answer_start": [0]}), "'text' is missing"),
    ],
)
def test_given_a_bad_line_when_loaded_then_it_is_told_or_set_aside(tmp_path: Path, bad: Any, what: str) -> None:
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


def test_given_half_a_character_in_a_title_then_rows_are_read_as_the_official_schema_is(tmp_path: Path) -> None:
    (passage,) = load(write_lines(tmp_path / "set.jsonl", row("q1", title="\ud800")))
    (official,) = load(write_json(tmp_path / "set.json", document(qa("q1"), title="\ud800")))
    assert passage == official


def test_given_bytes_that_are_no_text_when_loaded_then_the_file_fails(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\xff\xff\n")
    with pytest.raises(InputError, match="not UTF-8 text"):
        load_the_rest(str(path))


def test_given_adjacent_rows_when_read_then_a_passage_is_let_go_before_the_next_one_is_read() -> None:
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
def test_given_rows_in_any_order_when_read_then_each_passage_has_all_its_rows_in_order(texts: list[int]) -> None:
    rows = [Row(f"row {at}", row(str(at), context=f"Text {text}.")) for at, text in enumerate(texts)]
    passages = list(read_rows(lambda: (row_ for row_ in rows), raise_bad_row))
    expected = [[str(at) for at, text in enumerate(texts) if text == wanted] for wanted in set(texts)]
    assert sorted(ids(passages)) == sorted(expected)
