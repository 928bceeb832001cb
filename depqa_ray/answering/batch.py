"""The answers to several numbered questions in a text that is not exactly the JSON asked for.

The first of these forms that the text has counts:

1. JSON that names the questions: ``{"Q1": "a", "Q2": "b"}``, also in a list or an object, in several objects, or as
   ``[{"question": "Q1", "answer": "a"}, ...]``;
2. lines that name them: ``Q1: a``, ``**Answer 1:** a``, ``1. a``, also one after the other: ``Q1: a, Q2: b``;
3. as many values as questions: ``["a", "b"]``, ``{"answers": ["a", "b"]}``, ``{"answer": "a"}`` once for each;
4. as many lines as questions.

What stands at one line or value is read like the reply to one question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from depqa_ray.answering.json_values import nested
from depqa_ray.answering.made_up import before_made_up
from depqa_ray.answering.plain_text import lines_of, plain_answer
from depqa_ray.answering.reply_keys import ABSENT, answer_in, is_aside, numbered_in
from depqa_ray.answering.single import objects_in, single_answer, values_in
from depqa_ray.answering.values import text_of

# A label begins a line or follows another answer. If it has a quotation mark before it, it has one behind it.
_LEAD: Final = r"(?:^(?:\d{1,3}[.)])?[ \t>#*_|•-]*|[;,|][ \t]+[*_]*)(?P<quote>[\"']?)"
_NUMBER: Final = r"[ \t_]*(?P<number>\d{1,3})(?P=quote)"
_END: Final = r"[*_]*[ \t]*(?:[:\uff1a|=]|[.)](?=\s)|[-\u2013](?=\s)|$)"
_LABELS: Final = (
    re.compile(rf"{_LEAD}(?:answer|ans|a){_NUMBER}{_END}", re.IGNORECASE | re.MULTILINE),
    re.compile(rf"{_LEAD}(?:question|q){_NUMBER}{_END}", re.IGNORECASE | re.MULTILINE),
    re.compile(r"^[ \t>#*_|(\[]*(?P<number>\d{1,3})(?:[.)\]](?=\s)|[:\uff1a])", re.MULTILINE),
)


def batch_answers(text: str, count: int) -> tuple[dict[int, str], bool]:
    """The answers in a text without thoughts by the question's number, from 1; and whether JSON names all of them."""
    values = [value for value in values_in(text) if value]
    named = _named(values, count)
    if named:
        return {number: text_of(value) for number, value in named.items()}, len(named) == count
    return _unnamed(text, values, count), False


def _unnamed(text: str, values: Sequence[Any], count: int) -> dict[int, str]:
    """The answers in a text whose JSON names no question."""
    if lines := _labelled(_only_value(values), count) or _labelled(text, count):
        return lines
    if items := _as_many(values, count):
        return _in_order(items, count)
    if count == 1:
        return {1: single_answer(text)[0]}
    rest = [] if values else lines_of(before_made_up(text))
    return dict(enumerate(map(plain_answer, rest), 1)) if len(rest) == count else {}


def _named(values: Sequence[Any], count: int) -> dict[int, Any]:
    """The first value for each number."""
    named: dict[int, Any] = {}
    for found in objects_in(values):
        for number, value in numbered_in(found).items():
            if 1 <= number <= count:
                named.setdefault(number, value)
    return named


def _labelled(text: str, count: int) -> dict[int, str]:
    """The answers behind the labels of one kind; numbers without a word are labels if they begin with 1."""
    for kind in _LABELS:
        labels = list(kind.finditer(text))
        numbers = [int(label["number"]) for label in labels]
        if not any(1 <= number <= count for number in numbers) or (kind is _LABELS[-1] and numbers[0] != 1):
            continue
        ends = [*(label.start() for label in labels[1:]), len(text)]
        answers: dict[int, str] = {}
        for number, label, end in zip(numbers, labels, ends, strict=True):
            if 1 <= number <= count and number not in answers:
                answers[number] = single_answer(_behind(label, text[label.end() : end]))[0]
        return answers
    return {}


def _behind(label: re.Match[str], text: str) -> str:
    """The text behind a label, without what closes the label's own emphasis (``**Q1:** a``)."""
    before, _, after = label[0].partition(label["number"])
    return text.lstrip("*_" if before.count("*") > after.count("*") else "").strip(" \t\n|,;")


def _only_value(values: Sequence[Any]) -> str:
    """The answer of one object, which may have labels of its own: ``{"answer": "Q1: a, Q2: b"}``."""
    return text_of(values[0]) if len(values) == 1 and isinstance(values[0], dict) else ""


def _as_many(values: Sequence[Any], count: int) -> Sequence[Any]:
    """The first list, or object with keys of its own, with one value for each question; empty if there is none."""
    if count < 2:
        return ()
    for node in (node for value in values for node in nested(value)):
        items = node if isinstance(node, list) else _own_values(node)
        if len(items) == count:
            return items
    return values if len(values) == count and all(isinstance(value, dict) for value in values) else ()


def _in_order(items: Sequence[Any], count: int) -> dict[int, str]:
    """The values by their place, or by the labels that all of them begin with: ``["Q1: a", "Q2: b"]``."""
    lines = (": ".join(map(text_of, item)) if isinstance(item, list) else text_of(item) for item in items)
    labelled = _labelled("\n".join(lines), count)
    return labelled if len(labelled) == count else {number: text_of(item) for number, item in enumerate(items, 1)}


def _own_values(found: dict[str, Any]) -> Sequence[Any]:
    return () if answer_in(found) is not ABSENT or any(map(is_aside, found)) else list(found.values())
