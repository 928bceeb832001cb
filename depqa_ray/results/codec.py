"""Records to JSON objects and back, exactly.

Lines are ASCII: a text with a lone surrogate, a NUL or a line separator survives, and no character of a text can end a
line of the file. Each line says its ``kind``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, get_args

from depqa_ray.core import Edge, Outcome, Passage, Question, StepResult
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.passages.base import BadRow
from depqa_ray.results.records import EdgeRecord, PassageRecord, PassageResult
from depqa_ray.settings.types import DependencySource

Record = PassageRecord | EdgeRecord | StepResult | PassageResult | BadRow

_KINDS: Final[dict[type, str]] = {
    PassageRecord: "passage",
    EdgeRecord: "dag",
    StepResult: "step",
    PassageResult: "finished",
    BadRow: "bad_row",
}


def to_line(record: Record) -> str:
    """The record as one line of ASCII with its line feed. Raises ValueError for a time that is not finite."""
    data = asdict(record)
    if isinstance(record, PassageRecord):
        for question in data["passage"]["questions"]:
            question["slots"] = question.pop("answer_refs")
    if isinstance(record, EdgeRecord):
        data["chosen"]["kept"] = data["chosen"].pop("selected")
    return object_line({"kind": _KINDS[type(record)], **data})


def object_line(data: Mapping[str, Any]) -> str:
    """A JSON object as one line of ASCII with its line feed."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n"


def from_object(data: Mapping[str, Any]) -> Record:
    """The record that ``to_line`` wrote. Raises KeyError, TypeError or ValueError where it is none."""
    fields = dict(data)
    return _READERS[fields.pop("kind")](fields)


def _passage_record(fields: dict[str, Any]) -> PassageRecord:
    return PassageRecord(_passage(dict(fields["passage"])))


def _dag_record(fields: dict[str, Any]) -> EdgeRecord:
    chosen = dict(fields.pop("chosen"))
    proposed, kept = _edges(chosen.pop("proposed")), _edges(chosen.pop("kept"))
    record = EdgeRecord(chosen=EdgeSelection(proposed=proposed, selected=kept, **chosen), **fields)
    if record.chosen.source not in get_args(DependencySource) or not isinstance(record.chosen.fallback, str):
        raise ValueError("the edges come from nowhere")
    return record


def _passage(fields: dict[str, Any]) -> Passage:
    gold = fields.pop("gold_edges")
    questions = tuple(map(_question, fields.pop("questions")))
    return Passage(questions=questions, gold_edges=None if gold is None else _edges(gold), **fields)


def _question(item: dict[str, Any]) -> Question:
    slots = tuple((placeholder, source) for placeholder, source in item["slots"])
    return Question(item["id"], item["text"], tuple(item["answers"]), slots, item["final"])


def _edges(items: list[dict[str, Any]]) -> tuple[Edge, ...]:
    return tuple(Edge(**item) for item in items)


def _step(fields: dict[str, Any]) -> StepResult:
    outcomes = tuple(Outcome(**item) for item in fields.pop("outcomes"))
    return StepResult(outcomes=outcomes, **fields)


_READERS: Final[dict[str, Callable[[dict[str, Any]], Record]]] = {
    "passage": _passage_record,
    "dag": _dag_record,
    "step": _step,
    "finished": lambda fields: PassageResult(**fields),
    "bad_row": lambda fields: BadRow(**fields),
}
