"""What the heuristic understands of one question: its words, and what it asks for.

The noun that a question asks for stands behind its question word ("Which old *town* lies ...", "What is the name of the
*river* that ..."). There is no grammar here: the phrase is taken to end at the first function word, and after four
words at the latest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

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
"""Nouns that only lead to the one that is asked for: the name of the river."""
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
GENERAL_NOUNS: Final = listed("individual location man person place woman")
"""Nouns that any answer of their kind fits: "that man" may be the king who was asked for."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One question, read.

    ``words`` are as written, ``lower`` the same in lower case. ``start`` is the index of the question word, or -1.
    ``asked`` are the nouns (singular) that it may ask for, ``kind`` what sort of thing its answer is; ``by_word`` says
    that the question word alone tells the kind (who, where, when, how many). ``keys`` are its content words.
    """

    words: tuple[str, ...]
    lower: tuple[str, ...]
    start: int
    asked: frozenset[str]
    kind: Kind
    by_word: bool
    keys: frozenset[str]


def read_question(text: str) -> Reading:
    """Read one question."""
    words = split_words(text)
    lower = tuple(word.lower().replace("\u2019", "'") for word in words)
    start = _question_word(lower)
    kind = _kind_of_word(lower, start)
    asked = frozenset() if kind in ("number", "explanation") else _asked_nouns(words, lower, start)
    return Reading(
        words, lower, start, asked, kind or _kind_of_nouns(asked), kind not in (None, "explanation"), key_words(text)
    )


def phrase_from(lower: tuple[str, ...], start: int) -> tuple[str, ...]:
    """The words from index ``start`` to the first function word, at most four."""
    words: list[str] = []
    for word in lower[start : start + _LONGEST_PHRASE]:
        if word in FUNCTION_WORDS or word in PLAIN_VERBS:
            break
        words.append(word)
    return tuple(words)


def _question_word(lower: tuple[str, ...]) -> int:
    """The index of the word that asks: a question word behind a noun ("the man who ...") is a relative pronoun."""
    found = [index for index, word in enumerate(lower) if word in QUESTION_WORDS]
    found = [index for index in found if not _is_conjunction(lower, index)] or found
    leading = [index for index in found if index == 0 or lower[index - 1] in FUNCTION_WORDS]
    return next(iter(leading or found[-1:]), -1)


def _is_conjunction(lower: tuple[str, ...], index: int) -> bool:
    """Whether the word opens a clause ("When the river floods, ...") instead of asking."""
    return lower[index] in ("when", "where") and not AUXILIARIES.intersection(lower[index + 1 : index + 2])


def _kind_of_word(lower: tuple[str, ...], start: int) -> Kind | None:
    """The kind that the question word alone tells; None for which and what, and without a question word."""
    word = lower[start] if start >= 0 else ""
    if word == "how":
        return "number" if lower[start + 1 : start + 2] in (("many",), ("much",)) else "explanation"
    by_word: dict[str, Kind] = {
        "who": "person",
        "whom": "person",
        "whose": "person",
        "where": "place",
        "when": "time",
        "why": "explanation",
    }
    return by_word.get(word)


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


def _kind_of_nouns(asked: frozenset[str]) -> Kind:
    return next((kind for kind, nouns in NOUNS_OF_KIND.items() if nouns & asked), "thing")
