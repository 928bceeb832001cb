"""Questions about several earlier answers at once: "How many do they have altogether?", "Which of these is older?"

They need the earlier questions about the same things, which is measured by shared key words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from depqa_ray.edges.heuristic.question import ParsedQuestion, Proposal
from depqa_ray.edges.heuristic.words import listed

_FORMS: Final = (
    (re.compile(r"\b(?:how many|how much|what)\b.*\b(?:in total|altogether|(?:in all|combined|together)\W*$)"), 0.2),
    (re.compile(r"\b(?:all|any|each|both|either|neither|none|which|some) of (?:these|those|them)\b"), 0.2),
    (re.compile(r"\b(?:these|those|they|them|both|two|three)\b.*\b(?:in common|share)\b"), 0.2),
    (re.compile(r"^(?:compare|contrast|add up|sum up)\b"), 0.2),
    (re.compile(r"\b(?:overall|in total|altogether|in common|compared?|combined)\b"), 0.05),
    (re.compile(r"\bboth\b(?!.*\band\b)"), 0.05),  # "both A and B" names what it means
)
"""Wordings of such a question, each with its confidence before shared key words add theirs."""

_KEY_WORD_WEIGHT: Final = 0.6
_FORM_WORDS: Final = listed("add altogether combined common compare compared contrast overall share sum total")
"""Content words that belong to the wording, not to the question's subject."""


def propose_from_aggregates(question: ParsedQuestion, earlier: Sequence[ParsedQuestion]) -> list[Proposal]:
    """The earlier questions that an aggregate question covers; the more key words they share, the surer."""
    text = " ".join(question.text.lower().split())
    base = max((confidence for form, confidence in _FORMS if form.search(text)), default=0.0)
    if not base:
        return []
    keys = question.key_words - _FORM_WORDS
    proposals = [
        Proposal(
            parent,
            round(base + _KEY_WORD_WEIGHT * _dice(keys, other.key_words), 2),
            f"sums up, sharing {', '.join(sorted(keys & other.key_words)[:3])}",
        )
        for parent, other in enumerate(earlier)
        if keys & other.key_words
    ]
    return proposals if len(proposals) > 1 else []  # one answer alone is no aggregate


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    """Dice's coefficient, 2|A & B| / (|A| + |B|), in [0, 1]."""
    return 2 * len(one & other) / (len(one) + len(other))
