"""English words: splitting, folding to the singular, and word lists for the classes that the heuristic needs."""

from __future__ import annotations

import re
from typing import Final

_WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")


def listed(words: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(words.split())


ARTICLES: Final = listed("a an the")
PREPOSITIONS: Final = listed(
    "about above across after against along among around as at before behind below beside besides between beyond by "
    "despite during for from in inside into like near of off on onto out outside over past per since than through "
    "throughout to toward towards under until up upon via with within without"
)
AUXILIARIES: Final = listed(
    "am are be been being can cannot could did didn't do does doesn't don't had has have is isn't may might must shall "
    "should was wasn't were weren't will would"
)
BE_FORMS: Final = listed("am are be been being is was were")
PRONOUNS: Final = listed(
    "he her hers herself him himself his i it its itself me my one our she their theirs them themselves they us we you "
    "your"
)
QUESTION_WORDS: Final = listed("how what when where which who whom whose why")
DEMONSTRATIVES: Final = listed("that these this those")
QUANTIFIERS: Final = listed(
    "all another any both each either every few many more most much neither no none other others same several some such"
)
DETERMINERS: Final = ARTICLES | DEMONSTRATIVES | QUANTIFIERS
_OTHER_FUNCTION_WORDS: Final = listed(
    "according also although and because but called considered did else ever if just known later named not only or so "
    "still then there though thus too very what's where's while who's yet"
)
FUNCTION_WORDS: Final = DETERMINERS | PREPOSITIONS | AUXILIARIES | PRONOUNS | QUESTION_WORDS | _OTHER_FUNCTION_WORDS
"""Words without content of their own."""

PLAIN_VERBS: Final = listed(
    "became began bought broke brought built came chose drew fell felt flew fought gave goes got grew held kept knew "
    "led left lost made meant met paid ran rose said sang sat saw sent sold spoke spent stood take takes taught "
    "thought threw told took went won wore wrote"
)
"""Verbs without a verb's ending; they end a noun phrase."""

_SINGULAR_ENDINGS: Final = ("ss", "us", "is")
_IRREGULAR: Final = {
    "men": "man",
    "women": "woman",
    "people": "person",
    "children": "child",
    "series": "series",
    "species": "species",
}


def split_words(text: str) -> tuple[str, ...]:
    """The words of a text as written, without the punctuation around them."""
    return tuple(_WORD.findall(text))


def fold_plural(word: str) -> str:
    """A lower-case noun without its plural ending: towns -> town, companies -> company, boxes -> box.

    It may cut too much ("has"), but it treats every occurrence of a word alike.
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    word = re.sub(r"['\u2019]s?$", "", word)
    if len(word) < 4 or not word.endswith("s") or word.endswith(_SINGULAR_ENDINGS):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zes")) else word[:-1]


def is_plural(word: str) -> bool:
    """Whether a lower-case noun looks like a plural."""
    return fold_plural(word) != word


def key_words(text: str) -> frozenset[str]:
    """The content words of a text: lower case, folded to the singular, function words left out."""
    lower = (word.lower() for word in split_words(text))
    return frozenset(fold_plural(word) for word in lower if word not in FUNCTION_WORDS)
