"""Numbers, and texts of models and data sets, in the form in which they are shown.

Nothing is escaped here: templates do that for HTML, ``rich.text.Text`` for the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

ABSENT: Final = "—"
"""Shown for a figure that does not exist."""

_PICTURES: Final = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_VISIBLE: Final = _PICTURES | dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000)], 0xFFFD)
_OVERRIDES: Final = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)


def visible(text: str) -> str:
    """The text with control characters made visible: a terminal shows an escape sequence and does not obey it.

    Line feeds and tabs stay. Lone surrogates become U+FFFD.
    """
    return text.translate(_VISIBLE)


def one_line(text: str) -> str:
    """The text on one line, with control characters made visible."""
    return visible(" ".join(text.split()))


def isolated(text: str) -> str:
    """One line whose writing direction does not leak, for places that cannot hold a ``<bdi>``."""
    # FIRST STRONG ISOLATE does not contain an unclosed override, so overrides are replaced.
    return f"\u2068{one_line(text).translate(_OVERRIDES)}\u2069"


def shorten(text: str, width: int) -> str:
    """One line of at most ``width`` characters."""
    line = one_line(text)
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def score(value: float | None) -> str:
    """A score with three decimals; a dash for one that does not exist."""
    return ABSENT if value is None else f"{value:.3f}"


def number(value: float) -> str:
    """A count as it is; a mean of counts with one decimal."""
    return str(value) if isinstance(value, int) else f"{value:.1f}"


def counted(count: int, one: str, several: str) -> str:
    """A number with its noun."""
    return f"{count} {one if count == 1 else several}"


def reasons(counts: Mapping[str, int]) -> str:
    """The count of each reason, sorted by name."""
    return ", ".join(f"{number(count)} {one_line(reason)}" for reason, count in sorted(counts.items()))


def rate(value: float) -> str:
    """A number per second."""
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def seconds(value: float) -> str:
    """A time in seconds; the smaller, the more decimals."""
    return f"{value:.4f}" if 0 < value < 0.09995 else f"{value:.3f}" if value < 100 else f"{value:.1f}"


def signed(value: float, form: Callable[[float], str]) -> str:
    """A difference in its figures' form, with a sign unless it rounds to zero."""
    text = form(abs(value))
    return text if float(text) == 0.0 else f"{'-' if value < 0 else '+'}{text}"
