"""From a model's text to answers, and from a step's end to the outcomes of its questions.

Models are asked for JSON and reply with something like it. Only exactly that JSON is strict. Otherwise the text is read
without its thoughts (:mod:`.thoughts`), for one question (:mod:`.single`) or several (:mod:`.batch`):

- an object with the keys asked, under any of their names (:mod:`.reply_keys`), among other words, broken or cut. If
  several have a key, the one that begins first counts, since models that run on invent what follows;
- values without such keys, and plain text (:mod:`.plain_text`). These have the fault "no_json".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from depqa_ray.answering.batch import batch_answers
from depqa_ray.answering.dependencies import stated_edges
from depqa_ray.answering.json_values import decode
from depqa_ray.answering.prompts import ANSWER_KEY, labels
from depqa_ray.answering.single import single_answer
from depqa_ray.answering.thoughts import without_thoughts
from depqa_ray.answering.values import text_of
from depqa_ray.core import Outcome, OutcomeStatus, ReplyFault, Step

_EMPTY_THINKING: Final = re.compile(r"<think>\s*</think>")


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
    """Parse the model's reply to a step. Never raises.

    The fault is "no_json" if no JSON names the single answer, every question of several, or any question's parents.
    """
    shown = without_thoughts(text)
    if step.form == "edges":
        return ParsedReply((), _fault(text, shown, stated_edges(shown, len(step.questions)) is not None))
    if step.form == "single":
        answer, named = _single(text, shown)
        answers = [answer]
    else:
        by_label, named = _batch(text, shown, labels(len(step.questions)))
        answers = list(by_label.values())
    outcomes = [
        Outcome(question, "answered", parsed.answer, parsed.strict_json)
        for question, parsed in zip(step.questions, answers, strict=True)
    ]
    return ParsedReply(tuple(outcomes), _fault(text, shown, named))


def _fault(text: str, shown: str, has_json: bool) -> ReplyFault:
    if has_json:
        return ""
    if not text.strip():
        return "empty"
    return "no_json" if shown.strip() else "thoughts_only"


def unanswered(step: Step, status: OutcomeStatus, reason: str) -> tuple[Outcome, ...]:
    """The outcomes of a step that ended without a reply; none for a step that asks for edges."""
    return () if step.form == "edges" else tuple(Outcome(id_, status, reason=reason) for id_ in step.questions)


def parse_answer(text: str) -> ParsedAnswer:
    """The answer to a single question, asked for as ``{"answer": "..."}``; "" if there is none. Never raises."""
    return _single(text, without_thoughts(text))[0]


def parse_batch(text: str, labels: Sequence[str]) -> dict[str, ParsedAnswer]:
    """The answers to several questions, asked for as ``{"Q1": "...", "Q2": "..."}``, for each of the ``labels``.

    These are ``Q1`` to ``Qn``, in order. A label that the text does not answer has "". Never raises.
    """
    return _batch(text, without_thoughts(text), labels)[0]


def _single(text: str, shown: str) -> tuple[ParsedAnswer, bool]:
    """The answer, and whether JSON has it under its key."""
    if strict := _strict(text, [ANSWER_KEY]):
        return ParsedAnswer(text_of(strict[ANSWER_KEY]), True), True
    answer, named = single_answer(shown)
    return ParsedAnswer(answer, False), named


def _batch(text: str, shown: str, labels: Sequence[str]) -> tuple[dict[str, ParsedAnswer], bool]:
    """The answers, and whether JSON names all of them."""
    if strict := _strict(text, labels):
        return {label: ParsedAnswer(text_of(strict[label]), True) for label in labels}, True
    found, named = batch_answers(shown, len(labels))
    return {label: ParsedAnswer(found.get(number, ""), False) for number, label in enumerate(labels, 1)}, named


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
