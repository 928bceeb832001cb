"""A JSON value as the text of an answer."""

from __future__ import annotations

import re
from typing import Any, Final

from depqa_ray.answering.reply_keys import ABSENT, any_in

_DEEPEST: Final = 5

# What JSON makes of a LaTeX command whose backslash was not doubled: "\frac" becomes a form feed and "rac".
_TEX: Final = re.compile(
    "(?:\b(?=ar|egin|eta|f\\b|ig|inom|old|ot|oxed|ullet)|\f(?=box|lat|loor|orall|rac)|\n(?=abla|eq\\b|otin)"
    "|\r(?=angle|ho\\b|ight)|\t(?=an\\b|au\\b|ext|frac|heta|ilde|imes|riangle))"
)
_LETTERS: Final = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


def text_of(value: Any, depth: int = 0) -> str:
    """A JSON value as an answer: the answer of an object or else its first value, and the first one of a list."""
    if value is None or value is ABSENT or depth > _DEEPEST:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return text_of(any_in(value), depth + 1)
    if isinstance(value, list):
        return text_of(value[0], depth + 1) if value else ""
    return clean(_TEX.sub(lambda command: "\\" + _LETTERS[command[0]], str(value)))


def clean(text: str) -> str:
    """The stripped text, without half surrogate pairs: JSON and tokens can spell them, and no file takes them."""
    return text.encode(errors="replace").decode().strip()
