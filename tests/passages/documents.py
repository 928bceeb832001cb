"""Small data sets for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from depqa_ray.core import Edge, Passage, Question


def qa(id_: str, **changes: Any) -> dict[str, Any]:
    """A question in the official schema; a field changed to ``...`` is left out."""
    row = {"id": id_, "question": f"What is {id_}?", "answers": [{"text": f"gold {id_}", "answer_start": 0}]} | changes
    return {key: value for key, value in row.items() if value is not ...}


def document(*qas: Any, context: Any = "A text.", title: Any = "T") -> dict[str, Any]:
    """A data set of one passage in the official schema."""
    return {"version": "1.1", "data": [{"title": title, "paragraphs": [{"context": context, "qas": list(qas)}]}]}


def row(id_: str, context: str = "A text.", title: str = "T", **changes: Any) -> dict[str, Any]:
    """A question in the hub's columns."""
    answers = {"text": [f"gold {id_}"], "answer_start": [0]}
    values = {
        "id": id_,
        "title": title,
        "context": context,
        "question": f"What is {id_}?",
        "answers": answers,
    } | changes
    return {key: value for key, value in values.items() if value is not ...}


def composed(id_: str, *steps: str, **changes: Any) -> dict[str, Any]:
    """An item of MuSiQue-Ans with those steps; a field changed to ``...`` is left out."""
    values = {
        "id": id_,
        "question": f"What is {id_} about?",
        "answerable": True,
        "answer": "the end",
        "answer_aliases": ["an end"],
        "paragraphs": [
            {"idx": 0, "title": "The lamp", "paragraph_text": "Ada made the lamp.", "is_supporting": True},
            {"idx": 1, "title": "Ada", "paragraph_text": "Ada was born in Kelham.", "is_supporting": True},
        ],
        "question_decomposition": [
            {"id": number, "question": step, "answer": f"gold {number}", "paragraph_support_idx": 0}
            for number, step in enumerate(steps, 1)
        ],
    } | changes
    return {key: value for key, value in values.items() if value is not ...}


def write_json(path: Path, value: Any) -> str:
    """The path of a file that holds the value."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)


def write_lines(path: Path, *rows: Any) -> str:
    """The path of a JSON lines file; a text is written as is."""
    lines = [value if isinstance(value, str) else json.dumps(value) for value in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def passage(id_: str, count: int, edges: list[tuple[int, int]] | None = None) -> Passage:
    """A passage with that many questions; edges are (parent, child) positions."""
    questions = tuple(Question(f"{id_}-q{number}", f"Question {number}?", ("a",)) for number in range(count))
    gold = None if edges is None else tuple(Edge(f"{id_}-q{p}", f"{id_}-q{c}", origin="gold") for p, c in edges)
    return Passage(id_, id_, f"Text {id_}.", questions, gold)
