from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.core import UNKNOWN, Passage, Question
from depqa_ray.errors import InputError
from depqa_ray.passages.base import BadRow, OnBadRow, raise_bad_row
from depqa_ray.passages.sources import load_passages
from tests.passages.documents import document, qa, write_json


def load(path: str) -> list[Passage]:
    return list(load_passages(path, split=""))


def load_the_rest(path: str) -> tuple[list[Passage], list[BadRow]]:
    bad: list[BadRow] = []
    return list(load_passages(path, split="", on_bad_row=bad.append)), bad


def test_each_paragraph_of_an_official_file_is_a_passage(tmp_path: Path) -> None:
    """Each paragraph of an official file becomes a passage."""
    two = document(qa("q1"), qa("q2"))
    two["data"][0]["paragraphs"].append({"context": "Another.", "qas": [qa("q3")]})
    first, second = load(write_json(tmp_path / "set.json", two))
    assert first == Passage(
        "T",
        "T",
        "A text.",
        (Question("q1", "What is q1?", ("gold q1",)), Question("q2", "What is q2?", ("gold q2",))),
    )
    assert (second.id, second.title, second.text) == ("T#2", "T", "Another.")


def test_paragraphs_of_one_text_form_one_passage(tmp_path: Path) -> None:
    """If a title and text come twice, their questions form one passage."""
    parts = document(qa("q1"))["data"] + document(qa("q2"), title="U")["data"] + document(qa("q3"))["data"]
    passages = load(write_json(tmp_path / "set.json", {"data": parts}))
    assert [[question.id for question in passage.questions] for passage in passages] == [["q1", "q3"], ["q2"]]


def test_unanswerable_question_expects_unknown(tmp_path: Path) -> None:
    """If a question is unanswerable, its gold answer is unknown."""
    rows = [qa("q1", is_impossible=True, answers=[]), qa("q2", is_impossible=False), qa("q3", is_impossible=True)]
    (passage,) = load(write_json(tmp_path / "set.json", document(*rows)))
    assert [question.answers for question in passage.questions] == [(UNKNOWN,), ("gold q2",), (UNKNOWN,)]


def test_dependencies_anywhere_give_all_passages_gold_edges(tmp_path: Path) -> None:
    """If any question has dependencies, every passage of the file has gold edges."""
    value = document(qa("q1"), qa("q2", depends_on=["q1", "q1"]), qa("q3", depends_on=["q1", "q2"]))
    value["data"] += document(qa("q4"), title="U")["data"]
    first, second = load(write_json(tmp_path / "set.json", value))
    assert [(edge.parent, edge.child) for edge in first.gold_edges or ()] == [("q1", "q2"), ("q1", "q3"), ("q2", "q3")]
    assert {edge.origin for edge in first.gold_edges or ()} == {"gold"}
    assert second.gold_edges == ()


def test_no_dependencies_mean_unknown_gold_edges(tmp_path: Path) -> None:
    """If a file has no dependencies, its gold edges are not known."""
    (passage,) = load(write_json(tmp_path / "set.json", document(qa("q1"))))
    assert passage.gold_edges is None


def test_empty_dependencies_mean_no_gold_edges(tmp_path: Path) -> None:
    """If the dependencies of a file are empty, it is known to have no gold edges."""
    (passage,) = load(write_json(tmp_path / "set.json", document(qa("q1", depends_on=[]))))
    assert passage.gold_edges == ()


BAD_QUESTIONS: list[tuple[Any, str]] = [
    ("text", "a question must be an object, not a text"),
    (qa("q2", id=...), "'id' is missing"),
    (qa("q2", id=7), "'id' must be a text, not a number"),
    (qa("q2", id="q1"), "the id 'q1' was given to an earlier question"),
    (qa("q2", question=...), "'question' is missing"),
    (qa("q2", question=" \n"), "'question' is empty"),
    (qa("q2", question=None), "'question' must be a text, not null"),
    (qa("q2", question="\ud800"), "'question' holds half a surrogate pair"),
    (qa("q2", answers=...), "'answers' is missing"),
    (qa("q2", answers=[]), "no gold answer"),
    (qa("q2", answers="Paris"), "'answers' must be a list, not a text"),
    (qa("q2", answers=["Paris"]), "a gold answer must be an object, not a text"),
    (qa("q2", answers=[{"answer_start": 0}]), "'text' is missing"),
    (qa("q2", answers=[{"text": ""}]), "a gold answer is empty"),
    (qa("q2", answers=[{"text": True}]), "a gold answer must be a text, not true or false"),
    (qa("q2", is_impossible="yes"), "'is_impossible' must be true or false, not a text"),
    (qa("q2", depends_on="q1"), "'depends_on' must be a list, not a text"),
    (qa("q2", depends_on=[1]), "a value of 'depends_on' must be a text, not a number"),
    (qa("q2", depends_on=["q9"]), "depends_on names 'q9', which is no usable question of this passage"),
    (qa("q2", depends_on=["q2"]), "depends_on names 'q2', which lies in a circle"),
]


@pytest.mark.parametrize(("bad", "what"), BAD_QUESTIONS)
def test_bad_question_is_one_line_with_its_place(tmp_path: Path, bad: Any, what: str) -> None:
    """If a question is bad, the error is one line with its place and a fix."""
    path = write_json(tmp_path / "set.json", document(qa("q1"), bad, qa("q3")))
    with pytest.raises(InputError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: data[0].paragraphs[0].qas[1]: {what}")
    assert error.value.fix
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("bad", "what"), BAD_QUESTIONS)
def test_bad_question_is_skipped_and_the_rest_is_read(tmp_path: Path, bad: Any, what: str) -> None:
    """If a bad question is skipped, it is reported and the rest is read."""
    path = write_json(tmp_path / "set.json", document(qa("q1"), bad, qa("q3")))
    (passage,), (row,) = load_the_rest(path)
    assert [question.id for question in passage.questions] == ["q1", "q3"]
    assert row.where == f"{path}: data[0].paragraphs[0].qas[1]"
    assert row.what.startswith(what)
    assert row.row == bad
    json.dumps(row.row)


@pytest.mark.parametrize(
    ("change", "place", "what"),
    [
        (lambda d: d["data"].insert(0, 5), "data[0]", "an article must be an object, not a number"),
        (lambda d: d["data"].insert(0, {"title": "U"}), "data[0]", "'paragraphs' is missing"),
        (lambda d: d["data"].insert(0, {"paragraphs": []}), "data[0]", "'title' is missing"),
        (lambda d: d["data"][0]["paragraphs"].insert(0, []), "data[0].paragraphs[0]", "a paragraph must be an object"),
        (
            lambda d: d["data"][0]["paragraphs"].insert(0, {"context": "", "qas": []}),
            "data[0].paragraphs[0]",
            "'context' is empty",
        ),
        (
            lambda d: d["data"][0]["paragraphs"].insert(0, {"context": "c", "qas": {}}),
            "data[0].paragraphs[0]",
            "'qas' must be a list, not an object",
        ),
    ],
)
def test_bad_article_or_paragraph_is_refused_or_skipped(tmp_path: Path, change: Any, place: str, what: str) -> None:
    """If an article or paragraph is bad, loading fails and names its place, or it is skipped and reported."""
    value = document(qa("q1"))
    change(value)
    path = write_json(tmp_path / "set.json", value)
    with pytest.raises(InputError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: {place}: {what}")
    (passage,), (row,) = load_the_rest(path)
    assert passage.questions[0].id == "q1"
    assert row.where == f"{path}: {place}"


def test_skipping_a_cycle_skips_what_depends_on_it(tmp_path: Path) -> None:
    """If a cycle is skipped, all that depends on it is skipped too."""
    rows = [
        qa("q1", depends_on=["q2"]),
        qa("q2", depends_on=["q1"]),
        qa("q3", depends_on=["q2"]),
        qa("q4", depends_on=["q9"]),
        qa("q5"),
    ]
    (passage,), bad = load_the_rest(write_json(tmp_path / "set.json", document(*rows)))
    assert [question.id for question in passage.questions] == ["q5"]
    assert [row.row["id"] for row in bad] == ["q4", "q1", "q2", "q3"]


def test_skipping_a_bad_parent_skips_its_children(tmp_path: Path) -> None:
    """If a bad parent is skipped, its children and theirs are skipped too."""
    rows = [qa("q1", answers=[]), qa("q2", depends_on=["q1"]), qa("q3", depends_on=["q2"]), qa("q4")]
    (passage,), bad = load_the_rest(write_json(tmp_path / "set.json", document(*rows)))
    assert [question.id for question in passage.questions] == ["q4"]
    assert [row.row["id"] for row in bad] == ["q1", "q2", "q3"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not JSON"),
        (b"{'data': []}", "not JSON"),
        (b'{"data": [\n}', "not JSON: Expecting value (line 2, column 1)"),
        (b"\xff\xfe{", "not UTF-8 text"),
        (b"[]", "the file must be an object, not a list"),
        (b"{}", "'data' is missing"),
        (b'{"data": {}}', "'data' must be a list, not an object"),
        (b"[" * 200_000, "not JSON that can be used"),
    ],
)
@pytest.mark.parametrize("on_bad_row", [raise_bad_row, lambda row: None])
def test_file_that_is_bad_as_a_whole_always_fails(
    tmp_path: Path, content: bytes, what: str, on_bad_row: OnBadRow
) -> None:
    """If a file is bad as a whole, loading fails even if bad rows are skipped."""
    path = tmp_path / "set.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        list(load_passages(str(path), split="", on_bad_row=on_bad_row))
    assert str(error.value).startswith(f"{path}: {what}")
    assert str(error.value).endswith("give a file in the SQuAD v1.1 or v2.0 JSON schema")


def test_given_squad_dev_when_loaded_then_nothing_is_missing(shared_data: Path) -> None:
    passages = load(str(shared_data / "squad" / "dev-v1.1.json"))
    questions = [question for passage in passages for question in passage.questions]
    assert len({passage.title for passage in passages}) == 48
    assert len({passage.id for passage in passages}) == len(passages) == 2067
    assert len(questions) == 10_570
    assert sum(len(question.answers) for question in questions) == 34_726
    assert all(answer in passage.text for passage in passages for q in passage.questions for answer in q.answers)
