"""References by number or position: "question 2", "Q2", "#2", "the first question", "the previous answer"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from depqa_ray.edges.heuristic.question import ParsedQuestion, Proposal
from depqa_ray.edges.heuristic.words import FUNCTION_WORDS

_CONFIDENCE: Final = 0.95
_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")

# "#2" stands for an answer; "the #1 song" is a rank. "Q2" is a question; "Q2 2014" is a quarter.
_HASH = re.compile(r"(?<![\w#])#(\d{1,3})\b")
_RANK_BEFORE = re.compile(r"\bthe\s+$", re.IGNORECASE)
_WORD_AFTER = re.compile(r"\s+([a-z]+)")
_SHORT = re.compile(r"\bQ(\d{1,3})\b(?!\s+(?:of\s+)?\d{4})")
_LONG = re.compile(
    r"\b(?:questions?|answers?)\s+#?(\d{1,3}(?:(?:\s*,\s*|\s*,?\s*(?:and|or|to)\s+)#?\d{1,3})*)\b", re.IGNORECASE
)
_PLACE = re.compile(
    r"\b(?:(" + "|".join(_ORDINALS) + r")|(\d{1,2})(?:st|nd|rd|th)|(previous|preceding|prior|last|above))"
    r"\s+(?:question|answer)\b(?!\s+(?:to|of|that)\b)",
    re.IGNORECASE,
)
_ABOVE = re.compile(r"\b(?:question|answer)\s+above\b", re.IGNORECASE)


def propose_from_ordinals(question: ParsedQuestion, earlier: Sequence[ParsedQuestion]) -> list[Proposal]:
    """The earlier questions that a question names by number or position."""
    return [
        Proposal(parent, _CONFIDENCE, f'names it: "{phrase}"')
        for parent, phrase in _mentions(question.text, len(earlier))
        if 0 <= parent < len(earlier)
    ]


def _mentions(text: str, position: int) -> Iterator[tuple[int, str]]:
    """The positions (from 0) that the text of the question at ``position`` names, each with the phrase."""
    hashes = list(_HASH.finditer(text))
    if all(_is_rank(text, match) for match in hashes):
        hashes = []  # "the #2 expelled from #1": one reference makes all of them references
    for match in (*hashes, *_SHORT.finditer(text)):
        yield int(match[1]) - 1, match[0]
    for match in _LONG.finditer(text):
        for number in re.findall(r"\d+", match[1]):
            yield int(number) - 1, match[0]
    for match in _PLACE.finditer(text):
        yield _place(match, position), match[0]
    for match in _ABOVE.finditer(text):
        yield position - 1, match[0]


def _is_rank(text: str, match: re.Match[str]) -> bool:
    """Whether a hash looks like a rank: "the" before it and a noun (no function word) after it."""
    after = _WORD_AFTER.match(text, match.end())
    noun = after is not None and after[1] not in FUNCTION_WORDS
    return noun and _RANK_BEFORE.search(text, 0, match.start()) is not None


def _place(match: re.Match[str], position: int) -> int:
    ordinal, number, _ = match.groups()
    if ordinal:
        return _ORDINALS.index(ordinal.lower())
    return int(number) - 1 if number else position - 1
