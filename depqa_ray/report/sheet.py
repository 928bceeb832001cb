"""Figures in columns on the terminal, laid out for 80 columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from depqa_ray.report.text import shorten
from depqa_ray.report.view import ScoreRow

WIDTH: Final = 80
_INDENT: Final = "  "


@dataclass(frozen=True, slots=True)
class Block:
    """Rows under a title, which share the heads of their sheet."""

    title: str
    rows: tuple[ScoreRow, ...]


def sheet(heads: Sequence[str], blocks: Sequence[Block], hidden: Collection[int] = ()) -> Iterator[str]:
    """Blocks under one line of heads, figures to the right in columns that all blocks share."""
    shown = [column for column in range(len(heads)) if column not in hidden]
    rows = [row for block in blocks for row in block.rows]
    widths = [max([_breadth(heads[column]), *(len(row.figures[column]) for row in rows)]) for column in shown]
    room = WIDTH - len(_INDENT) - sum(width + 1 for width in widths)
    names = min(max((len(row.strategy) for row in rows), default=0), max(room, 1))
    gap = " " * max(1, min(2, (WIDTH - len(_INDENT) - names - sum(widths)) // max(1, len(widths))))
    start = len(_INDENT) + names
    yield from _head_lines([heads[column] for column in shown], widths, start, gap)
    for place, block in enumerate(blocks):
        if place:
            yield ""
        yield block.title
        for row in block.rows:
            cells = [row.figures[column].rjust(width) for column, width in zip(shown, widths, strict=True)]
            yield gap.join([_INDENT + shorten(row.strategy, names).ljust(names), *cells])


def _head_lines(heads: Sequence[str], widths: Sequence[int], start: int, gap: str) -> Iterator[str]:
    """The heads, those of one line beside the last line of those of two, and a rule."""
    split = [head.split("\n") if "\n" in head else ["", head] for head in heads]
    for line in (0, 1) if any("\n" in head for head in heads) else (1,):
        yield gap.join([" " * start, *(part[line].rjust(width) for part, width in zip(split, widths, strict=True))])
    yield "─" * (start + sum(widths) + len(gap) * len(widths))


def _breadth(head: str) -> int:
    return max(map(len, head.split("\n")))
