"""Averages and counts over the entries of the results. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from depqa_ray.results.schema import AnswerEntry, Counts, Scores


def mean_scores(answers: Sequence[AnswerEntry]) -> Scores:
    """The mean of each score over the answers; 0 for no answers."""
    return Scores(
        strict=mean(answer.strict for answer in answers),
        lenient=mean(answer.lenient for answer in answers),
        em=mean(answer.em for answer in answers),
        f1=mean(answer.f1 for answer in answers),
    )


def count_statuses(answers: Sequence[AnswerEntry]) -> Counts:
    """How many of the answers ended in which way."""
    status = [answer.status for answer in answers]
    return Counts(
        questions=len(status),
        answered=status.count("answered"),
        failed=status.count("failed"),
        skipped=status.count("skipped"),
    )


def mean(values: Iterable[float]) -> float:
    """The mean; 0 for no values, since JSON has no NaN and a table of nothing should say nothing."""
    found = list(values)
    return math.fsum(found) / len(found) if found else 0.0
