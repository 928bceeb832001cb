"""References by a demonstrative and a noun: "that town", "this old company", "the same river", "both towns".

They point at the latest earlier question that asks for such a noun, as they would in a conversation. "That" before
anything that no earlier question asks for (a relative pronoun, a noun of the passage) points at nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from depqa_ray.edges.heuristic.proposal import Guess
from depqa_ray.edges.heuristic.question import GENERAL_NOUNS, NOUNS_OF_KIND, Reading, phrase_from
from depqa_ray.edges.heuristic.words import DEMONSTRATIVES, fold_plural, is_plural, listed

_SAME_NOUN: Final = 0.9
_SAME_KIND: Final = 0.8
_SEVERAL: Final = 0.75
_NEVER_AFTER_SAME: Final = listed("as degree extent manner reason thing time way")
_SAYING: Final = listed(
    "argued argue believe believed claim claimed contend contends decided discovered found know known preferred prove "
    "proved proposed said say says showed shown stated suggest suggested think thought true"
)
"""Words whose "that" opens a clause."""
_MANY: Final = {"these": None, "those": None, "both": 2}
"""Words before a plural, with how many earlier questions they point at (None: all that fit)."""


def guess_demonstratives(reading: Reading, earlier: Sequence[Reading]) -> list[Guess]:
    """What the demonstratives of a question point at among the earlier questions."""
    guesses: list[Guess] = []
    for phrase, nouns, most in _pointing_phrases(reading):
        guesses += _resolve(phrase, nouns, most, earlier)
    return guesses


def fit(noun: str, reading: Reading) -> float:
    """How well the answer of a question is called ``noun`` (singular): 0.0 where it is not."""
    if noun in reading.asked:
        return _SAME_NOUN
    same_kind = noun in NOUNS_OF_KIND.get(reading.kind, ())
    return _SAME_KIND if same_kind and (reading.by_word or noun in GENERAL_NOUNS) else 0.0


def _pointing_phrases(reading: Reading) -> Iterator[tuple[str, list[str], int | None]]:
    """Each pointing phrase with the nouns it may name and the most answers it points at."""
    lower = reading.lower
    for index, word in enumerate(lower):
        if not (word in DEMONSTRATIVES or word == "same" or word == "both"):
            continue
        phrase = () if _opens_clause(reading, index) else phrase_from(lower, index + 1)
        several = word in _MANY
        nouns = [
            fold_plural(noun)
            for noun in phrase
            if _agrees(word, noun) and not _introduced(fold_plural(noun), reading, index)
        ]
        yield f"{word} {phrase[0] if phrase else ''}", nouns, _MANY[word] if several else 1


def _opens_clause(reading: Reading, index: int) -> bool:
    """Whether a "that" opens a clause: "the river that flows", "who said that taxes", "the prize that Curie"."""
    after = reading.words[index + 1 : index + 2]
    if reading.lower[index] != "that" or not after:
        return False
    return (
        after[0][0].isupper()
        or after[0].endswith("ed")
        or is_plural(after[0])
        or (index > 0 and reading.lower[index - 1] in _SAYING)
    )


def _agrees(word: str, noun: str) -> bool:
    """Whether the noun has the number that the demonstrative asks for: "that flows" points at nothing."""
    if word == "same":
        return noun not in _NEVER_AFTER_SAME
    return is_plural(noun) == (word in _MANY)


def _introduced(noun: str, reading: Reading, index: int) -> bool:
    """Whether the question itself speaks of such a thing before ``index``, other than by asking for it or pointing."""
    for place, word in enumerate(reading.lower[:index]):
        if fold_plural(word) != noun or noun in reading.asked:
            continue
        if not DEMONSTRATIVES.intersection(reading.lower[max(place - 2, 0) : place]):
            return True
    return False


def _resolve(phrase: str, nouns: list[str], most: int | None, earlier: Sequence[Reading]) -> list[Guess]:
    for noun in nouns:
        fits = [(parent, fit(noun, reading)) for parent, reading in enumerate(earlier)]
        fitting = [(parent, confidence) for parent, confidence in fits if confidence > 0]
        chosen = fitting if most is None else fitting[-most:]
        if chosen:
            word = phrase.split()[0]
            return [
                Guess(parent, confidence if most == 1 else min(confidence, _SEVERAL), f'"{word} {noun}" points at it')
                for parent, confidence in chosen
            ]
    return []
