"""The run's figures as tables on the terminal.

Cells are ``rich.text.Text``, never markup: a passage's title or a strategy's name cannot color, link or hide anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from depqa_ray.report.figures import passage_row, split_row, summary_row, total_row
from depqa_ray.report.origin import origin_view
from depqa_ray.report.text import shorten
from depqa_ray.report.view import ScoreRow
from depqa_ray.results.schema import RunResults

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_EDGE_TOKENS: Final = "edge\ntok"
_FIGURES: Final = (
    "strict", "lenient", "EM", "F1", "prompt\ntok", "gen\ntok", _EDGE_TOKENS, "latency\ns", "batches"
)  # fmt: skip
_COUNTS: Final = ("passages", "questions", "answered", "failed", "skipped")
_COSTS: Final = ("prompt\ntok", "gen\ntok", _EDGE_TOKENS, "wall-clock\ns", "questions\na second")
_SPLITS: Final = ("with", "EM", "F1", "without", "EM", "F1")
_TITLE_WIDTH: Final = 60


def print_results(results: RunResults, console: Console, *, passages: bool = True) -> None:
    """Print a table for each passage (where ``passages``), then those over all, then what they cannot say."""
    from rich.text import Text

    for table in result_tables(results, passages=passages):
        console.print(table)
    for note in origin_view(results).notes:
        console.print(Text(f"Note: {note}"))


def result_tables(results: RunResults, *, passages: bool = True) -> Iterator[Table]:
    """The tables that ``print_results`` prints. Each fits into 80 columns."""
    if passages:
        for place, entry in enumerate(results.passages, 1):
            rows = [passage_row(strategy) for strategy in entry.strategies]
            yield _table(f"{place}. {shorten(entry.title or entry.id, _TITLE_WIDTH)}", _FIGURES, rows)
    summaries = list(results.strategies.values())
    totals = [total_row(summary) for summary in summaries]
    yield _table("All passages: averages", _FIGURES, [summary_row(summary) for summary in summaries])
    yield _table("All passages: outcomes", _COUNTS, [_cut(row, 0, len(_COUNTS)) for row in totals])
    yield _table("All passages: totals", _COSTS, [_cut(row, len(_COUNTS)) for row in totals])
    if any(summary.with_parents for summary in summaries):
        title = "Questions with and without parents among the gold edges"
        yield _table(title, _SPLITS, [split_row(summary) for summary in summaries])


def _cut(row: ScoreRow, start: int, stop: int | None = None) -> ScoreRow:
    return ScoreRow(row.strategy, row.figures[start:stop])


def _table(title: str, heads: Sequence[str], rows: Sequence[ScoreRow]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Without padding the box's own separators keep the columns one space apart, which is what fits.
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("strategy", overflow="fold")
    shown = _shown_columns(heads, rows)
    for column in shown:
        table.add_column(heads[column], justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(row.strategy), *(Text(row.figures[column]) for column in shown))
    return table


def _shown_columns(heads: Sequence[str], rows: Sequence[ScoreRow]) -> list[int]:
    """All columns; edge tokens only where a strategy spent some, since most runs ask no model for edges."""
    return [
        column
        for column, head in enumerate(heads)
        if head != _EDGE_TOKENS or any(float(row.figures[column]) for row in rows)
    ]
