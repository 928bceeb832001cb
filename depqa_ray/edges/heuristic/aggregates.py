"""Questions about several earlier answers at once: "How many do they have altogether?", "Which of these is older?"

They need the earlier questions that speak of the same things, which is measured by shared key words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from depqa_ray.edges.heuristic.proposal import Guess
from depqa_ray.edges.heuristic.question import Reading
from depqa_ray.edges.heuristic.words import listed

_FORMS: Final = (
    (re.compile(r"\b(?:how many|how much|what)\b.*\b(?:in total|altogether|(?:in all|combined|together)\W*$)"), 0.2),
    (re.compile(r"\b(?:all|any|each|both|either|neither|none|which|some) of (?:these|those|them)\b"), 0.2),
    (re.compile(r"\b(?:these|those|they|them|both|two|three)\b.*\b(?:in common|share)\b"), 0.2),
    (re.compile(r"^(?:compare|contrast|add up|sum up)\b"), 0.2),
    (re.compile(r"\b(?:overall|in total|altogether|in common|compared?|combined)\b"), 0.05),
    (re.compile(r"\bboth\b(?!.*\band\b)"), 0.05),  # "both A and B" names what it means
)
"""Wordings of such a question, with the confidence that each carries before any key word is shared."""

_WORTH_OF_WORDS: Final = 0.6
_SIGN_WORDS: Final = listed("add altogether combined common compare compared contrast overall share sum total")
"""Content words that belong to the wording, not to what the question is about."""


def guess_aggregates(text: str, reading: Reading, earlier: Sequence[Reading]) -> list[Guess]:
    """The earlier questions that a question about several things takes in; the more key words shared, the surer."""
    text = " ".join(text.lower().split())
    base = max((confidence for form, confidence in _FORMS if form.search(text)), default=0.0)
    if not base:
        return []
    keys = reading.keys - _SIGN_WORDS
    guesses = [
        Guess(parent, round(base + _WORTH_OF_WORDS * shared_share(keys, other.keys), 2), _rationale(keys & other.keys))
        for parent, other in enumerate(earlier)
        if keys & other.keys
    ]
    return guesses if len(guesses) > 1 else []  # one answer alone is nothing to sum up


def shared_share(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared words as a share of all (Dice's coefficient, 2|A & B| / (|A| + |B|)), in [0, 1]; 0.0 for empty sets."""
    total = len(one) + len(other)
    return 2 * len(one & other) / total if total else 0.0


def _rationale(shared: frozenset[str]) -> str:
    return f"sums up, sharing {', '.join(sorted(shared)[:3])}"
