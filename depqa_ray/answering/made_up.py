"""Where a reply goes on to an example that the model made up, in the form of the prompt."""

from __future__ import annotations

import re
from typing import Final

MADE_UP: Final = r"^[ \t]*(?:Passage|Question|Known)[ \t]*[:\uff1a]"
"""The line (MULTILINE) with which such an example begins."""

_BEHIND: Final = re.compile(rf"(?<=\n){MADE_UP}", re.MULTILINE)


def before_made_up(text: str) -> str:
    """The text up to such a line, which counts only behind another one that holds something."""
    found = _BEHIND.search(text, len(text) - len(text.lstrip()))
    return text[: found.start()] if found else text
