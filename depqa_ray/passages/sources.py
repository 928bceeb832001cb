"""Loads the passages of a data set by its name."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from depqa_ray.core import Passage
from depqa_ray.errors import InputError
from depqa_ray.files import GZIP, packing_of, read_json, unread_packing
from depqa_ray.hub import OnProgress, Snapshot, split_revision
from depqa_ray.passages.base import OnBadRow, OnEmpty, nothing, raise_bad_row
from depqa_ray.passages.musique import read_musique
from depqa_ray.passages.rows import (
    fetch_split,
    has_json_lines,
    hub_rows,
    json_rows,
    listed_rows,
    parquet_rows,
    read_rows,
)
from depqa_ray.passages.squad import SQUAD_FIX, read_squad
from depqa_ray.passages.synthetic.export import EMBEDDED_FILE
from depqa_ray.settings.types import EMBEDDED, user_path

SQUAD: Final = "squad"
"""The name of the hub's data set."""

MUSIQUE: Final = "musique:"
"""The prefix of a MuSiQue-Ans file's name: its lines do not have the hub's columns."""

_KNOWN: Final = (
    f"{SQUAD}, {EMBEDDED}, or the path of a .json (SQuAD schema), .jsonl or .parquet (hub's columns) file, "
    f"or {MUSIQUE}FILE"
)
_JSON: Final = frozenset({".json", ".jsonl"})
_PARQUET: Final = ".parquet"
_GZ: Final = ".gz"
_UNREAD: Final = frozenset({".zst", ".bz2", ".xz", ".zip"})
"""Compressed in a way that is not read: said in the words for that."""


def fetch_dataset(dataset: str, split: str, on_progress: OnProgress | None = None) -> Snapshot | None:
    """Fetch a data set of the hub, ``squad`` or ``squad@REVISION``; None for every other one.

    Raises InputError if there is no such revision or split, or if it cannot be fetched.
    """
    revision = _revision_on_hub(dataset)
    return fetch_split(split, revision, on_progress) if revision else None


def _revision_on_hub(dataset: str) -> str:
    """The revision of the hub's data set that a name means; "" if it means another one."""
    name, revision = split_revision(dataset)
    is_ours = name == SQUAD and not dataset.endswith("@") and not (revision and os.path.exists(dataset))  # noqa: PTH110  # Path.exists can raise
    return (revision or "main") if is_ours else ""


def load_passages(
    dataset: str,
    *,
    split: str = "train",
    on_bad_row: OnBadRow = raise_bad_row,
    on_empty: OnEmpty = nothing,
    snapshot: Snapshot | None = None,
) -> Iterator[Passage]:
    """Stream a data set's passages with all their questions. Their ids are unique.

    ``dataset`` is ``squad`` or ``squad@REVISION`` (the ``split`` of the hub's data set), ``embedded`` (generated worlds
    that ship with the package), a file's path, or ``musique:`` and the path of a MuSiQue-Ans file. JSON may be
    compressed with gzip. ``on_bad_row`` takes each row that cannot be used; by default, the first one raises
    InputError. ``on_empty`` is called for each passage without a usable question. ``snapshot`` is what fetch_dataset
    returned, if it was called: the hub is not asked again.

    Raises InputError at once if the name is unknown, a file cannot be opened or the hub's data set cannot be fetched,
    and while iterating if a file cannot be used as a whole.
    """
    snapshot = snapshot or fetch_dataset(dataset, split)
    if snapshot:
        return read_rows(hub_rows(split, snapshot), on_bad_row, on_empty)
    if dataset == EMBEDDED:
        return _read_json(EMBEDDED_FILE, on_bad_row, on_empty)
    if dataset.startswith(MUSIQUE):
        return _read_musique(dataset.removeprefix(MUSIQUE), on_bad_row)
    return _read_file(user_path(dataset), on_bad_row, on_empty)


def _read_musique(name: str, on_bad_row: OnBadRow) -> Iterator[Passage]:
    if not name:
        raise InputError(f"'{MUSIQUE}' names no file", fix="write the path of a MuSiQue-Ans .jsonl file behind it")
    _require_readable(user_path(name), _JSON)
    return read_musique(user_path(name), on_bad_row)


def _read_file(path: Path, on_bad_row: OnBadRow, on_empty: OnEmpty) -> Iterator[Passage]:
    outer = path.suffix.lower()
    suffix = Path(path.stem).suffix.lower() if outer == _GZ or outer in _UNREAD else outer
    if suffix not in {*_JSON, _PARQUET} and outer not in _UNREAD:
        raise InputError("not a data set", str(path), f"give {_KNOWN}")
    _require_readable(path, {suffix})
    if suffix == _PARQUET:
        return read_rows(parquet_rows(path), on_bad_row, on_empty)
    if suffix == ".jsonl":
        return read_rows(json_rows(path), on_bad_row, on_empty)
    return _read_json(path, on_bad_row, on_empty)


def _read_json(path: Path, on_bad_row: OnBadRow, on_empty: OnEmpty) -> Iterator[Passage]:
    """A SQuAD file, or rows: JSON lines, a list, or a single one. Memory grows with all but JSON lines."""
    if has_json_lines(path, SQUAD_FIX):
        yield from read_rows(json_rows(path), on_bad_row, on_empty)
        return
    value = read_json(path, SQUAD_FIX)
    if isinstance(value, dict) and "context" in value and "data" not in value:
        value = [value]
    if isinstance(value, list) and value:
        yield from read_rows(partial(listed_rows, value, path), on_bad_row, on_empty)
    else:
        yield from read_squad(value, path, on_bad_row, on_empty)


def _require_readable(path: Path, suffixes: Collection[str]) -> None:
    """Raise InputError if a file cannot be opened, or is compressed in a way that is not read."""
    try:
        with path.open("rb") as file:
            packing = packing_of(file.read(8))
    except (OSError, ValueError) as error:  # ValueError: not a possible file name
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot be read: {what}", str(path), f"give {_KNOWN}") from None
    if packing and not (packing == GZIP and _JSON.issuperset(suffixes)):
        raise unread_packing(packing, str(path))
