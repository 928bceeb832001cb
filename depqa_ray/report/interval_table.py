"""The intervals of a run on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from depqa_ray.report.sheet import WIDTH, Block, sheet
from depqa_ray.report.view import IntervalCell, IntervalRow, IntervalsView, ScoreRow

_HEADS: Final = ("average", "its\ninterval", "difference", "its\ninterval")
_DIFFERENCE: Final = {2, 3}


def interval_lines(view: IntervalsView) -> Iterator[str]:
    """The title, a block a figure, and what the intervals say; of one strategy, all figures in one block."""
    yield from textwrap.wrap(view.title, WIDTH)
    if len(view.rows) == 1:
        yield from sheet(_HEADS, [_figures_of(view.rows[0], view.figures)], hidden=_DIFFERENCE)
    else:
        yield from sheet(_HEADS, [_strategies_in(view, place) for place in range(len(view.figures))])
    yield ""
    for note in view.notes:
        yield from textwrap.wrap(note, WIDTH)


def _figures_of(row: IntervalRow, figures: tuple[str, ...]) -> Block:
    cells = zip(figures, row.averages, row.differences, strict=True)
    return Block(row.strategy, tuple(ScoreRow(figure, _texts(*pair)) for figure, *pair in cells))


def _strategies_in(view: IntervalsView, place: int) -> Block:
    return Block(
        view.figures[place],
        tuple(ScoreRow(row.strategy, _texts(row.averages[place], row.differences[place])) for row in view.rows),
    )


def _texts(average: IntervalCell, difference: IntervalCell) -> tuple[str, ...]:
    # Behind an interval stands its mark or the room for one, so that the brackets of all rows line up.
    mark = " *" if difference.marked else "  "
    return (average.value, average.interval, difference.value, difference.interval + mark)
