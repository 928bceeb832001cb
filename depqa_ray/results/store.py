"""A run directory: what a run was, asked and got, written as it goes.

======================  ==============================================================================================
``manifest.json``       what the run was
``passages.jsonl``      one line a sampled passage
``outcomes.jsonl``      one line a step result; one the edges that a strategy goes by in a passage; one a passage that a
                        strategy is done with; one a resumption
``bad_rows.jsonl``      one line a row of the data set that was left out
``results.json``        the figures, written at the end; they can be made again from the lines above
======================  ==============================================================================================

Lines are appended by one driver, one at a time, and handed to the operating system before ``append`` returns: a driver
that dies leaves all lines but perhaps the last one whole. Reading is in ``reading.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from depqa_ray.core import StepResult
from depqa_ray.errors import StoreError
from depqa_ray.files import replace_file
from depqa_ray.passages.base import BadRow
from depqa_ray.results.codec import Record, object_line, to_line
from depqa_ray.results.manifest import Manifest, manifest_to_json
from depqa_ray.results.reading import (
    BAD_ROWS,
    MANIFEST,
    OUTCOMES,
    PASSAGES,
    RESUMED,
    read_manifest,
    read_records,
    read_session,
)
from depqa_ray.results.records import EdgeRecord, PassageRecord, PassageResult, RunRecords

RESULTS: Final = "results.json"

_FILE_OF: Final[dict[type, str]] = {
    PassageRecord: PASSAGES,
    EdgeRecord: OUTCOMES,
    StepResult: OUTCOMES,
    PassageResult: OUTCOMES,
    BadRow: BAD_ROWS,
}


class RunStore:
    """One run's directory, open for reading and for appending.

    ``session`` is how often the run was resumed. ``_files`` are the files appended to so far, by name; none is opened
    before its first line, so that reading a run never touches it.
    """

    def __init__(self, folder: Path, manifest: Manifest, session: int = 0) -> None:
        self.folder, self.manifest, self.session = folder, manifest, session
        self._files: dict[str, BinaryIO] = {}

    def __repr__(self) -> str:
        return f"RunStore({str(self.folder)!r}, session={self.session}, open={sorted(self._files)})"

    @classmethod
    def create(cls, folder: Path, manifest: Manifest) -> RunStore:
        """Begin a run in ``folder``, which is made where it is missing.

        Raises StoreError where the folder holds a run already or cannot be written.
        """
        with _reported(folder, "write"):
            folder.mkdir(parents=True, exist_ok=True)
            text = _pretty(manifest_to_json(manifest))
            try:
                # "x" makes one of two runs that start in the same folder lose, here and now.
                with (folder / MANIFEST).open("x", encoding="ascii") as file:
                    file.write(text)
            except FileExistsError:
                raise StoreError(f"{folder} already holds a run; give another --run-dir, or delete this one") from None
        return cls(folder, manifest)

    @classmethod
    def open(cls, folder: Path) -> RunStore:
        """Open a run that exists. Raises StoreError where the folder holds none that can be read."""
        return cls(folder, read_manifest(folder), read_session(folder))

    def resume(self) -> frozenset[tuple[str, str]]:
        """Go on with an interrupted run. The (strategy, passage id) pairs that are done are the answer.

        What was begun and not finished is asked again, from its beginning, and its earlier step results no longer
        count: their times belong to another clock.
        """
        finished = frozenset((item.strategy, item.passage_id) for item in self.read().finished)
        self.session += 1
        self._write(OUTCOMES, object_line({"kind": RESUMED, "session": self.session}))
        return finished

    def append(self, record: Record) -> None:
        """Write one record, so that it outlives this process. Raises StoreError where it cannot be written.

        A passage that is appended again keeps its place and its text.
        """
        if isinstance(record, PassageResult):
            record = replace(record, session=self.session)
        self._write(_FILE_OF[type(record)], to_line(record))

    def read(self) -> RunRecords:
        """All records of the run so far. Raises StoreError for a damaged file."""
        return read_records(self.folder, self.manifest)

    def write_results(self, text: str) -> Path:
        """Write ``results.json``, whole or not at all."""
        return self.write_file(RESULTS, text)

    def write_file(self, name: str, text: str) -> Path:
        """Write a file of the run directory, whole or not at all."""
        path = self.folder / name
        write_atomically(path, text)
        return path

    def close(self) -> None:
        """Hand everything to the disk. Closing twice is allowed."""
        files, self._files = self._files, {}
        with _reported(self.folder, "write"):
            for file in files.values():
                with file:
                    os.fsync(file.fileno())

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, name: str, line: str) -> None:
        with _reported(self.folder, "write"):
            if name not in self._files:
                self._files[name] = _open_for_append(self.folder / name)
            file = self._files[name]
            file.write(line.encode("ascii"))
            file.flush()


def write_atomically(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Write a file as :func:`~depqa_ray.files.replace_file` does. Raises StoreError."""
    with _reported(path, "write"):
        replace_file(path, content, durable=durable)


def _open_for_append(path: Path) -> BinaryIO:
    """Open a file of lines at its end, cutting off a last line that a crash tore, or the next would grow onto it."""
    file = path.open("a+b")
    size = file.seek(0, os.SEEK_END)
    file.seek(_end_of_last_line(file, size))
    file.truncate()
    return file


def _end_of_last_line(file: BinaryIO, size: int, block: int = 65_536) -> int:
    """The place behind the last line feed of the file; 0 where it has none."""
    end = size
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _pretty(data: object) -> str:
    return json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n"


@contextlib.contextmanager
def _reported(path: Path, verb: str) -> Iterator[None]:
    """Turn the operating system's refusal into one line for the user."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot {verb} {path}: {error.strerror or error}; give a folder that can be written"
        ) from error
