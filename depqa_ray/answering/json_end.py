"""Finds the end of the first JSON object in a text that comes piece by piece."""

from __future__ import annotations

import re
from typing import Final

from depqa_ray.answering.json_objects import THINK_CLOSE, THINK_OPEN, is_json_object

# A brace, or a string: the group is empty if the string has not ended yet.
_MARK: Final = re.compile(r'[{}]|"[^"\\]*(?:\\.[^"\\]*)*("?)', re.DOTALL)
_STEP: Final = {"{": 1, "}": -1}


class JsonEnd:
    """Watches for the end of the first JSON object outside a leading ``<think>`` block.

    Braces in strings do not count, and braces around something that is not JSON ("the set {a, b}") are skipped.
    ``thinking`` says that the block was opened before the text.

    Invariants:

    - ``_text`` is what is still needed: a possible start of a tag before the object, then the object from its brace on;
    - ``_depth`` counts the first ``_scanned`` characters of ``_text``.
    """

    def __init__(self, thinking: bool = False) -> None:
        self._text = ""
        self._scanned = 0
        self._depth = 0
        self._thinking: bool | None = thinking or None  # None: not known yet
        self._in_object_text = False

    def add(self, piece: str) -> int | None:
        """How many characters at the end of ``piece`` follow the object; None if it has not ended yet."""
        self._text += piece
        self._in_object_text = self._in_object_text or self._skip_thoughts()
        return self._scan() if self._in_object_text else None

    def _skip_thoughts(self) -> bool:
        if self._thinking is None:
            start = self._text.lstrip()
            if len(start) < len(THINK_OPEN) and THINK_OPEN.startswith(start):
                return False
            self._thinking = start.startswith(THINK_OPEN)
        if not self._thinking:
            return True
        _, tag, rest = self._text.partition(THINK_CLOSE)
        self._text = rest if tag else self._text[1 - len(THINK_CLOSE) :]
        return bool(tag)

    def _scan(self) -> int | None:
        while self._depth or self._open():
            mark = _MARK.search(self._text, self._scanned)
            if mark is None or mark[1] == "":
                self._scanned = len(self._text) if mark is None else mark.start()
                return None
            self._scanned = mark.end()
            self._depth += _STEP.get(mark[0], 0)
            if not self._depth and is_json_object(self._text[: self._scanned]):
                return len(self._text) - self._scanned
        return None

    def _open(self) -> bool:
        """Whether an object starts in the rest of the text, which then starts with it."""
        start = self._text.find("{", self._scanned)
        self._text = self._text[start:] if start >= 0 else ""
        self._scanned = self._depth = 1 if self._text else 0
        return bool(self._text)
