"""The tables of figures. Each lists its columns once, for its page and for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from depqa_ray.report.text import ABSENT, counted, number, one_line, rate, reasons, score, seconds
from depqa_ray.report.view import Head, Row, TableView
from depqa_ray.results.run_entry import RunEntry
from depqa_ray.results.schema import PassageEntry, PassageStrategy, ReplyCounts, RunResults, ScoreSplit, StrategySummary


class Column(NamedTuple):
    """A column: its heads (see :class:`Head`), and its cell for an entry of a strategy."""

    page: str
    terminal: str
    cell: Callable[[Any], str]
    optional: bool = False


Columns: TypeAlias = tuple[Column, ...]


_NO_SPLIT: Final[ScoreSplit] = ScoreSplit(questions=0, em=None, f1=None)


def _decimals(value: float) -> str:
    return f"{value:.2f}"


def _recorded(replies: ReplyCounts, count: int) -> str:
    """A count of replies; a dash if the run did not record how any reply ended."""
    return ABSENT if replies.unrecorded and not replies.replies else number(count)


_FIGURES: Final = (
    Column("Strict", "strict", lambda entry: score(entry.metrics.strict)),
    Column("Lenient", "lenient", lambda entry: score(entry.metrics.lenient)),
    Column("EM", "EM", lambda entry: score(entry.metrics.em)),
    Column("F1", "F1", lambda entry: score(entry.metrics.f1)),
    Column("Prompt tokens", "prompt\ntokens", lambda entry: number(entry.prompt_tokens)),
    Column("Generated tokens", "gen.\ntokens", lambda entry: number(entry.generated_tokens)),
    Column("Dependency tokens", "", lambda entry: number(entry.dep_tokens)),
    Column("Latency (s)", "latency\ns", lambda entry: seconds(entry.latency)),
    Column("Batches", "batches", lambda entry: number(entry.batches)),
)
_SPLIT_SCORES: Final = (
    Column("EM with parents", "", lambda summary: score((summary.with_parents or _NO_SPLIT).em)),
    Column("EM without parents", "", lambda summary: score((summary.without_parents or _NO_SPLIT).em)),
)
_TOTALS: Final = (
    Column("Passages", "", lambda summary: number(summary.passages)),
    Column("Questions", "", lambda summary: number(summary.counts.questions)),
    Column("Answered", "answered", lambda summary: number(summary.counts.answered)),
    Column("Of these cut", "cut", lambda summary: _recorded(summary.replies, summary.counts.cut), optional=True),
    Column("Failed", "failed", lambda summary: number(summary.counts.failed), optional=True),
    Column("Skipped", "skip-\nped", lambda summary: number(summary.counts.skipped), optional=True),
    Column("Prompt tokens", "prompt\ntokens", lambda summary: number(summary.totals.prompt_tokens)),
    Column("Generated tokens", "gen.\ntokens", lambda summary: number(summary.totals.generated_tokens)),
    Column("Dependency tokens", "dep.\ntokens", lambda summary: number(summary.totals.dep_tokens), optional=True),
    Column("Time (s)", "wall\ns", lambda summary: seconds(summary.totals.seconds)),
    Column("Questions a second", "quest.\n/ s", lambda summary: rate(summary.totals.questions_per_second)),
)


def _split_columns(page: str, terminal: str, split_of: Callable[[StrategySummary], ScoreSplit | None]) -> Columns:
    """The number of questions, EM and F1 of a split."""
    return (
        Column(page, terminal, lambda summary: number((split_of(summary) or _NO_SPLIT).questions)),
        Column("EM", "EM", lambda summary: score((split_of(summary) or _NO_SPLIT).em)),
        Column("F1", "F1", lambda summary: score((split_of(summary) or _NO_SPLIT).f1)),
    )


_SPLITS: Final = (
    *_split_columns("With parents", "with\nparents", lambda summary: summary.with_parents),
    *_split_columns("Without parents", "without\nparents", lambda summary: summary.without_parents),
)
_FINAL: Final = _split_columns("Questions", "questions", lambda summary: summary.final)
_REPLIES: Final = (
    Column("Replies", "replies", lambda entry: _recorded(entry.replies, entry.replies.replies)),
    Column("Cut", "cut", lambda entry: _recorded(entry.replies, entry.replies.cut), optional=True),
    Column("Empty", "empty", lambda entry: _recorded(entry.replies, entry.replies.empty), optional=True),
    Column(
        "Only thoughts", "only\nthoughts", lambda entry: _recorded(entry.replies, entry.replies.thoughts_only), True
    ),
    Column("No JSON", "no\nJSON", lambda entry: _recorded(entry.replies, entry.replies.no_json), optional=True),
    Column("Refused prompts", "refused\nprompts", lambda entry: _recorded(entry.replies, entry.replies.refused), True),
    Column("Not recorded", "not\nrecorded", lambda entry: number(entry.replies.unrecorded), optional=True),
)
_REPLY_FAULTS: Final = ("cut", "empty", "thoughts_only", "no_json", "refused")
_LATENCY: Final = (
    Column("Mean", "mean", lambda summary: seconds(summary.latency)),
    Column("P50", "p50", lambda summary: seconds(summary.latency_percentiles.p50)),
    Column("P95", "p95", lambda summary: seconds(summary.latency_percentiles.p95)),
    Column("P99", "p99", lambda summary: seconds(summary.latency_percentiles.p99)),
)
_DEPENDENCIES: Final = (
    Column("Asked", "asked", lambda summary: number(summary.dag.asked)),
    Column("From cache", "from\ncache", lambda summary: number(summary.dag.cached)),
    Column("Fallbacks", "fall-\nbacks", lambda summary: number(summary.dag.fallbacks)),
    Column("Edges", "edges", lambda summary: _decimals(summary.dag.edges)),
    Column("Depth", "depth", lambda summary: _decimals(summary.dag.depth)),
    Column("Width", "width", lambda summary: _decimals(summary.dag.width)),
    Column("Parallelism", "paral-\nlelism", lambda summary: _decimals(summary.dag.parallelism)),
    Column("Tokens", "tokens", lambda summary: number(summary.dep_tokens)),
    Column("Latency (s)", "latency\n(s)", lambda summary: seconds(summary.dep_latency)),
)
_QUALITY: Final = (
    Column("Proposed precision", "proposed\nprecision", lambda summary: score(summary.dag.proposed_quality.precision)),
    Column("Prop. recall", "prop.\nrecall", lambda summary: score(summary.dag.proposed_quality.recall)),
    Column("Prop. F1", "prop.\nF1", lambda summary: score(summary.dag.proposed_quality.f1)),
    Column("Selected precision", "selected\nprecision", lambda summary: score(summary.dag.selected_quality.precision)),
    Column("Sel. recall", "sel.\nrecall", lambda summary: score(summary.dag.selected_quality.recall)),
    Column("Sel. F1", "sel.\nF1", lambda summary: score(summary.dag.selected_quality.f1)),
    Column("Right parents", "right\nparents", lambda summary: score(summary.dag.selected_quality.right_share)),
)


def passage_table(entry: PassageEntry) -> TableView:
    """The figures of one passage, a row for each strategy."""
    caption = "Means over the questions of this passage; tokens, latency and batches of the whole passage."
    return _table("Figures", caption, _FIGURES, entry.strategies)


def averages_table(summaries: Sequence[StrategySummary]) -> TableView:
    """The averages of each strategy; the page has the scores with and without gold parents, if there are any."""
    caption = (
        "Scores are means over all questions; tokens, latency and batches are means over passages. With and without "
        "parents: the questions that need another one's answer by the data set, and the others."
    )
    known = any(column.cell(summary) != ABSENT for summary in summaries for column in _SPLIT_SCORES)
    columns = (*_FIGURES, *_SPLIT_SCORES) if known else _FIGURES
    return _table(f"Averages over {count_passages(summaries)}", caption, columns, summaries)


def totals_table(summaries: Sequence[StrategySummary]) -> TableView:
    """The sums of each strategy."""
    caption = (
        "Over all finished passages. Time is wall-clock time in which at least one passage was under way under the "
        "strategy."
    )
    return _table("Totals", caption, _TOTALS, summaries)


def split_table(summaries: Sequence[StrategySummary]) -> TableView | None:
    """The scores with and without gold parents; None if no passage has gold edges."""
    if not any(summary.with_parents for summary in summaries):
        return None
    return _table("Questions with and without parents among the gold edges", "", _SPLITS, summaries)


def replies_table(entries: Sequence[StrategySummary] | Sequence[PassageStrategy]) -> TableView:
    """How the replies to each strategy's prompts ended, over all passages or in one."""
    caption = (
        "Replies to all prompts, those about dependencies included; a prompt may ask several questions. Cut: ended by "
        "the limit on tokens. No JSON: no object with the keys asked for."
    )
    return _table("Replies", caption, _REPLIES, entries)


def replies_to_note(entries: Sequence[StrategySummary] | Sequence[PassageStrategy]) -> bool:
    """Whether a reply ended badly, or a prompt was refused."""
    return any(getattr(entry.replies, fault) for entry in entries for fault in _REPLY_FAULTS)


def count_passages(summaries: Sequence[StrategySummary]) -> str:
    """How many passages the averages cover, in words."""
    counts = sorted({summary.passages for summary in summaries})
    if len(counts) > 1:  # a run that was cut short
        return f"{counts[0]} to {counts[-1]} passages"
    return counted(counts[0] if counts else 0, "passage", "passages")


def run_tables(results: RunResults) -> Iterator[TableView]:
    """The further tables that the run has figures for: final answers, latencies, dependencies and their quality."""
    summaries = list(results.strategies.values())
    if any(summary.final for summary in summaries):
        caption = "Over the questions whose answers are their passages' final ones; the others are steps on the way."
        yield _table("Final answers", caption, _FINAL, summaries)
    if measured := [summary for summary in summaries if summary.latency_percentiles is not None]:
        caption = "From a passage's admission to its last answer, over passages."
        yield _table(f"Latency in seconds, {_load(results.run)}", caption, _LATENCY, measured)
    if using_edges := [summary for summary in summaries if summary.dag is not None]:
        caption = (
            "Asked, from the cache and fallbacks count passages; the rest are means over all passages. Depth, width "
            "and parallelism are those of the dependencies, whatever order a strategy asks in."
        )
        yield _table("Dependencies", caption, _DEPENDENCIES, using_edges, _edge_notes(using_edges))
    if known := [summary for summary in using_edges if summary.dag and summary.dag.proposed_quality is not None]:
        caption = (
            "Over passages with gold dependencies. Proposed: by the source itself, nothing where it fell back. "
            "Selected: what the strategy went by, the heuristic's where it fell back. Right parents: the share of "
            "questions with exactly the gold ones."
        )
        yield _table("Dependencies against the gold ones", caption, _QUALITY, known)


def _table(title: str, caption: str, columns: Columns, entries: Iterable[Any], notes: Iterable[str] = ()) -> TableView:
    heads = tuple(Head(column.page, column.terminal, column.optional) for column in columns)
    rows = (Row(one_line(entry.name), tuple(column.cell(entry) for column in columns)) for entry in entries)
    return TableView(title, caption, heads, tuple(rows), tuple(notes))


def _load(run: RunEntry) -> str:
    """The load under which latencies were measured."""
    if run.isolated:
        return "one passage at a time, on idle replicas"
    most = run.settings.get("in_flight")
    return f"{most} at a time" if isinstance(most, int) else "under full load"


def _edge_notes(summaries: Sequence[StrategySummary]) -> Iterator[str]:
    found = [(summary.name, summary.dag) for summary in summaries if summary.dag is not None]
    if any(edges.asked for _, edges in found):
        yield "The tokens and the latency of asking for the dependencies are part of the averages, too."
    if any(edges.cached for _, edges in found):
        yield "From the cache: passages whose reply an earlier run had kept; they cost nothing here."
    if any(edges.fallbacks for _, edges in found):
        yield "Fallbacks: passages whose reply was of no use, or never came; the questions' wording decided instead."
    for name, edges in found:
        if edges.dropped:
            yield f"{one_line(name)} left out: {reasons(edges.dropped)}."
