"""Files in the official SQuAD v1.1 or v2.0 JSON schema.

::

    {"version": "v2.0", "data": [{"title": "...", "paragraphs": [{"context": "...", "qas": [
        {"id": "...", "question": "...", "answers": [{"text": "...", "answer_start": 0}],
         "is_impossible": false,              v2.0 only; true = unanswerable, and the expected answer is "unknown"
         "depends_on": ["..."]}               ours; ids of questions of the same passage whose answers this one needs
    ]}]}]}

``answer_start`` is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import StrictStr, TypeAdapter
from typing_extensions import TypedDict

from depqa_ray.core import Passage
from depqa_ray.errors import InputError
from depqa_ray.passages.assembly import Group, assemble, states_dependencies
from depqa_ray.passages.base import OnBadRow, OnEmpty, Row, nothing
from depqa_ray.passages.schema import List, Text, read_or_reject, read_row

SQUAD_FIX: Final = "give a file in the SQuAD v1.1 or v2.0 JSON schema"


class _File(TypedDict):
    data: List[Any]


class _Article(TypedDict):
    title: StrictStr
    paragraphs: List[Any]


class _Paragraph(TypedDict):
    context: Text
    qas: List[Any]


_FILE_TYPE: Final = TypeAdapter(_File)
_ARTICLE: Final = TypeAdapter(_Article)
_PARAGRAPH: Final = TypeAdapter(_Paragraph)


def read_squad(document: object, path: Path, on_bad_row: OnBadRow, on_empty: OnEmpty = nothing) -> Iterator[Passage]:
    """The passages of the JSON value that a file holds, in its order.

    Paragraphs with the same title and text are one passage. Raises InputError if the value is no such document.
    """
    groups: dict[tuple[str, str], Group] = {}
    for title, text, rows in _paragraphs(_articles(document, path), str(path), on_bad_row):
        groups.setdefault((title, text), Group(title, text, [])).rows.extend(rows)
    has_gold = any(states_dependencies(row.value) for group in groups.values() for row in group.rows)
    yield from assemble(groups.values(), has_gold, on_bad_row, on_empty)


def _articles(document: object, path: Path) -> list[Any]:
    try:
        return read_row(Row(str(path), document), _FILE_TYPE, "the file")["data"]
    except InputError as error:
        raise InputError(error.what, str(path), SQUAD_FIX) from None


def _paragraphs(articles: list[Any], file: str, on_bad_row: OnBadRow) -> Iterator[tuple[str, str, list[Row]]]:
    """The title, text and questions of each usable paragraph."""
    for number, value in enumerate(articles):
        row = Row(f"{file}: data[{number}]", value)
        if not (article := read_or_reject(row, _ARTICLE, "an article", on_bad_row)):
            continue
        for index, part in enumerate(article["paragraphs"]):
            row = Row(f"{file}: data[{number}].paragraphs[{index}]", part)
            if paragraph := read_or_reject(row, _PARAGRAPH, "a paragraph", on_bad_row):
                qas = [Row(f"{row.where}.qas[{at}]", qa) for at, qa in enumerate(paragraph["qas"])]
                yield article["title"], paragraph["context"], qas
