"""MuSiQue-Ans: JSON lines or one JSON list; each item is a question composed of steps, with their paragraphs.

::

    {"id": "...", "question": "...", "answerable": true, "answer": "...", "answer_aliases": ["..."],
     "paragraphs": [{"title": "...", "paragraph_text": "..."}],
     "question_decomposition": [{"question": "Who made the lamp?", "answer": "..."},
                                {"question": "#1 >> place of birth", "answer": "..."}]}

``#1`` refers to the answer of step 1. The steps become the passage's questions, the composed question its title.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, StrictBool, TypeAdapter
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from depqa_ray.core import Edge, Passage, Question
from depqa_ray.errors import InputError
from depqa_ray.passages.base import OnBadRow, Row
from depqa_ray.passages.rows import json_rows
from depqa_ray.passages.schema import List, NonEmpty, Text, read_row

_FIX: Final = "correct the row as MuSiQue-Ans has it, or leave it out"
_REFERENCE: Final = re.compile(r"#[0-9]+")


def _require_true(answerable: bool) -> bool:
    if not answerable:
        raise PydanticCustomError("unanswerable", "unanswerable")
    return answerable


class _Step(TypedDict):
    question: Text
    answer: Text


class _Paragraph(TypedDict):
    title: Text
    paragraph_text: Text


class _Item(TypedDict):
    id: Text
    answerable: Annotated[StrictBool, AfterValidator(_require_true)]
    question_decomposition: NonEmpty[_Step]
    answer: Text
    answer_aliases: List[Text]
    paragraphs: NonEmpty[_Paragraph]
    question: Text


_ITEM: Final = TypeAdapter(_Item)


def read_musique(path: Path, on_bad_row: OnBadRow) -> Iterator[Passage]:
    """Stream the items of a file, in its order. Memory grows only with their ids.

    Raises InputError if the file cannot be read.
    """
    seen: set[str] = set()
    with closing(json_rows(path)()) as rows:
        for row in rows:
            try:
                passage = _passage(row)
                if passage.id in seen:
                    raise InputError(f"the id '{passage.id}' was given to an earlier item")
            except InputError as error:
                on_bad_row(row.bad(InputError(error.what, fix=_FIX)))
                continue
            seen.add(passage.id)
            yield passage


def _passage(row: Row) -> Passage:
    """The passage of an item. Raises InputError without a place."""
    item = read_row(row, _ITEM, "a row")
    questions = _questions(item)
    edges = (Edge(parent, q.id, 1.0, f"it names {name}", "gold") for q in questions for name, parent in q.answer_refs)
    text = "\n\n".join(f"{paragraph['title']}\n{paragraph['paragraph_text']}" for paragraph in item["paragraphs"])
    return Passage(item["id"], item["question"], text, questions, tuple(edges))


def _questions(item: _Item) -> tuple[Question, ...]:
    """The steps; the last one has the item's gold answers."""
    ids = [f"{item['id']}-{number}" for number, _ in enumerate(item["question_decomposition"], 1)]
    *steps, last = (
        Question(id_, step["question"], (step["answer"],), _answer_refs(step["question"], ids[:place]))
        for place, (id_, step) in enumerate(zip(ids, item["question_decomposition"], strict=True))
    )
    answers = tuple(dict.fromkeys((item["answer"], *item["answer_aliases"])))
    return (*steps, replace(last, answers=answers, final=True))


def _answer_refs(text: str, earlier: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Each reference in a step's text, once, with the id of the step that it refers to."""
    ids = {f"#{number}": id_ for number, id_ in enumerate(earlier, 1)}
    refs = dict.fromkeys(_REFERENCE.findall(text))
    for reference in refs:
        if reference not in ids:
            raise InputError(f"step {len(earlier) + 1} asks for {reference}, which is no earlier step")
    return tuple((reference, ids[reference]) for reference in refs)
