"""The run's figures on the terminal, laid out for 80 columns, the same in a pipe.

Lines are ``rich.text.Text``, never markup: a passage's title or a strategy's name cannot color, link or hide anything.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from depqa_ray.report.figures import count_passages, passage_row, split_row, summary_row
from depqa_ray.report.interval_table import interval_lines
from depqa_ray.report.interval_view import intervals_view
from depqa_ray.report.provenance import origin_view
from depqa_ray.report.published import published_view
from depqa_ray.report.run_tables import run_tables
from depqa_ray.report.sheet import WIDTH, Block, sheet
from depqa_ray.report.text import counted, number, one_line, rate, seconds, shorten
from depqa_ray.report.view import PublishedView, ScoreRow
from depqa_ray.results.schema import PassageEntry, RunResults, StrategySummary

if TYPE_CHECKING:
    from rich.console import Console

MOST_PASSAGES: Final = 30
"""Beyond so many passages their figures are left to the results and the pages, unless all are asked for."""

_FIGURES: Final = (
    "strict", "lenient", "EM", "F1", "prompt\ntokens", "gen.\ntokens", "dep.\ntokens", "latency\ns", "batches"
)  # fmt: skip
_DEPENDENCIES: Final = _FIGURES.index("dep.\ntokens")
_PUBLISHED: Final = ("published\nEM", "F1", "tokens", "measured\nEM", "F1", "tokens", "1 gold\nEM", "F1")
_SPLITS: Final = ("with\nparents", "EM", "F1", "without\nparents", "EM", "F1")


def print_results(
    results: RunResults, console: Console, *, all_passages: bool = False, remarks: Sequence[str] = ()
) -> None:
    """Print the figures of each passage, those over all, and what they cannot say; ``remarks`` come with the latter.

    Of more than MOST_PASSAGES passages only those over all are printed, unless ``all_passages``.
    """
    from rich.text import Text

    for line in result_lines(results, all_passages=all_passages):
        console.print(Text(line), soft_wrap=True)
    for note in origin_view(results, remarks).notes:
        console.print(Text(f"Note: {note}"))


def result_lines(results: RunResults, *, all_passages: bool = False) -> Iterator[str]:
    """The lines that ``print_results`` prints before its notes."""
    summaries = list(results.strategies.values())
    passages = list(enumerate(results.passages, 1))
    if len(passages) > MOST_PASSAGES and not all_passages:
        yield f"{len(passages)} passages; the figures of each are in the run's results and on its pages."
        passages = []
    blocks = [Block(_title(place, entry), tuple(map(passage_row, entry.strategies))) for place, entry in passages]
    averages = Block(f"Averages over {count_passages(summaries)}", tuple(map(summary_row, summaries)))
    yield from sheet(_FIGURES, [*blocks, averages], hidden={_DEPENDENCIES})
    yield ""
    yield from _totals(summaries)
    if any(summary.with_parents for summary in summaries):
        yield ""
        rows = tuple(map(split_row, summaries))
        yield from sheet(_SPLITS, [Block("Questions with and without parents among the gold edges", rows)])
    for table in run_tables(results):
        yield ""
        yield from sheet(table.heads, [Block(table.title, table.rows)])
        for note in (table.caption, *table.notes):
            yield from textwrap.wrap(note, WIDTH)
    if (intervals := intervals_view(results)) is not None:
        yield ""
        yield from interval_lines(intervals)
    if (published := published_view(results)) is not None:
        yield ""
        yield from _published_lines(published)


def _published_lines(view: PublishedView) -> Iterator[str]:
    yield from textwrap.wrap(view.title, WIDTH)
    yield from sheet(_PUBLISHED, [Block("A published table beside this run", view.rows)])
    yield ""
    for note in view.notes:
        yield from textwrap.wrap(note, WIDTH)


def _title(place: int, entry: PassageEntry) -> str:
    asked = f" ({counted(len(entry.questions), 'question', 'questions')})"
    return f"{place}. {shorten(entry.title or entry.id, WIDTH - 6 - len(asked))}{asked}"


def _totals(summaries: Sequence[StrategySummary]) -> Iterator[str]:
    """Sums. What is 0 for all strategies, as failures and tokens for dependencies mostly are, has no column."""
    heads = (
        "answered",
        "failed",
        "skipped",
        "prompt\ntokens",
        "gen.\ntokens",
        "dep.\ntokens",
        "wall\ns",
        "questions\n/ s",
    )
    rows = tuple(ScoreRow(one_line(summary.name), _total_cells(summary)) for summary in summaries)
    optional = (1, 2, heads.index("dep.\ntokens"))
    hidden = {column for column in optional if all(row.figures[column] == "0" for row in rows)}
    yield from sheet(heads, [Block("Totals", rows)], hidden)


def _total_cells(summary: StrategySummary) -> tuple[str, ...]:
    counts, totals = summary.counts, summary.totals
    whole = (
        counts.answered,
        counts.failed,
        counts.skipped,
        totals.prompt_tokens,
        totals.generated_tokens,
        totals.dep_tokens,
    )
    return (*map(number, whole), seconds(totals.seconds), rate(totals.questions_per_second))
