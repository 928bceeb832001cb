"""Every prompt that the project asks a model, in one place.

All prompts about one passage start with the same system message and the same passage, to the character, and then
differ: an engine with a prefix cache computes each passage once.

- One question: ``Question: ...``
- One with context: ``Known: <earlier question> Answer: <its answer>`` lines, then ``Question: ...``
- Several: ``Q1: ...`` to ``Qn: ...``, answered as ``{"Q1": "...", ...}``
- Edges: the same, then the request for ``{"Q1": {}, "Q2": {"Q1": 0.9}}``

A reference to another question's answer (``answer_refs``) becomes that answer if the prompt shows it, the label of that
question if the prompt asks it too, and that question's text otherwise.

One question with its parents' answers and one with the whole history have the same form: strategies differ in what a
prompt shows and in nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from depqa_ray.core import UNKNOWN, Job, Passage, Prompt, PromptForm, Question, Step

PROMPT_VERSION: Final = "2"
"""Changes with any text below. Every run records it, since answers depend on it."""


@dataclass(frozen=True, slots=True)
class Templates:
    """The texts of prompts. A name in braces is filled in; ``system`` and ``edges`` are used as they are."""

    system: str
    edges: str
    passage: str
    known: str
    question: str
    listed: str
    example: str


TEMPLATES: Final = Templates(
    system=f'Answer from the passage with its shortest exact words, or "{UNKNOWN}". Reply with JSON only: '
    '{"answer": "..."}, or for several questions {"Q1": "...", "Q2": "..."}.',
    edges="Do not answer. For each question, name the questions whose answers it needs, with your confidence: "
    '{"Q1": {}, "Q2": {"Q1": 0.9}}',
    passage="Passage: {text}\n\n",
    known="Known: {question} Answer: {answer}\n",
    question="Question: {question}",
    listed="{label}: {question}",
    example="\n\nExample:\n{passage}{question}\n{answer}\n\n{questions}\n{answers}",
)
"""The texts of PROMPT_VERSION."""

SYSTEM: Final = TEMPLATES.system
"""The default system line."""

ANSWER_KEY: Final = "answer"
"""The key of the reply to a single question."""


def label(position: int) -> str:
    """The name of the question at ``position`` (from 0) in a prompt that lists several."""
    return f"Q{position + 1}"


def labels(count: int) -> tuple[str, ...]:
    """The names of ``count`` questions, which are the keys of the reply."""
    return tuple(map(label, range(count)))


def shared_part(passage: Passage) -> str:
    """The start of the user message in every prompt about the passage."""
    return TEMPLATES.passage.format(text=passage.text)


def known_part(context: Sequence[tuple[str, str]]) -> str:
    """The (question, answer) pairs that a question may build on."""
    return "".join(TEMPLATES.known.format(question=earlier, answer=answer or UNKNOWN) for earlier, answer in context)


def question_part(question: str, context: Sequence[tuple[str, str]] = ()) -> str:
    """One question after the (question, answer) pairs that it may build on."""
    return known_part(context) + TEMPLATES.question.format(question=question)


def batch_part(questions: Sequence[str]) -> str:
    """Several questions at once."""
    listed = (TEMPLATES.listed.format(label=label(at), question=text) for at, text in enumerate(questions))
    return "\n".join(listed)


def edges_part(questions: Sequence[str]) -> str:
    """The request for the dependencies between the questions."""
    return f"{batch_part(questions)}\n{TEMPLATES.edges}"


@lru_cache(maxsize=64)  # few passages are examples, and all prompts show them
def example_part(passage: Passage) -> str:
    """A passage as a worked example: its first question without parents alone, then all of its questions at once.

    Both have the form of a prompt, followed by the wanted reply, with the first gold answer.
    """
    children = {edge.child for edge in passage.gold_edges or ()}
    first = next(question for question in passage.questions if question.id not in children)
    golds = {label(position): question.answers[0] for position, question in enumerate(passage.questions)}
    questions = {question.id: question for question in passage.questions}
    stand_ins = _labels_of(list(questions))
    return TEMPLATES.example.format(
        passage=shared_part(passage),
        question=question_part(_filled(first, questions, {})),
        answer=_reply({ANSWER_KEY: first.answers[0]}),
        questions=batch_part([_filled(question, questions, stand_ins) for question in passage.questions]),
        answers=_reply(golds),
    )


def _reply(answers: Mapping[str, str]) -> str:
    return json.dumps(answers, ensure_ascii=False)


def system_message(line: str, shots: int, examples: Sequence[Passage], passage: Passage) -> str:
    """The system message of every prompt about ``passage``: the system line, then ``shots`` worked examples.

    ``examples`` are one more than ``shots``, with different texts: the last one replaces ``passage`` if it is among the
    others. So no prompt contains its own answers, and nearly all passages have the same message.
    """
    others = [example for example in examples if example.text != passage.text]
    return line + "".join(map(example_part, others[:shots]))


@dataclass(frozen=True, slots=True)
class PromptBuilder:
    """Builds the prompts of a run's steps, for the driver, which sends them, and the planner, which looks up replies.

    ``system_for`` gives the system message of all prompts about a passage. ``max_new_tokens`` is the room for one
    answer; a step that asks several questions gets that much for each.
    """

    system_for: Callable[[Passage], str]
    max_new_tokens: int

    def build(self, job: Job, step: Step, answers: Mapping[str, str]) -> Prompt:
        """The prompt of a step, given the answers (by question id) that it shows.

        Its id is the same at every attempt, since drawn tokens are seeded by it. Ids may hold any separator: JSON
        quotes them. Raises KeyError if a question or an answer that the step needs is missing.
        """
        passage, asks_one = job.passage, step.form == "single"
        questions = {question.id: question for question in passage.questions}
        stand_ins = {} if asks_one else _labels_of(step.questions)
        stand_ins |= {id_: answers[id_] or UNKNOWN for id_ in step.context}
        asked = [_filled(questions[id_], questions, stand_ins) for id_ in step.questions]
        context = [(_filled(questions[id_], questions, stand_ins), answers[id_]) for id_ in step.context]
        return Prompt(
            id=json.dumps([*job.key, step.id]),
            system=self.system_for(passage),
            passage_text=shared_part(passage),
            question_text=_question_text(step.form, asked, context),
            max_new_tokens=self.max_new_tokens * len(asked),
            context_chars=len(known_part(context)) if asks_one else 0,
            reply_keys=(ANSWER_KEY,) if asks_one else labels(len(asked)),
            form=step.form,
        )


def _question_text(form: PromptForm, asked: Sequence[str], context: Sequence[tuple[str, str]]) -> str:
    if form == "edges":
        return edges_part(asked)
    return batch_part(asked) if form == "batch" else question_part(asked[0], context)


def _labels_of(asked: Sequence[str]) -> dict[str, str]:
    """The stand-ins for the answers of questions (ids) that one prompt asks together."""
    return {id_: f"(the answer to {label(position)})" for position, id_ in enumerate(asked)}


def _filled(question: Question, questions: Mapping[str, Question], stand_ins: Mapping[str, str]) -> str:
    """The question's text with its references filled: by the stand-in for that question's answer, or else by that
    question's own text, itself filled.
    """
    fillings = {
        reference: stand_ins.get(source) or f"(the answer to: {_filled(questions[source], questions, stand_ins)})"
        for reference, source in question.answer_refs
    }
    return fill_refs(question.text, fillings)


def fill_refs(text: str, fillings: Mapping[str, str]) -> str:
    """The text with each reference replaced, in one pass: a filling is never searched for references.

    A reference that a digit follows (``#1`` in ``#10``) is another one.
    """
    if not fillings:
        return text
    longest_first = sorted(map(re.escape, fillings), key=len, reverse=True)
    return re.sub(f"(?:{'|'.join(longest_first)})(?![0-9])", lambda match: fillings[match[0]], text)


def reply_schema(prompt: Prompt) -> dict[str, Any]:
    """The JSON schema of the reply that the prompt asks for. An engine may constrain the model to it."""
    keys = prompt.reply_keys
    if prompt.form == "edges":
        # Any number would let a model go on with its decimals.
        confidence = {"enum": [step / 10 for step in range(11)]}
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
