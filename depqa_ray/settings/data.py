"""Settings of the data: which passages are sampled, and how many of their questions are asked."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from depqa_ray.settings.section import Section, setting
from depqa_ray.settings.types import Count, CountOrZero


class DataSettings(Section):
    """Which passages are sampled."""

    dataset: str = setting(
        "squad",
        "squad (rajpurkar/squad on the hub), embedded (ships with the package), a SQuAD file (JSON, JSON lines or "
        "Parquet), or musique:FILE (MuSiQue-Ans JSON lines)",
    )
    split: str = setting("train", "split of the hub's data set")
    context_count: CountOrZero = setting(1, "sample this many passages; 0 = all")
    min_questions: Count = setting(3, "skip passages with fewer questions")
    max_questions: Count = setting(5, "ask at most this many questions of a passage")
    seed: int = setting(
        13,
        "seed of every random draw: passages and their questions, worked examples, the order of sequential_shuffled, "
        "tokens with --temperature, and bootstrap resamples",
    )
    on_bad_input: Literal["fail", "skip"] = setting(
        "fail", "on a bad row: fail ends the run; skip goes on, and stores and counts the row in the run directory"
    )

    @model_validator(mode="after")
    def _question_range(self) -> DataSettings:
        check_question_range(self.min_questions, self.max_questions)
        return self


def check_question_range(least: int, most: int) -> None:
    """Raise ValueError if no passage can have that many questions."""
    if most < least:
        raise ValueError(f"--max-questions ({most}) is below --min-questions ({least})")
