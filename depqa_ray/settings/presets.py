"""Presets: the settings of published tables, and the published figures.

A preset replaces defaults: flags, environment variables and configuration files override it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

PresetName: TypeAlias = Literal["qwen3-4b-squad-1000x5"]


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """The published figures of a strategy: scores in [0, 1], tokens per passage."""

    em: float
    f1: float
    tokens: float


@dataclass(frozen=True, slots=True)
class Preset:
    """A protocol and its published figures.

    - ``settings``: all of the protocol that settings can express.
    - ``rows``: the figures by strategy, over ``passages`` passages with ``questions`` questions in all.
    - ``standard_error``: that of a score. ``source``: the publication.
    - ``departures``: sentences for the page; what this program does differently under any settings.
    """

    settings: Mapping[str, Any]
    rows: Mapping[str, PublishedRow]
    passages: int
    questions: int
    standard_error: float
    source: str
    departures: tuple[str, ...]


PRESETS: Final[Mapping[str, Preset]] = {
    "qwen3-4b-squad-1000x5": Preset(
        settings={
            "dataset": "squad",
            "split": "validation",
            "context_count": 1000,
            "min_questions": 5,
            "max_questions": 5,
            "seed": 42,
            "model_name": "Qwen/Qwen3-4B",
            "max_new_tokens": 128,
            "temperature": 0.0,
            "system_prompt_file": None,
            "shots": 0,
            "deps": "model",
            "no_dep_cache": True,
            "strategies": ("independent", "full_batch", "sequential_shuffled", "sequential_ordered"),
        },
        rows={
            "independent": PublishedRow(0.6362, 0.8003, 1296.5),
            "full_batch": PublishedRow(0.6770, 0.8377, 400.2),
            "sequential_shuffled": PublishedRow(0.6610, 0.8263, 1113.1),
            "sequential_ordered": PublishedRow(0.6688, 0.8312, 1444.0),
        },
        passages=1000,
        questions=5000,
        standard_error=0.0067,
        source="github.com/Fzkuji/parallel-agent, scripts/preliminary/exp2a_results.md",
        departures=(
            "The published scores hold an answer against the first gold answer alone, and so do the two columns on "
            "the right (the published F1 also counts a repeated word once); the measured EM and F1 are the official "
            "ones, over all gold answers.",
            "The published passages have exactly five questions; here five are drawn where there are more, and other "
            "passages come out of the same seed.",
            "The published prompts ask for plain text, and those with a history are chats whose turns are counted "
            "once; here each prompt is one message, asks for JSON, and counts in full.",
            "The published order is a list that the model was asked for; here it follows the edges.",
        ),
    ),
}
