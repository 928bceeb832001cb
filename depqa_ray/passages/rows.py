"""One question a row, in the hub's columns: id, title, context, question, answers {text, answer_start}.

Columns ``is_impossible`` and ``depends_on`` mean the same as in the official schema. Rows of one passage need not be
adjacent, so the source is read twice: the first time counts each passage's rows, and the second yields a passage with
its last row. Memory holds the unfinished passages, not the file.
"""

from __future__ import annotations

import glob
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from pydantic import StrictStr, TypeAdapter
from typing_extensions import TypedDict

from depqa_ray.core import Passage
from depqa_ray.errors import InputError
from depqa_ray.files import open_json, read_json
from depqa_ray.hub import HubUnreachableError, NothingWantedError, OnProgress, Repository, Snapshot, fetch
from depqa_ray.passages.assembly import Group, assemble, states_dependencies
from depqa_ray.passages.base import OnBadRow, OnEmpty, Row, nothing
from depqa_ray.passages.schema import Text, read_or_reject, read_row

RowSource = Callable[[], Generator[Row, None, None]]
"""Yields all rows from the start, and closes its file when closed; called twice."""

HUB_ID: Final = "rajpurkar/squad"
"""SQuAD v1.1 on the Hugging Face hub."""

_FILES: Final = "plain_text/{split}-*.parquet"
_SPLIT: Final = re.compile(r"plain_text/(\w+)-\d+-of-\d+\.parquet")

_FIX: Final = "give a JSON lines file, or one JSON list, in UTF-8"
_ROWS_AT_ONCE: Final = 1000


class _Columns(TypedDict):
    title: StrictStr
    context: Text


_COLUMNS: Final = TypeAdapter(_Columns)


def read_rows(source: RowSource, on_bad_row: OnBadRow, on_empty: OnEmpty = nothing) -> Iterator[Passage]:
    """Stream the passages of a source, each as soon as its last row is read."""
    left: Counter[bytes] = Counter()
    has_gold = False
    for row in source():
        has_gold = has_gold or states_dependencies(row.value)
        with suppress(InputError):
            left[_digest(read_row(row, _COLUMNS, "a row"))] += 1
    with closing(_groups(source, left, on_bad_row)) as groups:
        yield from assemble(groups, has_gold, on_bad_row, on_empty)


def _groups(source: RowSource, left: Counter[bytes], on_bad_row: OnBadRow) -> Generator[Group, None, None]:
    """Each passage's rows once they are complete; ``left`` counts the rows still to come."""
    unfinished: dict[bytes, Group] = {}
    with closing(source()) as rows:
        for row in rows:
            columns = read_or_reject(row, _COLUMNS, "a row", on_bad_row)
            if columns is None:
                continue
            key = _digest(columns)
            unfinished.setdefault(key, Group(columns["title"], columns["context"], [])).rows.append(row)
            left[key] -= 1
            if not left[key]:
                del left[key]
                yield unfinished.pop(key)


def _digest(columns: _Columns) -> bytes:
    """16 bytes that identify a passage, to save memory."""
    # A title may hold half a surrogate pair, or a NUL: its length marks its end.
    passage = f"{len(columns['title'])} {columns['title']}{columns['context']}"
    return hashlib.blake2b(passage.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def json_rows(path: Path) -> RowSource:
    """The rows of a JSON lines file without its blank lines, or those of one JSON list.

    Iterating raises InputError if the file cannot be read. Memory grows with a list, not with lines.
    """
    return lambda: _rows_of(path)


def _rows_of(path: Path) -> Generator[Row, None, None]:
    if _holds_list(path):
        yield from listed_rows(read_json(path, _FIX), path)
        return
    with open_json(path, _FIX) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _parse(line, f"{path}: row {number}")


def listed_rows(values: Iterable[object], path: Path) -> Generator[Row, None, None]:
    """The rows of a list that a file holds."""
    for number, value in enumerate(values, 1):
        yield Row(f"{path}: row {number}", value)


def has_json_lines(path: Path, fix: str) -> bool:
    """Whether a file's first line is an object of its own, no SQuAD file, and another line follows.

    Raises InputError if the file cannot be read, with ``fix`` if it is not UTF-8.
    """
    first, more = _first_line(path, fix)
    value = _parse(first, "").value if more else None
    return isinstance(value, dict) and "data" not in value


def _holds_list(path: Path) -> bool:
    """Whether a file holds one JSON list: its first line begins one, and is no row among others."""
    first, more = _first_line(path, _FIX)
    return first.lstrip().startswith("[") and not (more and not _parse(first, "").problem)


def _first_line(path: Path, fix: str) -> tuple[str, bool]:
    """The first line of a file that is not blank, and whether another one follows."""
    with open_json(path, fix) as file:
        lines = (line for line in file if line.strip())
        return next(lines, ""), next(lines, None) is not None


def _parse(line: str, where: str) -> Row:
    try:
        return Row(where, json.loads(line))
    except json.JSONDecodeError as error:
        return Row(where, line, f"{error.msg} (column {error.colno})")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested too deep
        return Row(where, line, str(error))


def parquet_rows(path: Path) -> RowSource:
    """The rows of a Parquet file, streamed. Iterating raises InputError if it cannot be read."""
    return _parquet([path], str(path))


def _parquet(paths: Sequence[Path], where: str) -> RowSource:
    """The rows of the files of one table; ``where`` names the table in their places."""

    def rows() -> Generator[Row, None, None]:
        with closing(_values(paths)) as values:
            for number, value in enumerate(values, 1):
                yield Row(f"{where}: row {number}", value)

    return rows


def _values(paths: Sequence[Path]) -> Generator[object, None, None]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    for path in paths:
        try:
            with ParquetFile(path) as table:
                for batch in table.iter_batches(_ROWS_AT_ONCE):
                    yield from batch.to_pylist()
        except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:  # overflow: a date far off
            what = f"not a Parquet file that can be read: {' '.join(str(error).split())}"
            raise InputError(what, str(path), "give a Parquet file with the columns of rajpurkar/squad") from None


def fetch_split(split: str, revision: str, on_progress: OnProgress | None = None) -> Snapshot:
    """Fetch the files of a split of SQuAD. Raises InputError if it does not exist or cannot be fetched."""
    repository = Repository("dataset", HUB_ID, revision)
    try:
        return fetch(repository, [_FILES.format(split=glob.escape(split))], on_progress)
    except NothingWantedError as error:
        splits = sorted({found[1] for name in error.names if (found := _SPLIT.fullmatch(name))})
        what = f"it has no split '{split}', but {', '.join(splits) or 'none'}"
        raise InputError(what, str(repository), "choose another --split") from None
    except HubUnreachableError as error:
        fix = "give a local file with --dataset PATH or use --dataset embedded"
        raise InputError(error.what, error.where, fix) from None


def hub_rows(split: str, snapshot: Snapshot) -> RowSource:
    """The rows of a split of SQuAD that was fetched."""
    files = sorted(snapshot.folder.glob(_FILES.format(split=glob.escape(split))))
    return _parquet(files, f"{HUB_ID} ({split})")
