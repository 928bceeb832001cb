"""How a reply ended and what it lacks, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from depqa_ray.core import StepResult
from depqa_ray.report.text import ABSENT
from depqa_ray.results.schema import AnswerEntry

_ENDINGS: Final[Mapping[str, str]] = {
    "json": "JSON closed",
    "eos": "end token",
    "stop": "stop text",
    "length": "cut off",
    "refused": "prompt refused",
}
_FAULTS: Final[Mapping[str, str]] = {
    "empty": "empty reply",
    "thoughts_only": "only thoughts",
    "no_json": "no JSON asked for",
}


def ending_text(step: StepResult | AnswerEntry) -> str:
    """What ended the reply, then what it lacks; a dash if there was no reply, or the run did not record it."""
    return _joined(_ENDINGS.get(step.finish_reason), _FAULTS.get(step.reply_fault)) or ABSENT


def notable_ending(step: StepResult | AnswerEntry) -> str:
    """As :func:`ending_text`, but empty for a reply that ended by itself and lacks nothing."""
    ending = _ENDINGS[step.finish_reason] if step.finish_reason in ("length", "refused") else None
    return _joined(ending, _FAULTS.get(step.reply_fault))


def _joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)
