from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.core import Edge, Passage, Question
from depqa_ray.edges.heuristic.propose import propose_edges
from depqa_ray.edges.quality import EdgeQuality, edge_quality
from depqa_ray.errors import InputError
from depqa_ray.passages.base import BadRow
from depqa_ray.passages.sources import load_passages
from tests.passages.documents import composed, write_lines

STEPS = ("The lamp >> maker", "#1 >> place of birth")


def load(path: str) -> list[Passage]:
    return list(load_passages(f"musique:{path}"))


def load_the_rest(path: str) -> tuple[list[Passage], list[BadRow]]:
    bad: list[BadRow] = []
    return list(load_passages(f"musique:{path}", on_bad_row=bad.append)), bad


def answer_refs(tmp_path: Path, *steps: str) -> list[tuple[tuple[str, str], ...]]:
    (passage,) = load(write_lines(tmp_path / "set.jsonl", composed("a", *steps)))
    return [question.answer_refs for question in passage.questions]


def test_steps_of_an_item_become_questions(tmp_path: Path) -> None:
    """The steps of an item become the questions of its paragraphs."""
    (passage,) = load(write_lines(tmp_path / "set.jsonl", composed("a", *STEPS)))
    assert passage == Passage(
        "a",
        "What is a about?",
        "The lamp\nAda made the lamp.\n\nAda\nAda was born in Kelham.",
        (
            Question("a-1", "The lamp >> maker", ("gold 1",)),
            Question("a-2", "#1 >> place of birth", ("the end", "an end"), (("#1", "a-1"),), final=True),
        ),
        (Edge("a-1", "a-2", 1.0, "it names #1", "gold"),),
    )


def test_only_the_final_answer_has_aliases(tmp_path: Path) -> None:
    """Only the final answer has the aliases, each of them once."""
    item = composed("a", *STEPS, answer="Kelham", answer_aliases=["Kelham", "Old Kelham", "Old Kelham"])
    (passage,) = load(write_lines(tmp_path / "set.jsonl", item))
    assert [question.answers for question in passage.questions] == [("gold 1",), ("Kelham", "Old Kelham")]
    assert [question.final for question in passage.questions] == [False, True]


def test_single_step_is_final_and_has_no_parent(tmp_path: Path) -> None:
    """If an item has a single step, it is final and has no parent."""
    (passage,) = load(write_lines(tmp_path / "set.jsonl", composed("a", "Who made it?", answer_aliases=[])))
    assert passage.questions == (Question("a-1", "Who made it?", ("the end",), final=True),)
    assert passage.gold_edges == ()


def test_step_that_joins_two_roots_needs_both(tmp_path: Path) -> None:
    """If a step joins two roots, it refers to both."""
    assert answer_refs(tmp_path, "Who?", "Where?", "Did #2 see #1, or #2 itself?") == [
        (),
        (),
        (("#2", "a-2"), ("#1", "a-1")),
    ]


def test_ref_1_is_not_found_in_10(tmp_path: Path) -> None:
    """If an item has more than nine steps, #10 is not read as #1."""
    assert answer_refs(tmp_path, *["Who?"] * 10, "Is it #10?")[-1] == (("#10", "a-10"),)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"id": "a"}, "the id 'a' was given to an earlier item"),
        ({"id": ...}, "'id' is missing"),
        ({"id": 7}, "'id' must be a text, not a number"),
        ({"question": ""}, "'question' is empty"),
        ({"answerable": False}, "'answerable' is false, and only answerable items are supported"),
        ({"answerable": ...}, "'answerable' is missing"),
        ({"answerable": "yes"}, "'answerable' must be true or false, not a text"),
        ({"answer": " "}, "'answer' is empty"),
        ({"answer_aliases": ...}, "'answer_aliases' is missing"),
        ({"answer_aliases": [None]}, "a value of 'answer_aliases' must be a text, not null"),
        ({"paragraphs": []}, "'paragraphs' is empty"),
        ({"paragraphs": ["text"]}, "paragraphs[0]: it must be an object, not a text"),
        ({"paragraphs": [{"title": "T", "paragraph_text": "\ud800"}]}, "paragraphs[0]: 'paragraph_text' holds half a"),
        ({"paragraphs": [{"title": "", "paragraph_text": "A text."}]}, "paragraphs[0]: 'title' is empty"),
        ({"question_decomposition": ...}, "'question_decomposition' is missing"),
        ({"question_decomposition": []}, "'question_decomposition' is empty"),
        ({"question_decomposition": [{"question": "Who?"}]}, "question_decomposition[0]: 'answer' is missing"),
        ({"question_decomposition": [{"question": "#1?", "answer": "a"}]}, "step 1 asks for #1, which is no earlier"),
        ({"question_decomposition": [{"question": "#0?", "answer": "a"}]}, "step 1 asks for #0, which is no earlier"),
    ],
)
def test_bad_item_is_refused_or_skipped(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    """If an item is bad, loading fails and names its row, or the item is skipped and reported."""
    assert_bad(tmp_path, composed("b", *STEPS, **changes), what)


@pytest.mark.parametrize(
    ("line", "what"),
    [("{", "not JSON: "), ("[" * 100_000, "not JSON: "), ("[]", "a row must be an object, not a list")],
)
def test_line_that_is_no_item_is_refused_or_skipped(tmp_path: Path, line: str, what: str) -> None:
    """If a line is no item, loading fails and names its row, or the line is skipped and reported."""
    assert_bad(tmp_path, line, what)


def assert_bad(tmp_path: Path, bad: Any, what: str) -> None:
    path = write_lines(tmp_path / "set.jsonl", composed("a", *STEPS), bad, composed("c", *STEPS))
    with pytest.raises(InputError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: row 2: {what}")
    assert str(error.value).endswith("; correct the row as MuSiQue-Ans has it, or leave it out")
    assert "\n" not in str(error.value)
    passages, (bad_row,) = load_the_rest(path)
    assert [passage.id for passage in passages] == ["a", "c"]
    assert bad_row.where == f"{path}: row 2"
    assert bad_row.what.startswith(what)
    json.dumps(bad_row.row)


def test_file_that_is_not_text_fails(tmp_path: Path) -> None:
    """If a file is not UTF-8 text, loading fails even if bad rows are skipped."""
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\xff\xff\n")
    with pytest.raises(InputError, match="not UTF-8 text"):
        load_the_rest(str(path))


def test_long_items_are_held_one_at_a_time(tmp_path: Path) -> None:
    """If items are long, only one of them is held in memory at a time."""
    paragraphs = [{"title": "T", "paragraph_text": "x" * 100_000}]
    path = write_lines(tmp_path / "set.jsonl", *(composed(str(n), *STEPS, paragraphs=paragraphs) for n in range(50)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in load_passages(f"musique:{path}")) == 50
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000  # the file has 5 MB


def test_heuristic_finds_all_edges_of_real_items(shared_data: Path) -> None:
    """Real items are loaded completely, and the heuristic finds exactly their edges."""
    passages = load(str(shared_data / "musique" / "musique_ans_dev_100.jsonl"))
    assert len(passages) == 100
    assert {len(passage.questions) for passage in passages} == {2, 3, 4}
    assert all([q.final for q in p.questions] == [False] * (len(p.questions) - 1) + [True] for p in passages)
    quality = sum(
        (
            edge_quality([q.id for q in passage.questions], propose_edges(passage.questions), passage.gold_edges or ())
            for passage in passages
        ),
        EdgeQuality(),
    )
    assert quality.gold == 136
    assert quality.precision == quality.recall == 1.0
