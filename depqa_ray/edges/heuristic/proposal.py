"""The unit that the heuristic's parts hand in."""

from __future__ import annotations

from typing import NamedTuple


class Guess(NamedTuple):
    """A question may need the answer of the earlier question at position ``parent`` (from 0)."""

    parent: int
    confidence: float
    rationale: str
