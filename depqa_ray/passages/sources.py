"""From the name of a data set to its passages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from depqa_ray.core import Passage
from depqa_ray.errors import InputError
from depqa_ray.passages.base import BadInput, OnBadInput, SetAside
from depqa_ray.passages.hub import hub_rows
from depqa_ray.passages.musique import read_musique
from depqa_ray.passages.rows import json_lines, parquet_rows, read_rows
from depqa_ray.passages.squad import read_squad_file
from depqa_ray.passages.synthetic.embedded import embedded_file
from depqa_ray.settings.types import EMBEDDED

SQUAD: Final = "squad"
"""The name of the hub's data set."""

MUSIQUE: Final = "musique:"
"""What stands before the name of a file of MuSiQue-Ans: its lines do not have the hub's columns."""

_KNOWN: Final = (
    f"{SQUAD}, {EMBEDDED}, or the path of a .json (SQuAD schema), .jsonl or .parquet (hub's columns) file, "
    f"or {MUSIQUE}FILE"
)


def load_passages(
    dataset: str,
    *,
    split: str = "train",
    on_bad_input: OnBadInput = "fail",
    set_aside: SetAside | None = None,
) -> Iterator[Passage]:
    """A stream of a data set's passages with all their questions.

    ``dataset`` is ``squad`` (the hub's, of which ``split`` is taken), ``embedded`` (generated worlds that ship with the
    package), a file's path, or ``musique:`` and the path of a MuSiQue-Ans file. With ``on_bad_input="skip"`` each row
    that cannot be used goes to ``set_aside``.

    Raises InputError, here for a name that means nothing and later, from the iterator, for a row or a file that cannot
    be used; ValueError where rows are skipped and ``set_aside`` is missing.
    """
    bad = BadInput(on_bad_input, set_aside)
    if dataset == SQUAD:
        return read_rows(hub_rows(split), bad)
    if dataset == EMBEDDED:
        return read_squad_file(embedded_file(), bad)
    if dataset.startswith(MUSIQUE):
        return _read_musique(dataset.removeprefix(MUSIQUE), bad)
    return _read_file(Path(dataset), bad)


def _read_musique(name: str, bad: BadInput) -> Iterator[Passage]:
    if not name:
        raise InputError(f"'{MUSIQUE}' names no file", fix="write the path of a MuSiQue-Ans .jsonl file behind it")
    _require_readable(Path(name))
    return read_musique(Path(name), bad)


def _read_file(path: Path, bad: BadInput) -> Iterator[Passage]:
    suffix = path.suffix.lower()
    if suffix not in (".json", ".jsonl", ".parquet"):
        raise InputError("not a data set", str(path), f"give {_KNOWN}")
    _require_readable(path)
    if suffix == ".json":
        return read_squad_file(path, bad)
    return read_rows(json_lines(path) if suffix == ".jsonl" else parquet_rows(path), bad)


def _require_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot be read: {what}", str(path), f"give {_KNOWN}") from None
