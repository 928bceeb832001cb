"""References by a pronoun: he, it, their, there, since then.

A pronoun usually stands for something in its own question ("What did Tesla do with his prize?"). It refers to an
earlier question only if its own question holds no possible antecedent before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from depqa_ray.edges.heuristic.question import NOUNS_OF_KIND, Kind, ParsedQuestion, Proposal
from depqa_ray.edges.heuristic.words import (
    AUXILIARIES,
    BE_FORMS,
    DETERMINERS,
    FUNCTION_WORDS,
    PREPOSITIONS,
    fold_plural,
    listed,
)

_NEAREST: Final = 0.6
_DECAY: Final = 0.1
"""Subtracted for each question in between: 0.6, 0.5, 0.4, and never less than ``_FLOOR``."""
_FLOOR: Final = 0.1
_VAGUE: Final = 0.1
"""Subtracted if several kinds of answer fit the pronoun (it, they)."""

_KINDS: Final[dict[str, tuple[Kind, ...]]] = {
    **dict.fromkeys(listed("he him his she her hers"), ("person",)),
    **dict.fromkeys(listed("they them their theirs"), ("person", "thing")),
    **dict.fromkeys(listed("it its"), ("thing", "place")),
    "there": ("place",),
    "then": ("time",),
}
_OBJECTS: Final = listed("it him them")
_HAVE_FORMS: Final = listed("had has have")
_TIME_LEADS: Final = listed("after before by from since until")
_EMPTY_IT_VERBS: Final = listed("mean seem take")
"""Verbs whose subject "it" stands for nothing: how long does it take."""
_CLAUSE_WORDS: Final = listed("for how if that to when")


def propose_from_pronouns(question: ParsedQuestion, earlier: Sequence[ParsedQuestion]) -> list[Proposal]:
    """For each pronoun that refers outside its question, the latest earlier question that fits, if any."""
    proposals: list[Proposal] = []
    for index, word in enumerate(question.lower):
        kinds = _KINDS.get(word, ())
        if kinds and _refers_outside(question, index):
            proposals += _resolve(word, kinds, earlier)
    return proposals


def _resolve(pronoun: str, kinds: tuple[Kind, ...], earlier: Sequence[ParsedQuestion]) -> list[Proposal]:
    fitting = [parent for parent, question in enumerate(earlier) if question.kind in kinds]
    if not fitting:
        return []
    between = len(earlier) - 1 - fitting[-1]
    confidence = _NEAREST - _DECAY * between - (_VAGUE if len(kinds) > 1 else 0.0)
    return [Proposal(fitting[-1], round(max(confidence, _FLOOR), 2), f'"{pronoun}" may mean its answer')]


def _refers_outside(question: ParsedQuestion, index: int) -> bool:
    word = question.lower[index]
    if word == "then" and not _is_time(question, index):
        return False
    if word == "there" and not BE_FORMS.isdisjoint(question.lower[max(index - 1, 0) : index + 2]):
        return False  # "were there", "there is": says that something exists, not where
    if word == "it" and _is_empty(question.lower, index):
        return False
    return not _has_antecedent(question, index)


def _is_time(question: ParsedQuestion, index: int) -> bool:
    """Whether "then" means a time ("since then", "... then?") rather than an order ("did he then")."""
    before = question.lower[index - 1] if index else ""
    return before in _TIME_LEADS or index == len(question.lower) - 1


def _is_empty(lower: tuple[str, ...], index: int) -> bool:
    """Whether "it" stands for a clause or nothing: "is it true that", "does it take"."""
    after = lower[index + 1 :]
    if after[:1] and after[0] in _EMPTY_IT_VERBS:
        return True
    is_before = index > 0 and lower[index - 1] in BE_FORMS
    return is_before and any(word in _CLAUSE_WORDS for word in after)


def _has_antecedent(question: ParsedQuestion, index: int) -> bool:
    """Whether the question holds a possible antecedent of the pronoun before ``index``."""
    start = max(question.question_word, 0)
    if any(word not in PREPOSITIONS for word in question.lower[:start]):
        return True  # "After the war, what did he": any content before the question word
    lead = _lead_end(question, index)
    if index == lead:  # nothing but "In which town was" before it; but "Which town has its" means that town
        return question.lower[index - 1] in _HAVE_FORMS
    if any(word[0].isupper() or word[0].isdigit() for word in question.words[start + 1 : index]):
        return True
    kinds = _KINDS[question.lower[index]]
    if kinds in (("place",), ("time",)):
        return any(fold_plural(word) in NOUNS_OF_KIND[kinds[0]] for word in question.lower[start:index])
    return _has_noun_phrase(question, lead, index)


def _lead_end(question: ParsedQuestion, index: int) -> int:
    """The index after the question word, its nouns and its auxiliary; without an auxiliary, after the question word."""
    start = max(question.question_word, 0)
    auxiliaries = (place for place in range(start, index) if question.lower[place] in AUXILIARIES)
    return next(auxiliaries, start) + 1


def _has_noun_phrase(question: ParsedQuestion, lead: int, index: int) -> bool:
    between = question.lower[lead:index]
    auxiliary = question.lower[lead - 1] if question.lower[lead - 1] in AUXILIARIES else ""
    if auxiliary in BE_FORMS and between[-1] == "of" and DETERMINERS.isdisjoint(between[1:]):
        return False  # "What is the name of its": a thing is not its own name
    if DETERMINERS.difference(("many", "much")).intersection(between):
        return True
    # The subject follows an auxiliary. Without one, the thing asked for is the subject, and an object ("Who founded
    # it?") is something else.
    could_mean_the_subject = bool(auxiliary) or question.lower[index] not in _OBJECTS
    if could_mean_the_subject and any(word not in FUNCTION_WORDS for word in between):
        return True
    # "Which town was in its": that town.
    return (
        auxiliary in BE_FORMS | _HAVE_FORMS and bool(question.asked_nouns) and lead > max(question.question_word, 0) + 2
    )
