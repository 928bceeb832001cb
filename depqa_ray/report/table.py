"""The run's figures on the terminal, laid out for 80 columns, the same in a pipe.

Lines are ``rich.text.Text``, never markup: a passage's title or a strategy's name cannot color, link or hide anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from depqa_ray.report.figures import passage_row, split_row, summary_row
from depqa_ray.report.origin import origin_view
from depqa_ray.report.text import counted, number, one_line, rate, seconds, shorten
from depqa_ray.report.view import ScoreRow
from depqa_ray.results.schema import PassageEntry, RunResults, StrategySummary

if TYPE_CHECKING:
    from rich.console import Console

MOST_PASSAGES: Final = 30
"""Beyond so many passages their figures are left to the results and the pages, unless all are asked for."""

_WIDTH: Final = 80
_INDENT: Final = "  "
_FIGURES: Final = (
    "strict", "lenient", "EM", "F1", "prompt\ntokens", "gen.\ntokens", "edge\ntokens", "latency\ns", "batches"
)  # fmt: skip
_EDGES: Final = _FIGURES.index("edge\ntokens")
_SPLITS: Final = ("with\nparents", "EM", "F1", "without\nparents", "EM", "F1")


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows under a title, which share the heads of their sheet."""

    title: str
    rows: tuple[ScoreRow, ...]


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
    blocks = [_Block(_title(place, entry), tuple(map(passage_row, entry.strategies))) for place, entry in passages]
    averages = _Block(f"Averages over {_passages(summaries)}", tuple(map(summary_row, summaries)))
    yield from _sheet(_FIGURES, [*blocks, averages], hidden={_EDGES})
    yield ""
    yield from _totals(summaries)
    if any(summary.with_parents for summary in summaries):
        yield ""
        rows = tuple(map(split_row, summaries))
        yield from _sheet(_SPLITS, [_Block("Questions with and without parents among the gold edges", rows)])


def _title(place: int, entry: PassageEntry) -> str:
    asked = f" ({counted(len(entry.questions), 'question', 'questions')})"
    return f"{place}. {shorten(entry.title or entry.id, _WIDTH - 6 - len(asked))}{asked}"


def _passages(summaries: Sequence[StrategySummary]) -> str:
    counts = sorted({summary.passages for summary in summaries})
    if len(counts) > 1:  # a run that was cut short
        return f"{counts[0]} to {counts[-1]} passages"
    return counted(counts[0] if counts else 0, "passage", "passages")


def _totals(summaries: Sequence[StrategySummary]) -> Iterator[str]:
    """Sums. What is 0 for all strategies, as failures and edge tokens mostly are, has no column."""
    heads = (
        "answered",
        "failed",
        "skipped",
        "prompt\ntokens",
        "gen.\ntokens",
        "edge\ntokens",
        "wall\ns",
        "questions\n/ s",
    )
    rows = tuple(ScoreRow(one_line(summary.name), _total_cells(summary)) for summary in summaries)
    optional = (1, 2, heads.index("edge\ntokens"))
    hidden = {column for column in optional if all(row.figures[column] == "0" for row in rows)}
    yield from _sheet(heads, [_Block("Totals", rows)], hidden)


def _total_cells(summary: StrategySummary) -> tuple[str, ...]:
    counts, totals = summary.counts, summary.totals
    whole = (
        counts.answered,
        counts.failed,
        counts.skipped,
        totals.prompt_tokens,
        totals.generated_tokens,
        totals.edge_prompt_tokens + totals.edge_generated_tokens,
    )
    return (*map(number, whole), seconds(totals.seconds), rate(totals.questions_per_second))


def _sheet(heads: Sequence[str], blocks: Sequence[_Block], hidden: Collection[int] = ()) -> Iterator[str]:
    """Blocks under one line of heads, figures to the right in columns that all blocks share."""
    shown = [column for column in range(len(heads)) if column not in hidden]
    rows = [row for block in blocks for row in block.rows]
    widths = [max([_breadth(heads[column]), *(len(row.figures[column]) for row in rows)]) for column in shown]
    room = _WIDTH - len(_INDENT) - sum(width + 1 for width in widths)
    names = min(max((len(row.strategy) for row in rows), default=0), max(room, 1))
    gap = " " * max(1, min(2, (_WIDTH - len(_INDENT) - names - sum(widths)) // max(1, len(widths))))
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
    for line in (0, 1):
        yield gap.join([" " * start, *(part[line].rjust(width) for part, width in zip(split, widths, strict=True))])
    yield "─" * (start + sum(widths) + len(gap) * len(widths))


def _breadth(head: str) -> int:
    return max(map(len, head.split("\n")))
