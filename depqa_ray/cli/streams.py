"""Standard output and standard error that never end a command: a run of hours must not fail for its last line."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Final, TextIO

from typing_extensions import override

_STAND_INS: Final = str.maketrans(
    "\u2500\u2501\u2502\u2503\u2013\u2014\u2026\u2018\u2019\u201c\u201d",  # lines, dashes, an ellipsis, quotation marks
    "--||--~''\"\"",
)
"""One character for one, so that tables keep their columns. Any other character becomes a question mark."""

_HANDLER: Final = "depqa_ray.stand_in"


class CommandStream(io.TextIOBase):
    """A text stream that takes any text and never raises.

    - A character that the stream ``below`` cannot encode is replaced.
    - After the first failure all text is dropped. ``error`` is that failure, unless the reader left (``| head``).
    """

    def __init__(self, below: TextIO | None) -> None:
        super().__init__()
        self._below = below  # None: the process was started without this stream, or it has failed
        self.error: Exception | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute there
        """UTF-8: who writes here need not care what the stream below can encode."""
        return "utf-8"

    @override
    def writable(self) -> bool:
        return True

    @override
    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return self._below is not None and self._below.isatty()
        return False

    @override
    def fileno(self) -> int:
        if self._below is None:
            raise io.UnsupportedOperation("no file is behind this stream")
        return self._below.fileno()

    @override
    def write(self, text: str, /) -> int:
        with self._kept_going():
            if self._below is not None:
                encoding = self._below.encoding or "utf-8"
                self._below.write(text.encode(encoding, _HANDLER).decode(encoding))
        return len(text)

    @override
    def flush(self) -> None:
        with self._kept_going():
            if self._below is not None:
                self._below.flush()

    @contextmanager
    def _kept_going(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self.error = None if isinstance(error, ConnectionError) else error
            below, self._below = self._below, None
            if below is not None and any(below is standard for standard in (sys.__stdout__, sys.__stderr__)):
                _discard_rest(below)


@contextmanager
def command_streams() -> Iterator[CommandStream]:
    """Replace ``sys.stdout`` and ``sys.stderr`` by streams that never raise; yields the first.

    If standard output fails, says so on standard error, and ends with exit code 1 a command that ends by SystemExit.
    """
    _open_closed_descriptors()
    output, errors = CommandStream(sys.stdout), CommandStream(sys.stderr)
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            yield output
        except SystemExit as ended:
            output.flush()
            raise SystemExit(ended.code or int(output.error is not None)) from None
        finally:
            output.flush()
            if output.error is not None:
                print(f"depqa-ray: error: cannot write to standard output: {_reason(output.error)}", file=errors)
            errors.flush()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    shown = error.object[error.start : error.end].translate(_STAND_INS)
    return "".join(letter if letter.isascii() else "?" for letter in shown), error.end


codecs.register_error(_HANDLER, _stand_in)


def _discard_rest(stream: TextIO) -> None:
    """Let what a stream still holds vanish: the interpreter flushes it at exit and would report the failure again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _open_closed_descriptors() -> None:
    """Put the null device where a standard stream is closed (``>&-``).

    Otherwise the next file that is opened gets its number, and what a library prints ends up in that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number: this one
