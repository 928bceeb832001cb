"""A run directory read back: lines to records, with what a crash may leave behind tolerated and said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from depqa_ray.core import StepResult
from depqa_ray.errors import StoreError
from depqa_ray.passages.base import BadRow
from depqa_ray.results.codec import Record, from_object, object_line
from depqa_ray.results.manifest import Manifest, manifest_from_json
from depqa_ray.results.records import EdgeRecord, PassageRecord, PassageResult, RunRecords

MANIFEST: Final = "manifest.json"
PASSAGES: Final = "passages.jsonl"
OUTCOMES: Final = "outcomes.jsonl"
BAD_ROWS: Final = "bad_rows.jsonl"
RESUMED: Final = "resumed"

_RESUMED_LINE: Final = object_line({"kind": RESUMED}).rstrip("}\n").encode("ascii")


class _Line(NamedTuple):
    where: str
    data: dict[str, Any]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the run in ``folder``. Raises StoreError where there is none that can be read."""
    path = folder / MANIFEST
    try:
        return manifest_from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise StoreError(f"{folder} holds no run; give the folder of one (it has a {MANIFEST})") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is not the manifest of a run ({error}); start the run anew") from error


def read_session(folder: Path) -> int:
    """How often the run was resumed. Lines are not parsed, since a run may have millions and few are of this kind."""
    try:
        with (folder / OUTCOMES).open("rb") as file:
            return sum(line.startswith(_RESUMED_LINE) for line in file)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"cannot read {folder / OUTCOMES}: {error.strerror or error}") from error


def read_records(folder: Path, manifest: Manifest) -> RunRecords:
    """All records of the run. Raises StoreError for a damaged file; a torn last line is left out, with a remark."""
    remarks: list[str] = []
    passages = _passages(_lines(folder / PASSAGES, remarks))
    steps, finished, dags = _outcomes(_lines(folder / OUTCOMES, remarks))
    bad_rows = [_record(line, BadRow) for line in _lines(folder / BAD_ROWS, remarks)]
    return RunRecords(manifest, passages, steps, finished, tuple(bad_rows), dags, tuple(remarks))


def _passages(lines: Iterator[_Line]) -> tuple[PassageRecord, ...]:
    """Passages in the order of their first line."""
    found: dict[str, PassageRecord] = {}
    for line in lines:
        record = _record(line, PassageRecord)
        found.setdefault(record.passage.id, record)
    return tuple(found.values())


def _outcomes(
    lines: Iterator[_Line],
) -> tuple[tuple[StepResult, ...], tuple[PassageResult, ...], tuple[EdgeRecord, ...]]:
    """Step results, finished passages and edges; a resumption discards those of what was not finished by then."""
    steps: dict[tuple[str, str], list[StepResult]] = {}
    finished: dict[tuple[str, str], PassageResult] = {}
    dags: dict[tuple[str, str], EdgeRecord] = {}
    seen: set[tuple[str, str, str]] = set()
    for line in lines:
        if line.data["kind"] == RESUMED:
            steps = {key: found for key, found in steps.items() if key in finished}
            dags = {key: found for key, found in dags.items() if key in finished}
            seen = {key for key in seen if key[:2] in finished}
            continue
        record = _record(line, StepResult, PassageResult, EdgeRecord)
        key = (record.strategy, record.passage_id)
        if isinstance(record, PassageResult):
            finished[key] = record
        elif isinstance(record, EdgeRecord):
            dags[key] = record
        else:
            _check_new(line, record, seen)
            steps.setdefault(key, []).append(record)
    return tuple(step for found in steps.values() for step in found), tuple(finished.values()), tuple(dags.values())


def _check_new(line: _Line, step: StepResult, seen: set[tuple[str, str, str]]) -> None:
    """A question ends once; two outcomes mean that two drivers wrote here, and no figure could be trusted."""
    for outcome in step.outcomes:
        key = (step.strategy, step.passage_id, outcome.question_id)
        if key in seen:
            raise StoreError(
                f"{line.where}: question {outcome.question_id} has a second outcome for {step.strategy}; "
                "run again in a new folder, with one driver"
            )
        seen.add(key)


def _record(line: _Line, *kinds: type[Any]) -> Any:
    """The record of a line. Raises StoreError where it is none, or of no kind that belongs into its file."""
    try:
        record: Record = from_object(line.data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{line.where}: not a record of this version of depqa-ray ({error})") from error
    if not isinstance(record, kinds):
        raise StoreError(f"{line.where}: a {line.data['kind']!r} record does not belong here")
    return record


def _lines(path: Path, remarks: list[str]) -> Iterator[_Line]:
    """The JSON objects of a file of lines; none where it is missing: files are made with their first line."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    remarks.append(f"{path.name}: the last line is torn (the run was interrupted) and was left out")
                    return
                yield _Line(f"{path}, line {number}", _object(raw, f"{path}, line {number}"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error


def _object(raw: bytes, where: str) -> dict[str, Any]:
    try:
        data = json.loads(raw)
    except ValueError:
        raise StoreError(f"{where}: not JSON; the file was damaged after it was written") from None
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        raise StoreError(f"{where}: not a record")
    return data
