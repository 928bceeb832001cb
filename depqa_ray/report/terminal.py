"""The run's figures on the terminal, laid out for 80 columns, the same in a pipe.

Texts become ``rich.text.Text``, never markup: a passage's title or a strategy's name cannot color, link or hide
anything.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from depqa_ray.report.intervals import intervals_view
from depqa_ray.report.provenance import provenance_view
from depqa_ray.report.published import published_table
from depqa_ray.report.tables import (
    averages_table,
    passage_table,
    replies_table,
    replies_to_note,
    run_tables,
    split_table,
    totals_table,
)
from depqa_ray.report.text import ABSENT, counted, shorten
from depqa_ray.report.view import IntervalCell, IntervalsView, Row, TableView
from depqa_ray.results.schema import PassageEntry, RunResults

if TYPE_CHECKING:
    from rich.console import Console

MOST_PASSAGES: Final = 30
"""With more passages, their figures are left to the results and the pages unless all are asked for."""

WIDTH: Final = 80
_INDENT: Final = "  "
_INTERVAL_HEADS: Final = ("average", "its\ninterval", "difference", "its\ninterval")


class Block(NamedTuple):
    """Rows under a title; the blocks of a sheet share its columns."""

    title: str
    rows: Sequence[Row]


def print_results(
    results: RunResults, console: Console, *, all_passages: bool = False, warnings: Sequence[str] = ()
) -> None:
    """Print the figures of each passage and of the run, then the notes, ``warnings`` among them.

    With more than MOST_PASSAGES passages, only the figures of the run are printed, unless ``all_passages``.
    """
    from rich.text import Text

    for line in result_lines(results, all_passages=all_passages):
        console.print(Text(line), soft_wrap=True)
    for note in provenance_view(results, warnings).notes:
        console.print(Text(f"Note: {note}"))


def result_lines(results: RunResults, *, all_passages: bool = False) -> Iterator[str]:
    """The lines that ``print_results`` prints before its notes."""
    summaries = list(results.strategies.values())
    passages = list(enumerate(results.passages, 1))
    if len(passages) > MOST_PASSAGES and not all_passages:
        yield f"{len(passages)} passages; the figures of each are in the run's results and on its pages."
        passages = []
    averages = averages_table(summaries)
    blocks = [Block(_title(place, entry), passage_table(entry).rows) for place, entry in passages]
    heads = [head.terminal for head in averages.heads]
    yield from _sheet(heads, [*blocks, Block(averages.title, averages.rows)])
    yield from ("", *_table_lines(totals_table(summaries)))
    if replies_to_note(summaries):
        yield from ("", *_table_lines(replies := replies_table(summaries)), *_wrapped(replies.caption))
    if (split := split_table(summaries)) is not None:
        yield from ("", *_table_lines(split))
    for table in run_tables(results):
        yield ""
        yield from _table_lines(table)
        yield from _wrapped(table.caption, *table.notes)
    if (intervals := intervals_view(results)) is not None:
        yield ""
        yield from interval_lines(intervals)
    if (published := published_table(results)) is not None:
        yield from ("", *_wrapped(published.caption))
        yield from _table_lines(published)
        yield from ("", *_wrapped(*published.notes))


def interval_lines(view: IntervalsView) -> Iterator[str]:
    """The title, a block for each figure, and the notes. A single strategy has all its figures in one block."""
    yield from _wrapped(view.title)
    if len(view.rows) == 1:
        (row,) = view.rows
        cells = zip(view.figures, row.averages, row.differences, strict=True)
        block = Block(row.strategy, [Row(figure, _interval_cells(*pair)) for figure, *pair in cells])
        yield from _sheet((*_INTERVAL_HEADS[:2], "", ""), [block])
    else:
        yield from _sheet(_INTERVAL_HEADS, [_figure_block(view, place) for place in range(len(view.figures))])
    yield from ("", *_wrapped(*view.notes))


def _figure_block(view: IntervalsView, place: int) -> Block:
    rows = [Row(row.strategy, _interval_cells(row.averages[place], row.differences[place])) for row in view.rows]
    return Block(view.figures[place], rows)


def _interval_cells(average: IntervalCell, difference: IntervalCell) -> tuple[str, ...]:
    # Each interval is followed by its mark or by blanks, so that the brackets of all rows line up.
    mark = " *" if difference.marked else "  "
    return (average.value, average.interval, difference.value, difference.interval + mark)


def _title(place: int, entry: PassageEntry) -> str:
    asked = f" ({counted(len(entry.questions), 'question', 'questions')})"
    return f"{place}. {shorten(entry.title or entry.id, WIDTH - 6 - len(asked))}{asked}"


def _wrapped(*texts: str) -> Iterator[str]:
    for text in texts:
        yield from textwrap.wrap(text, WIDTH)


def _table_lines(table: TableView) -> Iterator[str]:
    """A table as a sheet of one block; an optional column is left out if it is 0 or a dash in all rows."""
    heads = [
        "" if head.optional and all(row.figures[place] in ("0", ABSENT) for row in table.rows) else head.terminal
        for place, head in enumerate(table.heads)
    ]
    yield from _sheet(heads, [Block(table.title, table.rows)])


def _sheet(heads: Sequence[str], blocks: Sequence[Block]) -> Iterator[str]:
    """Blocks under one line of heads: names to the left, figures to the right. A column without a head is left out."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [row for block in blocks for row in block.rows]
    names = [_INDENT + row.strategy for row in rows]
    columns = {place: [row.figures[place] for row in rows] for place, head in enumerate(heads) if head}
    widths = {place: max(map(len, (*heads[place].split("\n"), *column))) for place, column in columns.items()}
    needed = sum(widths.values()) + len(widths)
    wide = max(map(len, names), default=0) + needed + len(widths) <= WIDTH
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, int(wide), 0, 0))
    table.add_column()
    for place in columns:
        table.add_column(Text(heads[place], justify="right"), vertical="bottom", no_wrap=True)
    # Aligned here, since rich strips trailing blanks; one row of many lines, since rich is slow with many rows.
    figures = [[text.rjust(widths[place]) for text in column] for place, column in columns.items()]
    table.add_row(*(Text("\n".join(column), no_wrap=True, overflow="ellipsis") for column in (names, *figures)))
    # Names give way to figures, which are never cut.
    console = Console(width=max(WIDTH, len(_INDENT) + 1 + needed), color_system=None, legacy_windows=False)
    lines = ["".join(part.text for part in line).rstrip() for line in console.render_lines(table, pad=False)]
    start = len(lines) - max(1, len(rows))
    body = iter(lines[start:])
    yield from lines[:start]
    for place, block in enumerate(blocks):
        yield from ("", block.title) if place else (block.title,)
        yield from islice(body, len(block.rows))
