"""References by a demonstrative and a noun: "that town", "this old company", "the same river", "both towns".

They refer to the latest earlier question that asks for such a noun, as in a conversation. If no earlier question asks
for it ("that" as a relative pronoun, a noun of the passage), they refer to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from depqa_ray.edges.heuristic.question import GENERAL_NOUNS, NOUNS_OF_KIND, ParsedQuestion, Proposal, phrase_from
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
"""Words before a plural, with the number of earlier questions they refer to (None: all that fit)."""
_REFERRING: Final = DEMONSTRATIVES | listed("both same")


def propose_from_demonstratives(question: ParsedQuestion, earlier: Sequence[ParsedQuestion]) -> list[Proposal]:
    """The earlier questions that the demonstratives of a question refer to."""
    phrases = _referring_phrases(question)
    return [proposal for word, nouns in phrases for proposal in _resolve(word, nouns, earlier)]


def _fit(noun: str, question: ParsedQuestion) -> float:
    """How well ``noun`` (singular) names the answer of a question, in [0, 1]; 0.0 if it does not."""
    if noun in question.asked_nouns:
        return _SAME_NOUN
    same_kind = noun in NOUNS_OF_KIND.get(question.kind, ())
    return _SAME_KIND if same_kind and (question.kind_from_word or noun in GENERAL_NOUNS) else 0.0


def _referring_phrases(question: ParsedQuestion) -> Iterator[tuple[str, list[str]]]:
    """Each demonstrative with the nouns (singular) that it may refer to."""
    for index, word in enumerate(question.lower):
        if word in _REFERRING and not _opens_clause(question, index):
            nouns = [fold_plural(noun) for noun in phrase_from(question.lower, index + 1) if _agrees(word, noun)]
            yield word, [noun for noun in nouns if not _introduced(noun, question, index)]


def _opens_clause(question: ParsedQuestion, index: int) -> bool:
    """Whether a "that" opens a clause: "the river that flows", "who said that taxes", "the prize that Curie"."""
    after = question.words[index + 1 : index + 2]
    if question.lower[index] != "that" or not after:
        return False
    return (
        after[0][0].isupper()
        or after[0].endswith("ed")
        or is_plural(after[0])
        or (index > 0 and question.lower[index - 1] in _SAYING)
    )


def _agrees(word: str, noun: str) -> bool:
    """Whether the noun has the demonstrative's number: "that flows" refers to nothing."""
    if word == "same":
        return noun not in _NEVER_AFTER_SAME
    return is_plural(noun) == (word in _MANY)


def _introduced(noun: str, question: ParsedQuestion, index: int) -> bool:
    """Whether the question mentions such a thing before ``index``, other than by asking for it or referring to it."""
    for place, word in enumerate(question.lower[:index]):
        if fold_plural(word) != noun or noun in question.asked_nouns:
            continue
        if not DEMONSTRATIVES.intersection(question.lower[max(place - 2, 0) : place]):
            return True
    return False


def _resolve(word: str, nouns: list[str], earlier: Sequence[ParsedQuestion]) -> list[Proposal]:
    """The earlier questions that the first fitting noun refers to."""
    most = _MANY.get(word, 1)
    surest = _SEVERAL if word in _MANY else 1.0
    for noun in nouns:
        rationale = f'"{word} {noun}" points at it'
        fits = [(parent, _fit(noun, question)) for parent, question in enumerate(earlier)]
        fitting = [Proposal(parent, min(fit, surest), rationale) for parent, fit in fits if fit > 0]
        if fitting:
            return fitting if most is None else fitting[-most:]
    return []
