"""References by a pronoun: he, it, their, there, since then.

In a lone question a pronoun mostly stands for something in the same question ("What did Tesla do with his prize?"). So
one points at an earlier question only where its own question holds nothing before it that it could stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from depqa_ray.edges.heuristic.proposal import Guess
from depqa_ray.edges.heuristic.question import NOUNS_OF_KIND, Kind, Reading
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
"""Lost for each question that lies between: 0.6, 0.5, 0.4, and never less than ``_FLOOR``."""
_FLOOR: Final = 0.1
_VAGUE: Final = 0.1
"""Lost where many kinds of answer fit the pronoun (it, they)."""

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


def guess_pronouns(reading: Reading, earlier: Sequence[Reading]) -> list[Guess]:
    """What the first pronoun of each sort points at among the earlier questions: the latest that fits, if any."""
    guesses: list[Guess] = []
    for index, word in enumerate(reading.lower):
        kinds = _KINDS.get(word, ())
        if kinds and _points_outside(reading, index):
            guesses += _resolve(word, kinds, earlier)
    return guesses


def _resolve(pronoun: str, kinds: tuple[Kind, ...], earlier: Sequence[Reading]) -> list[Guess]:
    fitting = [parent for parent, reading in enumerate(earlier) if reading.kind in kinds]
    if not fitting:
        return []
    between = len(earlier) - 1 - fitting[-1]
    confidence = _NEAREST - _DECAY * between - (_VAGUE if len(kinds) > 1 else 0.0)
    return [Guess(fitting[-1], round(max(confidence, _FLOOR), 2), f'"{pronoun}" may mean its answer')]


def _points_outside(reading: Reading, index: int) -> bool:
    word = reading.lower[index]
    if word == "then" and not _is_time(reading, index):
        return False
    if word == "there" and not BE_FORMS.isdisjoint(reading.lower[max(index - 1, 0) : index + 2]):
        return False  # "were there", "there is": says that something exists, not where
    if word == "it" and _is_empty(reading.lower, index):
        return False
    return not _has_antecedent(reading, index)


def _is_time(reading: Reading, index: int) -> bool:
    """Whether "then" means a time ("since then", "... then?") rather than an order ("did he then")."""
    before = reading.lower[index - 1] if index else ""
    return before in _TIME_LEADS or index == len(reading.lower) - 1


def _is_empty(lower: tuple[str, ...], index: int) -> bool:
    """Whether "it" stands for a clause or nothing: "is it true that", "does it take"."""
    after = lower[index + 1 :]
    if after[:1] and after[0] in _EMPTY_IT_VERBS:
        return True
    is_before = index > 0 and lower[index - 1] in BE_FORMS
    return is_before and any(word in _CLAUSE_WORDS for word in after)


def _has_antecedent(reading: Reading, index: int) -> bool:
    """Whether the question holds, before ``index``, something that the pronoun could stand for."""
    start = max(reading.start, 0)
    if any(word not in PREPOSITIONS for word in reading.lower[:start]):
        return True  # "After the war, what did he": whatever stands before the question word
    lead = _lead_end(reading, index)
    if index == lead:  # nothing but "In which town was" before it; but "Which town has its" means that town
        return reading.lower[index - 1] in _HAVE_FORMS
    if any(word[0].isupper() or word[0].isdigit() for word in reading.words[start + 1 : index]):
        return True
    kinds = _KINDS[reading.lower[index]]
    if kinds in (("place",), ("time",)):
        return any(fold_plural(word) in NOUNS_OF_KIND[kinds[0]] for word in reading.lower[start:index])
    return _has_noun_phrase(reading, lead, index)


def _lead_end(reading: Reading, index: int) -> int:
    """The index behind the question word, its nouns and its auxiliary; behind the question word without one."""
    start = max(reading.start, 0)
    auxiliaries = (place for place in range(start, index) if reading.lower[place] in AUXILIARIES)
    return next(auxiliaries, start) + 1


def _has_noun_phrase(reading: Reading, lead: int, index: int) -> bool:
    between = reading.lower[lead:index]
    auxiliary = reading.lower[lead - 1] if reading.lower[lead - 1] in AUXILIARIES else ""
    if auxiliary in BE_FORMS and between[-1] == "of" and DETERMINERS.isdisjoint(between[1:]):
        return False  # "What is the name of its": a thing is not its own name
    if DETERMINERS.difference(("many", "much")).intersection(between):
        return True
    # Behind an auxiliary stands the subject. Without one, the thing asked for is the subject, and an object ("Who
    # founded it?") is another thing than the subject.
    could_mean_the_subject = bool(auxiliary) or reading.lower[index] not in _OBJECTS
    if could_mean_the_subject and any(word not in FUNCTION_WORDS for word in between):
        return True
    # "Which town was in its": that town.
    return auxiliary in BE_FORMS | _HAVE_FORMS and bool(reading.asked) and lead > max(reading.start, 0) + 2
