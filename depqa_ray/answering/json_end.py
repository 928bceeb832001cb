"""Finds the end of the first JSON object in a text that comes piece by piece."""

from __future__ import annotations

import re
from typing import Final

from depqa_ray.answering.json_values import is_json_reply
from depqa_ray.answering.thoughts import CLOSING, LONGEST_TAG, OPENING

# Few spaces, so that what is kept of a text always holds a whole start.
_START: Final = re.compile(rf"(?P<thought>{OPENING})|(?P<list>\[\s{{0,20}}\{{)|\{{", re.IGNORECASE)

# A bracket that counts, or a string: the group is empty if the string has not ended yet.
_STRING: Final = r'"[^"\\]*(?:\\.[^"\\]*)*("?)'
_IN_OBJECT: Final = re.compile(rf"[{{}}]|{_STRING}", re.DOTALL)
_IN_LIST: Final = re.compile(rf"[{{}}\[\]]|{_STRING}", re.DOTALL)
_STEP: Final = {"{": 1, "[": 1, "}": -1, "]": -1}


class JsonEnd:
    """Watches for the end of the first JSON object outside of thoughts, or of the list that begins with it.

    Brackets in strings do not count, and braces around something that is not JSON ("the set {a, b}") are skipped.
    ``thinking`` says that a thought was opened before the text.

    Invariants:

    - ``_text`` is what is still needed: a possible start of a tag before the object, then the object from its brace on;
    - the first ``_scanned`` characters of ``_text`` have been dealt with: ``_depth`` counts them;
    - ``_waiting`` are pieces that are not in ``_text`` yet: before an object, nothing ends without a brace.
    """

    def __init__(self, thinking: bool = False) -> None:
        self._waiting: list[str] = []
        self._text = ""
        self._scanned = 0
        self._depth = 0
        self._thinking = thinking
        self._mark = _IN_OBJECT

    def add(self, piece: str) -> int | None:
        """How many characters at the end of ``piece`` follow the object; None if it has not ended yet."""
        self._waiting.append(piece)
        if not self._depth and "{" not in piece:
            return None
        self._text += "".join(self._waiting)
        self._waiting.clear()
        while self._depth or self._open():
            mark = self._mark.search(self._text, self._scanned)
            if mark is None or mark[1] == "":
                self._scanned = len(self._text) if mark is None else mark.start()
                return None
            self._scanned = mark.end()
            self._depth += _STEP.get(mark[0], 0)
            if not self._depth and is_json_reply(self._text[: self._scanned]):
                return len(self._text) - self._scanned
        return None

    def _open(self) -> bool:
        """Whether an object starts in the rest of the text, which then starts with it."""
        while found := (CLOSING if self._thinking else _START).search(self._text, self._scanned):
            if self._thinking or found["thought"] is not None:
                self._thinking = not self._thinking
                self._scanned = found.end()
                continue
            self._text = self._text[found.start() :]
            self._mark = _IN_LIST if found["list"] else _IN_OBJECT
            self._scanned, self._depth = len(found[0]), 2 if found["list"] else 1
            return True
        self._forget()
        return False

    def _forget(self) -> None:
        """Keep what may begin a tag, behind one character: only the reply's own start may match as a start."""
        start = max(self._scanned, len(self._text) - LONGEST_TAG)
        self._text, self._scanned = self._text[max(start - 1, 0) :], min(start, 1)
