"""What the pages and the terminal show, without HTML: every number formatted, every position computed.

Texts come from passages and models. They are free of control characters and otherwise unchanged: the templates escape
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from depqa_ray.report.svg.layout import Box, Drawing, Line
from depqa_ray.report.svg.timeline import Timeline


@dataclass(frozen=True, slots=True)
class ProvenanceView:
    """Where the figures come from: labelled facts, and the ``notes`` that a reader must see."""

    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link to a passage's page. ``file`` is safe as a file name and in an address."""

    number: int
    file: str
    title: str
    id: str
    questions: int
    scores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A strategy's figures, one for each column of its table."""

    strategy: str
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column.

    On the terminal it is short, may take two lines, and is empty if only the page has the column. An ``optional``
    column is left out there if it is 0 or a dash in all rows.
    """

    page: str
    terminal: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class TableView:
    """A table of strategies: one head for each figure, and the notes below it."""

    title: str
    caption: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeView:
    """A question's box in the graph."""

    label: str
    text: str
    title: str
    box: Box


@dataclass(frozen=True, slots=True)
class EdgeView:
    """A dependency: its row in the table, and its line in the graph (None if it was not selected)."""

    parent: str
    child: str
    origin: str
    confidence: str
    rationale: str
    status: str
    title: str
    line: Line | None


@dataclass(frozen=True, slots=True)
class GraphView:
    """The graph of the edges that some strategies selected, with a table of all known edges.

    ``provenance`` says in words where the edges came from and which were left out.
    """

    drawing: Drawing
    nodes: tuple[NodeView, ...]
    edges: tuple[EdgeView, ...]
    summary: str
    strategies: str
    provenance: str


@dataclass(frozen=True, slots=True)
class AnswerView:
    """One strategy's answer. ``verdict`` is one of exact, partial, wrong, failed, skipped.

    ``ending`` says how the reply ended, and is empty if that is ordinary or unknown.
    """

    verdict: str
    verdict_text: str
    answer: str
    ending: str
    reason: str


@dataclass(frozen=True, slots=True)
class QuestionView:
    """A question with its gold answers and each strategy's answer, in the order of the page's strategies."""

    label: str
    text: str
    gold: tuple[str, ...]
    unanswerable: bool
    parents: tuple[str, ...]
    answers: tuple[AnswerView, ...]


@dataclass(frozen=True, slots=True)
class StepView:
    """A row of a strategy's table of steps: its cells, and what the model wrote."""

    label: str
    cells: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class StrategyTimelineView:
    """A strategy's steps in a passage: the chart, and the table."""

    strategy: str
    timeline: Timeline
    steps: tuple[StepView, ...]


@dataclass(frozen=True, slots=True)
class PageView:
    """A passage's page. ``replies`` is None if all replies ended as usual."""

    link: LinkView
    provenance: ProvenanceView
    summary: str
    context: str
    graphs: tuple[GraphView, ...]
    figures: TableView
    replies: TableView | None
    questions: tuple[QuestionView, ...]
    timelines: tuple[StrategyTimelineView, ...]
    previous: LinkView | None
    next: LinkView | None


@dataclass(frozen=True, slots=True)
class IntervalCell:
    """A figure and its interval; ``marked`` if it is a difference whose interval excludes zero."""

    value: str
    interval: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """A strategy's averages and their differences to the baseline's, one cell for each figure."""

    strategy: str
    averages: tuple[IntervalCell, ...]
    differences: tuple[IntervalCell, ...]


@dataclass(frozen=True, slots=True)
class IntervalsView:
    """The intervals of all strategies. ``baseline`` is empty if nothing is compared."""

    title: str
    baseline: str
    figures: tuple[str, ...]
    rows: tuple[IntervalRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexView:
    """The run's page: figures over all passages, then the passages."""

    provenance: ProvenanceView
    averages: TableView
    replies: TableView
    tables: tuple[TableView, ...]
    intervals: IntervalsView | None
    published: TableView | None
    totals: TableView
    passages: tuple[LinkView, ...]
