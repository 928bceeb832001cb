"""Answers in the official SQuAD prediction format: one JSON object of question id to answer for each strategy."""

from __future__ import annotations

import json
import re
from pathlib import Path

from depqa_ray.answering.scoring import normalize_answer
from depqa_ray.core import UNKNOWN
from depqa_ray.results.entries import scored_answer
from depqa_ray.results.schema import AnswerEntry, RunResults
from depqa_ray.results.store import write_atomically


def predictions(results: RunResults, strategy: str) -> dict[str, str]:
    """The strategy's answers by question id, over the passages that it finished.

    A failed or skipped question is missing, and so is an unanswerable one whose reply was empty or cut: the official
    script counts it 0, as this project does, but an empty answer would be right. "unknown", null or a blank text as the
    answer to such a question becomes the v2.0 format's ``""``.
    """
    official = ((answer.id, _official(answer)) for answer in results.answers_of(strategy))
    return {id_: text for id_, text in official if text is not None}


def write_predictions(results: RunResults, folder: Path) -> None:
    """Write ``predictions-<strategy>.json`` for each strategy into ``folder``. Raises StoreError."""
    for strategy in results.strategies:
        path = folder / f"predictions-{re.sub(r'[^A-Za-z0-9_-]', '-', strategy)}.json"
        write_atomically(path, json.dumps(predictions(results, strategy), indent=1) + "\n")


def _official(answer: AnswerEntry) -> str | None:
    """The answer in the official file; None if the file leaves it out."""
    if answer.status != "answered":
        return None
    if set(answer.gold) != {UNKNOWN}:
        return answer.answer
    scored = scored_answer(answer.answer, answer.gold, answer)
    return "" if normalize_answer(scored) == UNKNOWN else scored or None
