"""Every prompt that the project asks a model, in one place.

All prompts about one passage begin with the same system line and the same passage, to the character, and then differ:
an engine that keeps the key-value cache of a common beginning reads each passage once.

================  =================================================================================
the own part      what it holds
================  =================================================================================
one question      ``Question: ...``
with context      ``Known: <earlier question> Answer: <its answer>`` lines, then ``Question: ...``
several           ``Q1: ...`` to ``Qn: ...``, answered as ``{"Q1": "...", ...}``
edges             the same, then the request for ``{"Q1": {}, "Q2": {"Q1": 0.9}}``
================  =================================================================================

One question with its parents' answers and one question with the whole history are the same form with other lines, so
that strategies differ in what they know and in nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from depqa_ray.models import UNKNOWN, Passage, Prompt, Step

PROMPT_VERSION: Final = "2"
"""Changes whenever any text below does; recorded with every run, since answers depend on it."""

SYSTEM: Final = (
    f'Answer from the passage with its shortest exact words, or "{UNKNOWN}". Reply with JSON only: '
    '{"answer": "..."}, or for several questions {"Q1": "...", "Q2": "..."}.'
)

_EDGES_REQUEST: Final = (
    "Do not answer. For each question, name the questions whose answers it needs, with your confidence: "
    '{"Q1": {}, "Q2": {"Q1": 0.9}}'
)

_LABELS: Final = re.compile(r"^(Q\d+): ", re.MULTILINE)


def label(position: int) -> str:
    """The name of the question at ``position`` (from 0) in a prompt that lists several."""
    return f"Q{position + 1}"


def shared_part(passage: Passage) -> str:
    """What the user message begins with in every prompt about the passage."""
    return f"Passage: {passage.text}\n\n"


def known_part(context: Sequence[tuple[str, str]]) -> str:
    """The (question, answer) pairs that a question may build on."""
    return "".join(f"Known: {earlier} Answer: {answer or UNKNOWN}\n" for earlier, answer in context)


def question_part(question: str, context: Sequence[tuple[str, str]] = ()) -> str:
    """One question after the (question, answer) pairs that it may build on."""
    return f"{known_part(context)}Question: {question}"


def batch_part(questions: Sequence[str]) -> str:
    """Several questions at once."""
    return "\n".join(f"{label(position)}: {text}" for position, text in enumerate(questions))


def edges_part(questions: Sequence[str]) -> str:
    """The request for the dependencies between the questions."""
    return f"{batch_part(questions)}\n{_EDGES_REQUEST}"


def step_prompt(
    prompt_id: str, passage: Passage, step: Step, answers: Mapping[str, str], max_new_tokens: int
) -> Prompt:
    """The prompt of a plan's step, given the answers (by question id) that it shows.

    ``max_new_tokens`` is the room for one answer; a step that asks several questions gets that much for each.
    Raises KeyError where a question or an answer that the step needs is missing.
    """
    texts = {question.id: question.text for question in passage.questions}
    asked = [texts[question_id] for question_id in step.questions]
    known = 0
    if step.form == "edges":
        own = edges_part(asked)
    elif step.form == "batch":
        own = batch_part(asked)
    else:
        context = [(texts[id_], answers[id_]) for id_ in step.context]
        own, known = question_part(asked[0], context), len(known_part(context))
    return Prompt(prompt_id, SYSTEM, shared_part(passage), own, max_new_tokens * len(asked), known)


def reply_keys(own: str) -> list[str]:
    """The keys of the answers in the reply that a prompt with this own part asks for."""
    return _LABELS.findall(own) or ["answer"]


def reply_schema(own: str) -> dict[str, Any]:
    """The JSON schema of the reply that a prompt with this own part asks for. An engine may hold the model to it."""
    keys = reply_keys(own)
    if own.endswith(_EDGES_REQUEST):
        confidence = {"type": "number"}
        parents = {key: dict.fromkeys((other for other in keys if other != key), confidence) for key in keys}
        return _object_schema({key: _object_schema(parents[key], required=False) for key in keys})
    return _object_schema({key: {"type": "string"} for key in keys})


def _object_schema(properties: dict[str, Any], required: bool = True) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required else [],
        "additionalProperties": False,
    }
