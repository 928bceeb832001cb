"""Loads the passages of a data set by its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from depqa_ray.core import Passage
from depqa_ray.errors import InputError
from depqa_ray.hub import OnProgress, Snapshot, split_revision
from depqa_ray.passages.base import OnBadRow, raise_bad_row
from depqa_ray.passages.musique import read_musique
from depqa_ray.passages.rows import fetch_split, hub_rows, json_lines, parquet_rows, read_rows
from depqa_ray.passages.squad import read_squad_file
from depqa_ray.passages.synthetic.export import EMBEDDED_FILE
from depqa_ray.settings.types import EMBEDDED

SQUAD: Final = "squad"
"""The name of the hub's data set."""

MUSIQUE: Final = "musique:"
"""The prefix of a MuSiQue-Ans file's name: its lines do not have the hub's columns."""

_KNOWN: Final = (
    f"{SQUAD}, {EMBEDDED}, or the path of a .json (SQuAD schema), .jsonl or .parquet (hub's columns) file, "
    f"or {MUSIQUE}FILE"
)


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
    dataset: str, *, split: str = "train", on_bad_row: OnBadRow = raise_bad_row, snapshot: Snapshot | None = None
) -> Iterator[Passage]:
    """Stream a data set's passages with all their questions.

    ``dataset`` is ``squad`` or ``squad@REVISION`` (the ``split`` of the hub's data set), ``embedded`` (generated worlds
    that ship with the package), a file's path, or ``musique:`` and the path of a MuSiQue-Ans file. ``on_bad_row`` takes
    each row that cannot be used; by default, the first one raises InputError. ``snapshot`` is what fetch_dataset
    returned, if it was called: the hub is not asked again.

    Raises InputError at once if the name is unknown, a file cannot be opened or the hub's data set cannot be fetched,
    and while iterating if a file cannot be used as a whole.
    """
    snapshot = snapshot or fetch_dataset(dataset, split)
    if snapshot:
        return read_rows(hub_rows(split, snapshot), on_bad_row)
    if dataset == EMBEDDED:
        return read_squad_file(EMBEDDED_FILE, on_bad_row)
    if dataset.startswith(MUSIQUE):
        return _read_musique(dataset.removeprefix(MUSIQUE), on_bad_row)
    return _read_file(Path(dataset), on_bad_row)


def _read_musique(name: str, on_bad_row: OnBadRow) -> Iterator[Passage]:
    if not name:
        raise InputError(f"'{MUSIQUE}' names no file", fix="write the path of a MuSiQue-Ans .jsonl file behind it")
    _require_readable(Path(name))
    return read_musique(Path(name), on_bad_row)


def _read_file(path: Path, on_bad_row: OnBadRow) -> Iterator[Passage]:
    suffix = path.suffix.lower()
    if suffix not in (".json", ".jsonl", ".parquet"):
        raise InputError("not a data set", str(path), f"give {_KNOWN}")
    _require_readable(path)
    if suffix == ".json":
        return read_squad_file(path, on_bad_row)
    return read_rows(json_lines(path) if suffix == ".jsonl" else parquet_rows(path), on_bad_row)


def _require_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:  # ValueError: not a possible file name
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot be read: {what}", str(path), f"give {_KNOWN}") from None
