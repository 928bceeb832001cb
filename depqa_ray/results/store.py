"""The run directory: a run's description, passages and outcomes, written as it goes.

==================  ==================================================================================================
``manifest.json``   the run's settings, versions and devices; written again for each new kind of replica
``passages.jsonl``  a line for each sampled passage, and one with what the sample left out
``outcomes.jsonl``  a line for each step result, for the edges of each strategy in each passage, for each passage that a
                    strategy finished, and for each resumption
``bad_rows.jsonl``  a line for each row of the data set that was left out
``results.json``    the figures, written at the end; they can be computed again from the lines above
==================  ==================================================================================================

One driver appends the lines, one at a time, and hands each to the operating system before ``append`` returns: if the
driver dies, only the last line can be torn. Meanwhile it holds a lock on the folder, which ends with the driver.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydantic import ValidationError

from depqa_ray.core import JobKey, StepResult
from depqa_ray.engines.base import EngineInfo
from depqa_ray.errors import StoreError
from depqa_ray.files import replace_file, try_lock
from depqa_ray.passages.base import BadRow
from depqa_ray.passages.sampling import SampleCounts
from depqa_ray.results.manifest import Manifest, manifest_from_json, manifest_text
from depqa_ray.results.records import (
    EdgeRecord,
    PassageRecord,
    PassageResult,
    Record,
    Resumption,
    RunRecords,
    SampleRecord,
    from_object,
    job_key,
    to_line,
)
from depqa_ray.results.replicas import describe_replica
from depqa_ray.scheduling.events import Role

MANIFEST: Final = "manifest.json"
PASSAGES: Final = "passages.jsonl"
OUTCOMES: Final = "outcomes.jsonl"
BAD_ROWS: Final = "bad_rows.jsonl"
RESULTS: Final = "results.json"

RUNS: Final = Path("runs")
"""The folder of the run directories that have no other place."""

_FILE_OF: Final[dict[type, str]] = {
    PassageRecord: PASSAGES,
    SampleRecord: PASSAGES,
    BadRow: BAD_ROWS,
}
"""The file of each record's type, if it is not OUTCOMES."""

_RESUMED: Final = b'{"kind":"resumed",'
_UNFIT: Final = (KeyError, TypeError, ValueError, AttributeError)


class RunStore:
    """One run's directory, open for reading and for appending.

    - ``session`` counts the run's resumptions.
    - ``_files`` are open for appending, by name. A file is opened with its first line: reading a run never touches it.
    - ``_lock`` is an open descriptor of the folder, locked while this process writes.
    """

    def __init__(self, folder: Path, manifest: Manifest, session: int = 0, lock: int | None = None) -> None:
        self.folder, self.manifest, self.session = folder, manifest, session
        self._files: dict[str, BinaryIO] = {}
        self._replicas = set(manifest.replicas)
        self._lock = lock

    def __repr__(self) -> str:
        return f"RunStore({str(self.folder)!r}, session={self.session}, open={sorted(self._files)})"

    @classmethod
    def create(cls, folder: Path, manifest: Manifest) -> RunStore:
        """Start a run in ``folder``, which is created if it is missing.

        A run that ended before its first passage is replaced. Raises StoreError if the folder holds any other run, is
        in use, or cannot be written.
        """
        text = manifest_text(manifest)
        with _os_errors("write", folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(folder)
            try:
                _refuse_lines(folder)
                for name in (OUTCOMES, BAD_ROWS, RESULTS):
                    (folder / name).unlink(missing_ok=True)
                replace_file(folder / MANIFEST, text, durable=True)
            except BaseException:
                os.close(lock)
                raise
        return cls(folder, manifest, lock=lock)

    @classmethod
    def open(cls, folder: Path) -> RunStore:
        """Open an existing run. Raises StoreError if the folder holds none that can be read."""
        return cls(folder, _read_manifest(folder), _count_resumptions(folder / OUTCOMES))

    def resume(self) -> frozenset[JobKey]:
        """Continue an interrupted run in a new session; returns the jobs that are finished.

        Unfinished passages are asked again from the start. Their earlier step results no longer count, since their
        times belong to another clock. Raises StoreError if another process writes the run.
        """
        if self._lock is None:
            with _os_errors("write", self.folder):
                self._lock = _locked(self.folder)
        finished = frozenset(map(job_key, self.read().finished))
        self.session += 1
        self.append(Resumption(self.session))
        return finished

    def append(self, record: Record) -> None:
        """Write one record, so that it outlives this process. Raises StoreError if it cannot be written.

        A passage that a resumed run asks again is appended again, and keeps its place.
        """
        if isinstance(record, PassageResult):
            record = replace(record, session=self.session)
        name = _FILE_OF.get(type(record), OUTCOMES)
        line = to_line(record).encode("ascii")
        with _os_errors("write", self.folder):
            if name not in self._files:
                self._files[name] = _open_for_append(self.folder / name)
            file = self._files[name]
            file.write(line)
            file.flush()

    def add_replica(self, role: Role, info: EngineInfo) -> None:
        """Add a replica to the manifest, unless an equal one is there. Raises StoreError if it cannot be written."""
        replica = describe_replica(role, info)
        if replica in self._replicas:
            return
        self._replicas.add(replica)
        self.manifest = replace(self.manifest, replicas=(*self.manifest.replicas, replica))
        write_atomically(self.folder / MANIFEST, manifest_text(self.manifest))

    def read(self) -> RunRecords:
        """All records of the run so far; a torn last line is left out, with a warning.

        Raises StoreError for a damaged file, and for two passages of one id.
        """
        warnings: list[str] = []
        passages, sample = _read_passages(self.folder / PASSAGES, warnings)
        steps, finished, edges = _read_outcomes(self.folder / OUTCOMES, warnings)
        bad_rows = tuple(row for _, row in _records(self.folder / BAD_ROWS, warnings, BadRow))
        return RunRecords(self.manifest, passages, steps, finished, bad_rows, edges, tuple(warnings), sample)

    def write_results(self, text: str) -> None:
        """Write ``results.json``, whole or not at all."""
        write_atomically(self.folder / RESULTS, text)

    def discard_if_empty(self) -> None:
        """Remove the manifest, and the folder if nothing else is in it, unless it has records."""
        if not any((self.folder / name).exists() for name in (PASSAGES, OUTCOMES, BAD_ROWS)):
            with contextlib.suppress(OSError):
                (self.folder / MANIFEST).unlink()
                self.folder.rmdir()

    def close(self) -> None:
        """Flush all files to the disk and close them. Closing twice is allowed."""
        files, self._files = self._files, {}
        lock, self._lock = self._lock, None
        with _os_errors("write", self.folder), contextlib.ExitStack() as stack:
            if lock is not None:
                stack.callback(os.close, lock)
            for file in files.values():
                stack.enter_context(file)
            for file in files.values():
                os.fsync(file.fileno())

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def check_free(folder: Path) -> None:
    """Raise StoreError if no run can start in the folder, since it holds one or another process writes one there."""
    _refuse_lines(folder)
    with _os_errors("write", folder), contextlib.suppress(FileNotFoundError):
        os.close(_locked(folder))


def write_atomically(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Write a file as :func:`~depqa_ray.files.replace_file` does. Raises StoreError."""
    with _os_errors("write", path):
        replace_file(path, content, durable=durable)


def _refuse_lines(folder: Path) -> None:
    """Raise StoreError if the folder holds passages or outcomes."""
    with _os_errors("read", folder):
        for name in (PASSAGES, OUTCOMES):
            with contextlib.suppress(FileNotFoundError):
                if (folder / name).stat().st_size:
                    raise StoreError(f"{folder} already holds a run; give another --run-dir, or delete this one")


def _locked(folder: Path) -> int:
    """An open descriptor of the folder, locked: so no file is left behind. Raises StoreError, OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    if not try_lock(descriptor):
        os.close(descriptor)
        raise StoreError(f"{folder} is in use by another run; give another --run-dir, or wait for that run")
    return descriptor


def _open_for_append(path: Path) -> BinaryIO:
    """Open a file of lines at its end. A torn last line is cut off, or the next line would continue it."""
    file = path.open("a+b")
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(_end_of_last_line(file, size))
        file.truncate()
    except BaseException:
        file.close()
        raise
    return file


def _end_of_last_line(file: BinaryIO, size: int, block: int = 65_536) -> int:
    """The offset behind the file's last line feed; 0 if it has none."""
    end = size
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    with _os_errors("read", path):
        try:
            return manifest_from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            raise StoreError(f"{folder} holds no run; give the folder of one (it has a {MANIFEST})") from None
        except _UNFIT as error:
            raise StoreError(f"{path} is not the manifest of a run ({_problem(error)}); start a new run") from error


def _count_resumptions(path: Path) -> int:
    """Count the resumptions without parsing: a run may have millions of lines, and few are of this kind."""
    with _os_errors("read", path):
        try:
            with path.open("rb") as file:
                return sum(line.startswith(_RESUMED) for line in file)
        except FileNotFoundError:
            return 0


def _read_passages(path: Path, warnings: list[str]) -> tuple[tuple[PassageRecord, ...], SampleCounts | None]:
    """The passages, each once, and what the sample left out. Raises StoreError if two of them have the same id."""
    passages: dict[str, PassageRecord] = {}
    sample: SampleCounts | None = None
    for where, record in _records(path, warnings, PassageRecord, SampleRecord):
        if isinstance(record, SampleRecord):
            sample = record.counts
        elif passages.setdefault(record.passage.id, record) != record:  # a resumed run repeats passages
            raise StoreError(
                f"{where}: a second passage has the id {record.passage.id!r}, and their answers cannot be told apart; "
                "run again, which gives each passage its own id"
            )
    return tuple(passages.values()), sample


def _read_outcomes(
    path: Path, warnings: list[str]
) -> tuple[tuple[StepResult, ...], tuple[PassageResult, ...], tuple[EdgeRecord, ...]]:
    """Step results, finished passages and edges. A resumption discards those of unfinished passages."""
    steps: dict[JobKey, list[StepResult]] = {}
    finished: dict[JobKey, PassageResult] = {}
    edges: dict[JobKey, EdgeRecord] = {}
    seen: set[tuple[JobKey, str]] = set()
    for where, record in _records(path, warnings, StepResult, PassageResult, EdgeRecord, Resumption):
        if isinstance(record, Resumption):
            steps = {key: found for key, found in steps.items() if key in finished}
            edges = {key: found for key, found in edges.items() if key in finished}
            seen = {(key, question) for key, question in seen if key in finished}
            continue
        key = job_key(record)
        if isinstance(record, PassageResult):
            finished[key] = record
        elif isinstance(record, EdgeRecord):
            edges[key] = record
        else:
            _check_new(where, record, seen)
            steps.setdefault(key, []).append(record)
    return tuple(step for found in steps.values() for step in found), tuple(finished.values()), tuple(edges.values())


def _check_new(where: str, step: StepResult, seen: set[tuple[JobKey, str]]) -> None:
    """Raise StoreError for a question's second outcome: two drivers wrote here, and no figure can be trusted."""
    for outcome in step.outcomes:
        if (job_key(step), outcome.question_id) in seen:
            raise StoreError(
                f"{where}: question {outcome.question_id} has a second outcome for {step.strategy}; "
                "run again in a new folder, with one driver"
            )
        seen.add((job_key(step), outcome.question_id))


def _records(path: Path, warnings: list[str], *types: type[Any]) -> Iterator[tuple[str, Any]]:
    """The records of a file, each with its place; none if the file is missing: its first line creates it."""
    with _os_errors("read", path):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    warnings.append(f"{path.name}: the last line is torn (the run was interrupted) and was left out")
                    return
                where = f"{path}, line {number}"
                yield where, _record(raw, where, types)


def _record(raw: bytes, where: str, types: tuple[type[Any], ...]) -> Any:
    """The record of a line. Raises StoreError if it is none, or not of one of the ``types`` that its file holds."""
    try:
        data = json.loads(raw)
    except ValueError:
        raise StoreError(f"{where}: not JSON; the file was damaged after it was written") from None
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        raise StoreError(f"{where}: not a record")
    try:
        record = from_object(data)
    except _UNFIT as error:
        raise StoreError(f"{where}: not a record of this version of depqa-ray ({_problem(error)})") from error
    if not isinstance(record, types):
        raise StoreError(f"{where}: a {data['kind']!r} record does not belong here")
    return record


def _problem(error: Exception) -> str:
    """The problem with a line or a manifest, in one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


@contextlib.contextmanager
def _os_errors(verb: str, path: Path) -> Iterator[None]:
    """Turn the operating system's refusal into one line for the user."""
    try:
        yield
    except OSError as error:
        fix = "; give a folder that can be written" if verb == "write" else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "; make room there, then depqa-ray report makes the outputs of a run again"
        raise StoreError(f"cannot {verb} {path}: {error.strerror or error}{fix}") from error
