r"""The answer in a text that is no JSON, or that is a value of it.

| the text | the answer |
|---|---|
| ``Answer: X``, ``**Answer:** X``, ``Final answer: X``, ``A: X``, ``Q1: X``, on any line; ``Answer:`` and X below | X |
| ``The answer is X.``, on any line | X |
| ``<answer>X</answer>``, ``\boxed{X}``, anywhere | X |
| ``"X"``, ``“X”``, ``**X**``, ```X``` | X |
| anything else | its first line, without a code fence |

What follows a line that begins with ``Question:`` or ``Passage:``, as in the prompt, was made up.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from depqa_ray.answering.json_values import decode
from depqa_ray.answering.made_up import before_made_up
from depqa_ray.answering.values import clean, text_of

_MOST_READ: Final = 20_000
_FENCE: Final = re.compile(r"```\w*$")
_TAGGED: Final = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_BOXED: Final = re.compile(r"\\boxed\s*\{")
_NAMED: Final = re.compile(
    r"(?:.*\?)?[\s>#*_-]*"
    r"(?:(?:(?:the|my|your)\s+)?(?:(?:final|short|correct)\s+)?(?:answer|ans)|(?-i:A)|(?:q|question)\s?1)[*_\s]*[:\uff1a](.*)"
    r"|([\"'])answer\2\s*[:\uff1a](.*)"
    r"|(?:#+|\*\*)\s*(?:final\s+)?answer[*_\s]*",
    re.IGNORECASE,
)
_SAID: Final = re.compile(
    r"[\s>#*_-]*(?:[^.?!]{1,80},\s+|(?:so|thus|hence|therefore)\s+)?(?:the|my)\s+(?:(?:final|short|correct)\s+)?answer"
    r"(?:\s+to\s+(?:the|this|your)\s+question)?\s+is:?\s+(.*)",
    re.IGNORECASE,
)
_CUT_KEY: Final = re.compile(r"(?:```\w*)?\s*\{\s*(?:[\"'\u201c]\w*)?\Z")
"""A reply that was cut before any answer."""

_BULLET: Final = re.compile(r"[-*+•]\s+(?=\D)")
_PAIRS: Final = ("**", "__", "`", '"', "'", "\u201c\u201d", "\u2018\u2019", "«»", "$", "*", "_")
_TEX_COMMAND: Final = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf)\{([^{}]*)\}")


def plain_answer(text: str) -> str:
    """The answer in a text; "" if there is none."""
    text = before_made_up(text[:_MOST_READ].strip())
    text = next((inner for inner in (_tagged(text), _boxed(text)) if inner), text)
    for shown in (text, _line(text)):
        try:
            return text_of(decode(shown))  # a bare JSON text, number or list
        except ValueError:
            pass
    return clean(_bare(_line(text)))


def lines_of(text: str) -> list[str]:
    """The lines that hold something, stripped, without code fences."""
    return [line for line in map(str.strip, text.splitlines()) if line and not _FENCE.match(line)]


def _line(text: str) -> str:
    """The rest of the first line that says that it is the answer, or else the first line."""
    lines = lines_of(text)
    for line, below in pairwise([*lines, ""]):
        if named := _NAMED.fullmatch(line):
            return (named[1] or named[3] or "").strip("*_ \t,") or below
        if said := _SAID.fullmatch(line):
            return said[1].rstrip("*_ \t").removesuffix(".")
    return lines[0] if lines and not _CUT_KEY.match(text) else ""


def _tagged(text: str) -> str:
    found = _TAGGED.search(text)
    return found[1].strip() if found else ""


def _boxed(text: str) -> str:
    found = _BOXED.search(text)
    if found is None:
        return ""
    depth = 1
    for brace in re.finditer(r"[{}]", text[found.end() :]):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return text[found.end() : found.end() + brace.start()].strip()
    return text[found.end() :].strip()


def _bare(line: str) -> str:
    """The line without the marks around it."""
    text = _TEX_COMMAND.sub(r"\1", _BULLET.sub("", line, count=1) if _BULLET.match(line) else line)
    for pair in _PAIRS:
        opening, closing = (pair[0], pair[1]) if pair[0] != pair[-1] else (pair, pair)
        inner = text[len(opening) : -len(closing)]
        if text == f"{opening}{inner}{closing}" and inner.strip() and opening not in inner and closing not in inner:
            text = inner.strip()
    return text
