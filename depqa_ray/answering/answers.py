"""From a model's text to answers, and from a step's end to the outcomes of its questions.

Models are asked for JSON and reply with something like it: in code fences, after thoughts, with words around it, cut
short, with a number or a list as a value, or no JSON at all. All of it is parsed; ``strict_json`` says whether the
reply was exactly what the prompt asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from depqa_ray.answering.json_objects import decode, json_objects, without_thinking
from depqa_ray.answering.prompts import ANSWER_KEY, labels
from depqa_ray.core import Outcome, OutcomeStatus, ReplyFault, Step

_EMPTY_THINKING: Final = re.compile(r"<think>\s*</think>")
_FENCE: Final = re.compile(r"```\w*$")
_DEEPEST: Final = 5
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """One answer. ``strict_json`` says that the whole text was the JSON that the prompt asks for."""

    answer: str
    strict_json: bool


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """A reply to a step: an outcome for each of its questions, none if it asked for edges, and what the reply lacks."""

    outcomes: tuple[Outcome, ...]
    fault: ReplyFault = ""


def parse_reply(step: Step, text: str) -> ParsedReply:
    """Parse the model's reply to a step. Never raises."""
    return ParsedReply(_parse_outcomes(step, text))


def _parse_outcomes(step: Step, text: str) -> tuple[Outcome, ...]:
    if step.form == "edges":
        return ()
    one = step.form == "single"
    parsed = [parse_answer(text)] if one else parse_batch(text, labels(len(step.questions))).values()
    return tuple(
        Outcome(question, "answered", answer.answer, answer.strict_json)
        for question, answer in zip(step.questions, parsed, strict=True)
    )


def unanswered(step: Step, status: OutcomeStatus, reason: str) -> tuple[Outcome, ...]:
    """The outcomes of a step that ended without a reply; none for a step that asks for edges."""
    return () if step.form == "edges" else tuple(Outcome(id_, status, reason=reason) for id_ in step.questions)


def parse_answer(text: str) -> ParsedAnswer:
    """The answer to a single question, asked for as ``{"answer": "..."}``.

    Without the key, an object's first value is the answer; without an object, the first line that is not blank. "" if
    there is neither, or only an unfinished thought. Never raises.
    """
    if strict := _strict(text, [ANSWER_KEY]):
        return ParsedAnswer(_text_of(strict[ANSWER_KEY]), True)
    text = without_thinking(text)
    objects = list(json_objects(text))
    value = _lookup(objects, ANSWER_KEY)
    if value is _ABSENT:
        value = next((next(iter(found.values())) for found in objects if found), _ABSENT)
    return ParsedAnswer(_first_line(text) if value is _ABSENT else _text_of(value), False)


def parse_batch(text: str, labels: Sequence[str]) -> dict[str, ParsedAnswer]:
    """The answers to several questions, asked for as ``{"Q1": "...", "Q2": "..."}``, for each of ``labels``.

    A label that the text does not answer has "". If it is answered twice, the first counts: models that run on tend to
    invent what follows. Never raises.
    """
    if strict := _strict(text, labels):
        return {label: ParsedAnswer(_text_of(strict[label]), True) for label in labels}
    objects = list(json_objects(without_thinking(text)))
    found = {label: _lookup(objects, label) for label in labels}
    return {label: ParsedAnswer("" if value is _ABSENT else _text_of(value), False) for label, value in found.items()}


def _strict(text: str, keys: Sequence[str]) -> dict[str, str] | None:
    """The text's object, if the text is one with exactly these keys and texts as values."""
    text = _EMPTY_THINKING.sub("", text.strip(), count=1) if text.lstrip().startswith("<think>") else text
    try:
        value = decode(text.strip())
    except ValueError:
        return None
    if not isinstance(value, dict) or value.keys() != set(keys):
        return None
    return value if all(type(answer) is str for answer in value.values()) else None


def _lookup(objects: Iterable[Mapping[str, Any]], key: str) -> Any:
    """The first value under the key, upper or lower case."""
    for found in objects:
        if key in found:
            return found[key]
        for name, value in found.items():
            if name.strip().lower() == key.lower():
                return value
    return _ABSENT


def _text_of(value: Any, depth: int = 0) -> str:
    """A JSON value as an answer: the first one of a list or an object."""
    if value is None or depth > _DEEPEST:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return _text_of(value[0], depth + 1) if value else ""
    # Half a surrogate pair, which JSON can spell, could not be written to any file.
    return str(value).encode(errors="replace").decode().strip()


def _first_line(text: str) -> str:
    try:
        return _text_of(decode(text.strip()))  # a bare JSON text, number or list
    except ValueError:
        lines = (line.strip() for line in text.splitlines())
        return _text_of(next((line for line in lines if line and not _FENCE.match(line)), ""))
