"""Files in the official SQuAD v1.1 or v2.0 JSON schema.

::

    {"version": "v2.0", "data": [{"title": "...", "paragraphs": [{"context": "...", "qas": [
        {"id": "...", "question": "...", "answers": [{"text": "...", "answer_start": 0}],
         "is_impossible": false,              v2.0 only; true = unanswerable, and the expected answer is "unknown"
         "depends_on": ["..."]}               ours; ids of questions of the same passage whose answers this one needs
    ]}]}]}

``answer_start`` is not read: the answers are their texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from depqa_ray.core import Passage
from depqa_ray.errors import InputError
from depqa_ray.passages import fields
from depqa_ray.passages.assembly import Group, Row, assemble, states_dependencies
from depqa_ray.passages.base import BadInput

_FIX: Final = "give a file in the SQuAD v1.1 or v2.0 JSON schema"


def read_squad_file(path: Path, bad: BadInput) -> Iterator[Passage]:
    """The passages of a file, in its order; paragraphs with the same title and text are one passage.

    Raises InputError where the file as a whole cannot be used, whatever ``bad`` says, and at a bad row unless ``bad``
    sets those aside. The file is parsed as a whole, so that memory grows with its size.
    """
    articles = _articles(path)
    groups: dict[tuple[str, str], Group] = {}
    for title, text, rows in _paragraphs(articles, str(path), bad):
        groups.setdefault((title, text), Group(title, text, [])).rows.extend(rows)
    has_gold = any(states_dependencies(row.value) for group in groups.values() for row in group.rows)
    yield from assemble(groups.values(), has_gold, bad)


def _articles(path: Path) -> list[Any]:
    document = read_json(path)
    try:
        return fields.items(fields.record(document, "the file"), "data")
    except InputError as error:
        raise InputError(error.what, str(path), _FIX) from None


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises InputError where it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(path), "check the path") from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text", str(path), _FIX) from None
    except json.JSONDecodeError as error:
        what = f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise InputError(what, str(path), _FIX) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested too deep
        raise InputError(f"not JSON that can be used: {error}", str(path), _FIX) from None


def _paragraphs(articles: list[Any], file: str, bad: BadInput) -> Iterator[tuple[str, str, list[Row]]]:
    for number, article in enumerate(articles):
        where = f"{file}: data[{number}]"
        try:
            title = fields.title(fields.record(article, "an article"))
            paragraphs = fields.items(article, "paragraphs")
        except InputError as error:
            bad.reject(error, where, article)
            continue
        for index, paragraph in enumerate(paragraphs):
            place = f"{where}.paragraphs[{index}]"
            try:
                text = fields.text(fields.record(paragraph, "a paragraph"), "context")
                qas = fields.items(paragraph, "qas")
            except InputError as error:
                bad.reject(error, place, paragraph)
                continue
            yield title, text, [Row(f"{place}.qas[{at}]", qa) for at, qa in enumerate(qas)]
