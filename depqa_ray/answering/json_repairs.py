"""Broken objects and lists in a model's text, repaired one by one, so that none swallows what the model wrote next."""

from __future__ import annotations

import re
from typing import Any, Final

from depqa_ray.answering.made_up import MADE_UP

_MOST: Final = 3_000  # characters of a reply; the repair is quadratic in the length
_DEEPEST: Final = 50

_QUOTE: Final = r"[\"'`\u2018-\u201d]"
_BEGINS: Final = re.compile(
    rf"\{{\s*(?:\\?{_QUOTE}[^\n{{}}]{{1,60}}?{_QUOTE}|Q?\d+|[^\W\d]\w[\w ]{{0,40}}?)\s*(?:[:\uff1a]|=)"
    rf"|\[\s*(?:{_QUOTE}|\{{|\[)"
)
"""What is meant as an object or a list: "{'answer': ...", "{answer: ...", "['Rome", not "{a, b}"."""

_STRING: Final = r"(?<=[\s:,{\[])([\"'])(?:(?!\1)[^\n\\]|\\.)*\1(?=\s*[,:}\]])"
_MARK: Final = {
    "{": re.compile(rf"[{{}}]|{_STRING}|^[ \t]*```|{MADE_UP}", re.MULTILINE),
    "[": re.compile(rf"[\[\]]|{_STRING}|^[ \t]*```|{MADE_UP}", re.MULTILINE),
}
_STEP: Final = {"{": 1, "[": 1, "}": -1, "]": -1}
_CAN_NEST: Final = re.compile(rf"(?:{_QUOTE}\s*[:\uff1a=]|[\[{{]|[}}\]]\s*,)\s*\Z")

_NUMBER: Final = r"([-+~<>\u2248]?\s?[$\u00a3\u00a5\u20ac]?\s?\.?\d(?:[^\"'`{}\[\],\n]|,(?=\d))*?)"
_MENDS: Final = (
    (re.compile('"""'), '"'),
    (re.compile(r"\u2018([^\u2018\u2019\n]*)\u2019(?=\s*[,:\uff1a}])"), r'"\1"'),
    (re.compile(rf"({_QUOTE}\s*)(?:\uff1a|=>?)"), r"\1:"),
    # json_repair keeps numbers as values, not as they were written, and drops what is around them ("$5 million").
    (re.compile(rf"((?:{_QUOTE}|\{{\s*\w+)\s*:\s*){_NUMBER}(?=\s*(?:,(?!\d)|[}}\]]|\Z))"), r'\1"\2"'),
    # It takes '{"Q', which was cut, for a set.
    (re.compile(r"\{[^{}:]*\Z"), '""'),
)
"""What is replaced before the repair."""


class Repairs:
    """The repairs in one text. Together they cost no more than one of 3,000 characters."""

    def __init__(self) -> None:
        self._left = _MOST

    def value(self, text: str, start: int) -> tuple[Any, int] | None:
        """The object or list that begins there, and its end; None if nothing that begins there looks like one."""
        if not self._left or not _BEGINS.match(text, start):
            return None
        end = _end(text, start, start + self._left)
        self._left -= end - start
        repaired = _repair(_mend(text[start:end]))
        if text[start] == "{" and isinstance(repaired, list):  # something else before or behind the object
            repaired = next((item for item in repaired if isinstance(item, dict)), None)
        return (repaired, end) if repaired and isinstance(repaired, dict | list) else None


def _end(text: str, start: int, limit: int) -> int:
    """Where it ends: with the bracket that closes it, or else before what cannot be part of it."""
    depth = 0
    for mark in _MARK[text[start]].finditer(text, start, limit):
        if mark[1]:
            continue
        step = _STEP.get(mark[0])
        if step is None or depth > _DEEPEST or (depth and step > 0 and _begins_another(text, mark.start())):
            return mark.start()
        depth += step
        if not depth:
            return mark.end()
    return min(len(text), limit)


def _begins_another(text: str, start: int) -> bool:
    """Whether an object or a list begins there that is no part of the one before it."""
    return _BEGINS.match(text, start) is not None and not _CAN_NEST.search(text[max(0, start - 20) : start])


def _mend(text: str) -> str:
    for pattern, better in _MENDS:
        text = pattern.sub(better, text)
    return text


def _repair(text: str) -> Any:
    import json_repair

    try:
        return json_repair.loads(text)
    except Exception:  # its parser meets arbitrary text; whatever it raises, there is no object
        return None
