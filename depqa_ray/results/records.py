"""The records that a run stores, and the lines that hold them.

A line is one JSON object in ASCII, its ``kind`` first. A text with a lone surrogate, a NUL or a line separator comes
back as it was, and no character of a text ends the line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter

from depqa_ray.core import JobKey, Passage, StepResult
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.passages.base import BadRow
from depqa_ray.passages.sampling import SampleCounts
from depqa_ray.results.manifest import Manifest


@dataclass(frozen=True, slots=True)
class PassageRecord:
    """A passage that the run asks about."""

    passage: Passage


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """What the run took of its data set, and left out; written once the last passage is admitted."""

    counts: SampleCounts


@dataclass(frozen=True, slots=True)
class EdgeRecord:
    """The edges that a strategy follows in a passage, and where they come from."""

    strategy: str
    passage_id: str
    chosen: EdgeSelection


@dataclass(frozen=True, slots=True)
class PassageResult:
    """A strategy finished a passage: each of its questions has an outcome.

    ``admitted`` and ``finished`` are seconds since the driver started. Each ``session`` of a resumed run has a driver
    and a clock of its own; the store numbers sessions from 0.
    """

    strategy: str
    passage_id: str
    admitted: float
    finished: float
    session: int = 0


@dataclass(frozen=True, slots=True)
class Resumption:
    """The run was resumed. Records of passages that were unfinished by then no longer count."""

    session: int


@dataclass(frozen=True, slots=True)
class RunRecords:
    """All records of a run, as read from its folder.

    - ``passages`` have distinct ids, in the order of their first admission.
    - ``steps`` hold at most one outcome of a question for each strategy.
    - ``edges`` and ``finished`` hold at most one record for each strategy and passage.
    - ``warnings`` are one-line sentences for the user about damage that reading tolerated.
    - ``sample`` is None if the run ended before its last passage, or an earlier version wrote it.
    """

    manifest: Manifest
    passages: tuple[PassageRecord, ...] = ()
    steps: tuple[StepResult, ...] = ()
    finished: tuple[PassageResult, ...] = ()
    bad_rows: tuple[BadRow, ...] = ()
    edges: tuple[EdgeRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    sample: SampleCounts | None = None


Record = PassageRecord | SampleRecord | EdgeRecord | StepResult | PassageResult | Resumption | BadRow

_KINDS: Final[Mapping[str, Any]] = {
    "passage": PassageRecord,
    "sample": SampleRecord,
    "dag": EdgeRecord,
    "step": StepResult,
    "finished": PassageResult,
    "resumed": Resumption,
    "bad_row": BadRow,
}
_KIND_OF: Final = {type_: kind for kind, type_ in _KINDS.items()}

_STORED_NAMES: Final = {"answer_refs": "slots", "selected": "kept"}
"""Fields with another name in files, which keep the names of the layout's first version."""

# pydantic takes a config for a union, not for a dataclass, hence "| None"; no line is ever null.
_ADAPTERS: Final[Mapping[str, TypeAdapter[Any]]] = {
    kind: TypeAdapter(
        type_ | None,
        config=ConfigDict(extra="forbid", alias_generator=lambda name: _STORED_NAMES.get(name, name)),
    )
    for kind, type_ in _KINDS.items()
}


def job_key(record: StepResult | PassageResult | EdgeRecord) -> JobKey:
    """The strategy and the passage of a record."""
    return record.strategy, record.passage_id


def steps_by_job(steps: Iterable[StepResult]) -> dict[JobKey, list[StepResult]]:
    """The step results of each job, in their order."""
    found: dict[JobKey, list[StepResult]] = {}
    for step in steps:
        found.setdefault(job_key(step), []).append(step)
    return found


def to_line(record: Record) -> str:
    """The record as one line with its line feed. Raises ValueError if a number is not finite."""
    kind = _KIND_OF[type(record)]
    fields = _ADAPTERS[kind].dump_python(record, by_alias=True, warnings=False)
    return json.dumps({"kind": kind, **fields}, separators=(",", ":"), allow_nan=False) + "\n"


def from_object(data: Mapping[str, Any]) -> Record:
    """The record of a line's JSON object. Raises KeyError for an unknown kind, ValueError for unfit fields."""
    fields = dict(data)
    record: Record = _ADAPTERS[fields.pop("kind")].validate_python(fields)
    return record
