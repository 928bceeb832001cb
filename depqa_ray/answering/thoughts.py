"""Which part of a reply is thought: what stands between two of the tags below, whatever their kinds.

A closing tag without an opening one ends a thought that the prompt opened. A thought without an end reaches to the end
of the reply: it was cut.
"""

from __future__ import annotations

import re
from typing import Final

from depqa_ray.answering.json_values import is_json_reply

THINK_OPEN: Final = "<think>"
THINK_CLOSE: Final = "</think>"

_NAME: Final = r"(?:seed:)?(?:think|thinking|thoughts?|reasoning)"
_OPEN: Final = (
    rf"<{_NAME}>",
    r"\[THINK\]",
    "◁think▷",
    r"<\|begin_of_thought\|>",
    r"<\|START_THINKING\|>",
    r"<\|channel\|>analysis<\|message\|>",
    r"\A(?-i:analysis(?=[A-Z]))",  # the line above without its special tokens
)
_CLOSE: Final = (
    rf"</{_NAME}>",
    r"\[/THINK\]",
    "◁/think▷",
    r"<\|end_of_thought\|>",
    r"<\|END_THINKING\|>",
    r"<\|channel\|>final<\|message\|>",
    r"(?-i:assistantfinal)",
)

LONGEST_TAG: Final = 40
"""No tag has more characters. None has a brace."""

OPENING: Final = "|".join(_OPEN)
"""A pattern, to be compiled with IGNORECASE, of the tags that open a thought. One counts only where a text starts."""

CLOSING: Final = re.compile("|".join(_CLOSE), re.IGNORECASE)

_TAG: Final = re.compile(f"(?P<open>{OPENING})|{CLOSING.pattern}", re.IGNORECASE)
_OPENED: Final = re.compile(rf"(?:{OPENING})\s*\Z", re.IGNORECASE)


def is_tag(text: str) -> bool:
    """Whether the text is one of the tags, and nothing else."""
    return _TAG.fullmatch(text) is not None


def opens_thought(prompt: str) -> bool:
    """Whether a prompt ends with a tag that opens a thought."""
    return _OPENED.search(prompt) is not None


def is_stray_tag(text: str, start: int, end: int) -> bool:
    """Whether a closing tag without an opening one means nothing: it follows a whole answer, and nothing follows it."""
    return not text[end:].strip() and is_json_reply(text[:start].strip())


def without_thoughts(text: str) -> str:
    """The text outside of its thoughts."""
    shown: list[str] = []
    start, is_thought = 0, False
    for tag in _TAG.finditer(text):
        opens = tag["open"] is not None
        if not is_thought:
            shown.append(text[start : tag.start()])
            if not opens and not is_stray_tag(text, tag.start(), tag.end()):
                shown.clear()  # the prompt opened a thought, and this was it
        start, is_thought = tag.end(), opens
    return "".join(shown if is_thought else [*shown, text[start:]])
