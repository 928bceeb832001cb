"""A row of a data set before it is checked, and the report of a bad one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from depqa_ray.errors import InputError


@dataclass(frozen=True, slots=True)
class BadRow:
    """A piece of a data set that cannot be used.

    ``where`` is the file and the place in it (``dev.json: data[3].paragraphs[2].qas[0]``), ``what`` the problem,
    ``fix`` what to do about it. ``row`` is the piece itself, as plain JSON values.
    """

    where: str
    what: str
    fix: str
    row: Any


OnBadRow = Callable[[BadRow], None]
"""Takes each bad row. If it returns, reading goes on without the row; if it raises, reading ends."""

OnEmpty = Callable[[], None]
"""Called for each passage that is left out because it has no usable question."""


def nothing() -> None:
    """An OnEmpty that ignores it."""


def raise_bad_row(row: BadRow) -> None:
    """Raise InputError: the first bad row ends the reading."""
    raise InputError(row.what, row.where, row.fix) from None


@dataclass(frozen=True, slots=True)
class Row:
    """An unchecked piece of a data set (a question, a paragraph, a line), and its place.

    If it is not JSON, ``problem`` is the parser's message and ``value`` the text; otherwise ``problem`` is empty.
    """

    where: str
    value: object
    problem: str = ""

    def bad(self, error: InputError) -> BadRow:
        """The report of this row. Values that JSON cannot hold (a Parquet file's date, NaN) become text."""
        try:
            row = json.loads(json.dumps(self.value, default=str), parse_constant=str)
        except RecursionError:
            row = "nested too deep to be kept"
        return BadRow(self.where, error.what, error.fix, row)
