"""Parses one question: its words, and what it asks for; and defines a Proposal, which each sign returns.

The noun that a question asks for follows its question word ("Which old *town* lies ...", "What is the name of the
*river* that ..."). There is no grammar here: the phrase ends at the first function word, or after four words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from depqa_ray.edges.heuristic.words import (
    ARTICLES,
    AUXILIARIES,
    BE_FORMS,
    FUNCTION_WORDS,
    PLAIN_VERBS,
    QUESTION_WORDS,
    fold_plural,
    key_words,
    listed,
    split_words,
)

Kind = Literal["person", "place", "time", "number", "thing", "explanation"]

_LONGEST_PHRASE: Final = 4
_REQUESTS: Final = listed("find give identify list name state tell")
_CARRIERS: Final = listed("kind name names sort title type")
"""Nouns that only introduce the noun that is asked for: the name of the river."""
_BEFORE_THE_PHRASE: Final = ARTICLES | listed("me of one two these those")

NOUNS_OF_KIND: Final[dict[Kind, frozenset[str]]] = {
    "person": listed(
        "actor actress artist author boy builder composer daughter designer director doctor emperor engineer explorer "
        "father founder general girl governor husband individual inventor king leader man mayor mother musician "
        "officer owner painter person philosopher physicist player poet politician pope president prince princess "
        "producer professor queen ruler scientist senator singer soldier son wife winner woman writer"
    ),
    "place": listed(
        "area capital city continent country county district island location nation place province region site state "
        "town village"
    ),
    "time": listed("century date day decade month period time year"),
    "number": listed("amount count figure number percentage quantity sum total"),
}
_KIND_OF_WORD: Final[dict[str, Kind]] = {
    **dict.fromkeys(("who", "whom", "whose"), "person"),
    "where": "place",
    "when": "time",
    "why": "explanation",
}
GENERAL_NOUNS: Final = listed("individual location man person place woman")
"""Nouns that fit any answer of their kind: "that man" may be the king that a question asks for."""


class Proposal(NamedTuple):
    """A question may need the answer of the earlier question at position ``parent`` (from 0).

    ``confidence`` is in [0, 1]; ``rationale`` is a short phrase for people.
    """

    parent: int
    confidence: float
    rationale: str


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """One question, as ``text`` has it.

    - ``words`` are as written, ``lower`` the same in lower case; ``key_words`` are the content words.
    - ``question_word`` is the index of the question word, or -1.
    - ``asked_nouns`` are the nouns (singular) that it may ask for.
    - ``kind`` is the kind of its answer; ``kind_from_word`` is True if the question word alone gives it (who, where).
    """

    text: str
    words: tuple[str, ...]
    lower: tuple[str, ...]
    question_word: int
    asked_nouns: frozenset[str]
    kind: Kind
    kind_from_word: bool
    key_words: frozenset[str]


def parse_question(text: str) -> ParsedQuestion:
    """Parse one question."""
    words = split_words(text)
    lower = tuple(word.lower().replace("\u2019", "'") for word in words)
    start = _question_word(lower)
    kind = _kind_of_word(lower, start)
    asked = frozenset() if kind in ("number", "explanation") else _asked_nouns(words, lower, start)
    from_word = kind not in (None, "explanation")
    of_nouns: Kind = next((named for named, nouns in NOUNS_OF_KIND.items() if nouns & asked), "thing")
    return ParsedQuestion(text, words, lower, start, asked, kind or of_nouns, from_word, key_words(text))


def phrase_from(lower: tuple[str, ...], start: int) -> tuple[str, ...]:
    """The words from index ``start`` to the first function word, at most four."""
    words: list[str] = []
    for word in lower[start : start + _LONGEST_PHRASE]:
        if word in FUNCTION_WORDS or word in PLAIN_VERBS:
            break
        words.append(word)
    return tuple(words)


def _question_word(lower: tuple[str, ...]) -> int:
    """The index of the word that asks, or -1. After a noun ("the man who") a question word is a relative pronoun."""
    found = [index for index, word in enumerate(lower) if word in QUESTION_WORDS]
    found = [index for index in found if not _is_conjunction(lower, index)] or found
    leading = [index for index in found if index == 0 or lower[index - 1] in FUNCTION_WORDS]
    return next(iter(leading or found[-1:]), -1)


def _is_conjunction(lower: tuple[str, ...], index: int) -> bool:
    """Whether the word opens a clause ("When the river floods, ...") instead of asking."""
    return lower[index] in ("when", "where") and not AUXILIARIES.intersection(lower[index + 1 : index + 2])


def _kind_of_word(lower: tuple[str, ...], start: int) -> Kind | None:
    """The kind that the question word alone gives; None for which and what, and without a question word."""
    word = lower[start] if start >= 0 else ""
    if word == "how":
        return "number" if lower[start + 1 : start + 2] in (("many",), ("much",)) else "explanation"
    return _KIND_OF_WORD.get(word)


def _asked_nouns(words: tuple[str, ...], lower: tuple[str, ...], start: int) -> frozenset[str]:
    if start < 0 and not _REQUESTS.intersection(lower[:1]):
        return frozenset()
    index = max(start, 0) + 1
    if BE_FORMS.intersection(lower[index : index + 1]):
        index += 1
    elif start >= 0 and lower[start] not in ("which", "what"):
        return frozenset()  # "Who built ...": what follows is a verb
    names = {word.lower() for word in words if word[0].isupper()}
    phrase = phrase_from(lower, _skip_lead(lower, index))
    if phrase and phrase[-1] in _CARRIERS:
        index = _skip_lead(lower, index) + len(phrase)
        phrase += phrase_from(lower, _skip_lead(lower, index)) if lower[index : index + 1] == ("of",) else ()
    return frozenset(fold_plural(word) for word in phrase if word not in names and not word.endswith(("ed", "ly")))


def _skip_lead(lower: tuple[str, ...], index: int) -> int:
    while index < len(lower) and lower[index] in _BEFORE_THE_PHRASE:
        index += 1
    return index
