"""Scores of answers: the official SQuAD v1.1 metric, exactly, and a stricter and a looser one.

All compare normalised texts: lower case, without ASCII punctuation, without the articles a, an and the, and with single
spaces. The order matters: punctuation goes first, so "a-the" becomes the word "athe", which is no article.

A corner case of the official script: a gold answer that normalises to nothing ("The") equals any answer that does
("a"), but its F1 is 0, since no word is shared. MuSiQue's script for final answers differs only there: F1 is 1.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from depqa_ray.core import UNKNOWN, Passage
from depqa_ray.errors import InputError

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """The text as the metric compares it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """1.0 if the answer equals one of the gold answers, else 0.0. Raises ValueError without any."""
    normalized = normalize_answer(answer)
    return max(float(normalized == normalize_answer(gold)) for gold in golds)


def f1(answer: str, golds: Sequence[str]) -> float:
    """The best F1 over the gold answers, in [0, 1], of their words as multisets. Raises ValueError without any."""
    words = Counter(normalize_answer(answer).split())
    return max(_f1(words, Counter(normalize_answer(gold).split())) for gold in golds)


def strict(answer: str, strict_json: bool, golds: Sequence[str]) -> float:
    """1.0 if the reply was the JSON that the prompt asks for, and its answer is an exact match; else 0.0."""
    return exact_match(answer, golds) if strict_json else 0.0


def lenient(answer: str, golds: Sequence[str]) -> float:
    """1.0 if the answer contains a gold answer as a run of words, else 0.0.

    An answer that a gold answer contains does not count. Only an answer that normalises to nothing contains a gold
    answer that does.
    """
    normalized = normalize_answer(answer)
    return max(float(_contains(normalized, normalize_answer(gold))) for gold in golds)


def stated_answer(answer: str, golds: Sequence[str]) -> str:
    """The answer that null or a blank text stands for: that there is none, which unanswerable questions expect."""
    return UNKNOWN if not answer.strip() and set(golds) == {UNKNOWN} else answer


@dataclass(frozen=True, slots=True)
class SquadScore:
    """Means over all questions, in percent, not rounded.

    ``missing`` are the questions without a prediction, which score 0; ``ignored`` the predictions without a question.
    """

    exact_match: float
    f1: float
    questions: int
    missing: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def score_predictions(predictions: Mapping[str, str], passages: Iterable[Passage]) -> SquadScore:
    """Score an official prediction file (question id to answer) over all questions of the passages.

    This is the v1.1 script. It has no unanswerable questions: here they expect ``"unknown"``, and a blank text, the
    v2.0 script's form of no answer, is read as that. Three differences from the v2.0 script remain: a missing
    prediction scores 0 and is not left out; gold answers that normalise to nothing are kept; and if an unanswerable
    question's prediction contains "unknown" among other words, its F1 is not 0.

    Raises InputError without any question.
    """
    exact = total_f1 = 0.0
    count = 0
    missing: list[str] = []
    ignored = dict.fromkeys(predictions)
    for question in (question for passage in passages for question in passage.questions):
        count += 1
        ignored.pop(question.id, None)
        if question.id not in predictions:
            missing.append(question.id)
            continue
        answer = stated_answer(predictions[question.id], question.answers)
        exact += exact_match(answer, question.answers)
        total_f1 += f1(answer, question.answers)
    if not count:
        raise InputError("there is no question to score", fix="give a data set with questions")
    return SquadScore(100.0 * exact / count, 100.0 * total_f1 / count, count, tuple(missing), tuple(ignored))


def _f1(answer: Counter[str], gold: Counter[str]) -> float:
    shared = (answer & gold).total()
    if not shared:
        return 0.0
    precision, recall = shared / answer.total(), shared / gold.total()
    return 2 * precision * recall / (precision + recall)


def _contains(answer: str, gold: str) -> bool:
    # Both have single spaces between words and none around them, so spaces mark the ends of words.
    return f" {gold} " in f" {answer} " if gold else not answer
