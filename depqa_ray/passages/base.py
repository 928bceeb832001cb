"""What becomes of input that cannot be used: it ends the run with one line, or it is set aside and the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from depqa_ray.errors import InputError

OnBadInput = Literal["fail", "skip"]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A piece of a data set that cannot be used.

    ``where`` is the file and the place in it (``dev.json: data[3].paragraphs[2].qas[0]``), ``what`` what is wrong,
    ``fix`` what to do about it. ``row`` is the piece itself, made of what JSON can hold.
    """

    where: str
    what: str
    fix: str
    row: Any


SetAside = Callable[[BadRow], None]


@dataclass(frozen=True, slots=True)
class BadInput:
    """What to do with bad rows: the first one fails (InputError), or each is handed to ``set_aside``.

    Raises ValueError where rows are to be skipped and nobody takes them: none is lost without a trace.
    """

    on_bad_input: OnBadInput = "fail"
    set_aside: SetAside | None = None

    def __post_init__(self) -> None:
        if self.on_bad_input == "skip" and self.set_aside is None:
            raise ValueError("on_bad_input='skip' needs a set_aside to hand the bad rows to")

    def reject(self, error: InputError, where: str, row: object) -> None:
        """Raise InputError, or set the row aside. ``error`` says what is wrong and how to mend it."""
        if self.on_bad_input == "fail" or self.set_aside is None:
            raise InputError(error.what, where, error.fix) from None
        self.set_aside(BadRow(where, error.what, error.fix, _json_able(row)))


def _json_able(row: object) -> Any:
    """The row as JSON reads it back; what JSON cannot hold (a Parquet date, say, or NaN) as its text."""
    return json.loads(json.dumps(row, default=str), parse_constant=str)
