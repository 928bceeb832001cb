"""MuSiQue-Ans: JSON lines, each a question that is composed of steps, with the paragraphs that they are answered from.

::

    {"id": "...", "question": "...", "answerable": true, "answer": "...", "answer_aliases": ["..."],
     "paragraphs": [{"title": "...", "paragraph_text": "..."}],
     "question_decomposition": [{"question": "Who made the lamp?", "answer": "..."},
                                {"question": "#1 >> place of birth", "answer": "..."}]}

``#1`` stands for the answer of step 1. The steps are the questions that are asked; the composed question is the title.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from depqa_ray.core import Edge, Passage, Question
from depqa_ray.errors import InputError
from depqa_ray.passages import fields
from depqa_ray.passages.assembly import Row
from depqa_ray.passages.base import BadInput
from depqa_ray.passages.rows import json_lines

_FIX: Final = "mend the row as MuSiQue-Ans has it, or leave it out"
_PLACEHOLDER: Final = re.compile(r"#([0-9]+)")

_T = TypeVar("_T")


def read_musique(path: Path, bad: BadInput) -> Iterator[Passage]:
    """The items of a file, in its order, each as it is read: memory grows with their ids alone.

    Raises InputError where the file cannot be read, whatever ``bad`` says, and at a bad row unless ``bad`` sets those
    aside.
    """
    seen: set[str] = set()
    for row in json_lines(path)():
        try:
            passage = _passage(row)
            if passage.id in seen:
                raise InputError(f"the id '{passage.id}' was given to an earlier item")
        except InputError as error:
            bad.reject(InputError(error.what, fix=_FIX), row.where, row.value)
            continue
        seen.add(passage.id)
        yield passage


def _passage(row: Row) -> Passage:
    """The item of a row. Raises InputError, whose ``what`` says what is wrong with it."""
    if row.problem:
        raise InputError(f"not JSON: {row.problem}")
    item = fields.record(row.value, "a row")
    id_ = fields.text(item, "id")
    if not fields.flag(item, "answerable"):
        raise InputError("'answerable' is false, and only answerable items are supported")
    questions = _questions(id_, item)
    edges = (Edge(parent, q.id, 1.0, f"it names {name}", "gold") for q in questions for name, parent in q.answer_refs)
    text = "\n\n".join(_each(item, "paragraphs", _paragraph))
    return Passage(id_, fields.text(item, "question"), text, questions, tuple(edges))


def _questions(item_id: str, item: Mapping[str, Any]) -> tuple[Question, ...]:
    """The steps; any of the item's own answers is right for the last one."""
    steps = _each(item, "question_decomposition", _step)
    ids = [f"{item_id}-{number}" for number in range(1, len(steps) + 1)]
    final = (fields.text(item, "answer"), *fields.texts(item, "answer_aliases"))
    return tuple(
        Question(
            ids[place],
            text,
            tuple(dict.fromkeys(final)) if place == len(steps) - 1 else (answer,),
            answer_refs=_answer_refs(text, ids[:place]),
            final=place == len(steps) - 1,
        )
        for place, (text, answer) in enumerate(steps)
    )


def _answer_refs(text: str, earlier: list[str]) -> tuple[tuple[str, str], ...]:
    """Each placeholder of a step's text, once, with the id of the step that it stands for."""
    ids = {str(number): id_ for number, id_ in enumerate(earlier, 1)}
    slots = {}
    for match in _PLACEHOLDER.finditer(text):
        if match[1] not in ids:
            raise InputError(f"step {len(earlier) + 1} asks for {match[0]}, which is no earlier step")
        slots[match[0]] = ids[match[1]]
    return tuple(slots.items())


def _step(step: Mapping[str, Any]) -> tuple[str, str]:
    return fields.text(step, "question"), fields.text(step, "answer")


def _paragraph(paragraph: Mapping[str, Any]) -> str:
    return f"{fields.text(paragraph, 'title')}\n{fields.text(paragraph, 'paragraph_text')}"


def _each(item: Mapping[str, Any], key: str, read: Callable[[Mapping[str, Any]], _T]) -> list[_T]:
    """The objects of a list, read; at least one. An error says which."""
    found = []
    for index, value in enumerate(fields.items(item, key)):
        try:
            found.append(read(fields.record(value, "it")))
        except InputError as error:
            raise InputError(f"{key}[{index}]: {error.what}") from None
    if not found:
        raise InputError(f"'{key}' is empty")
    return found
