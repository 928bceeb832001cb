"""A row of a data set before it is checked, and what is known of one that cannot be used."""

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
"""Receives each bad row. If it returns, reading goes on without the row; if it raises, reading ends."""


def raise_bad_row(row: BadRow) -> None:
    """Raise the row's InputError: the first bad row ends the reading."""
    raise InputError(row.what, row.where, row.fix) from None


@dataclass(frozen=True, slots=True)
class Row:
    """A piece of a data set as its file has it, unchecked, and its place.

    ``problem`` is empty unless the piece is not JSON: then it is the parser's complaint and ``value`` the text.
    """

    where: str
    value: object
    problem: str = ""

    def bad(self, error: InputError) -> BadRow:
        """This row, rejected for the reason that ``error`` gives.

        What JSON cannot hold (a date of a Parquet file, NaN) becomes its text.
        """
        row = json.loads(json.dumps(self.value, default=str), parse_constant=str)
        return BadRow(self.where, error.what, error.fix, row)
