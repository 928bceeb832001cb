"""What `score` says besides the figures: which data they are of, and what counted as nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from depqa_ray.answering.scoring import SquadScore
from depqa_ray.report.text import counted

_SHOWN: Final = 3


def data_set_text(name: str, split: str, commit: str) -> str:
    """A data set with its split and commit, if it comes from the hub: only then there is a commit."""
    return f"{name}, split {split}, commit {commit}" if commit else name


def score_lines(scores: SquadScore, name: str, predictions: int) -> Iterator[str]:
    """The lines about the scores of ``predictions`` predictions on the data set ``name``."""
    yield f"Data set: {name}: {counted(scores.questions, 'question', 'questions')}"
    if missing := scores.missing:
        count = f"{len(missing)} of {counted(scores.questions, 'question', 'questions')}"
        yield f"{count} without a prediction will receive score 0: {_first(missing)}"
    if ignored := scores.ignored:
        count = f"{len(ignored)} of {counted(predictions, 'prediction', 'predictions')}"
        yield f"{count} ignored, being of no question of the data set: {_first(ignored)}"


def _first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
