"""What the pages show, without HTML: every number formatted, every place computed.

Texts come from passages and models. They are free of control characters and otherwise as they were written: the
templates escape them.
"""

from __future__ import annotations

from dataclasses import dataclass

from depqa_ray.report.svg.layout import Box, Drawing
from depqa_ray.report.svg.timeline import Timeline


@dataclass(frozen=True, slots=True)
class OriginView:
    """Where the figures come from: labelled facts, and what the reader must be told (``notes``)."""

    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkView:
    """A passage's page. ``file`` is safe as a file name and in an address."""

    number: int
    file: str
    title: str
    id: str
    questions: int
    scores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A row of figures. ``splits`` are EM with and without gold parents; empty where nobody knows them."""

    strategy: str
    figures: tuple[str, ...]
    splits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableView:
    """A table of strategies: what it shows, a head a figure (with a line feed where it takes two lines), and notes."""

    title: str
    caption: str
    heads: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeView:
    """A question's box in the graph."""

    label: str
    text: str
    title: str
    anchor: str
    box: Box


@dataclass(frozen=True, slots=True)
class EdgeView:
    """A dependency: its row in the table, and its line where it was selected (``path`` is empty otherwise)."""

    parent: str
    child: str
    origin: str
    confidence: str
    rationale: str
    standing: str
    title: str
    path: str = ""
    label_x: float = 0.0
    label_y: float = 0.0


@dataclass(frozen=True, slots=True)
class GraphView:
    """The DAG of the selected edges of some strategies, with a table of all edges that are known.

    ``origin`` says in words where the edges came from and what was left out.
    """

    drawing: Drawing
    nodes: tuple[NodeView, ...]
    edges: tuple[EdgeView, ...]
    summary: str
    strategies: str
    origin: str


@dataclass(frozen=True, slots=True)
class AnswerView:
    """One strategy's answer. ``verdict`` is one of exact, partial, wrong, failed, skipped, none."""

    strategy: str
    verdict: str
    verdict_text: str
    answer: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class QuestionView:
    """A question with its gold answers and each strategy's answer, in the order of the page's strategies."""

    label: str
    anchor: str
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
class CourseView:
    """How a strategy went through a passage."""

    strategy: str
    timeline: Timeline
    steps: tuple[StepView, ...]


@dataclass(frozen=True, slots=True)
class PageView:
    """A passage's page."""

    link: LinkView
    origin: OriginView
    summary: str
    context: str
    graphs: tuple[GraphView, ...]
    scores: tuple[ScoreRow, ...]
    questions: tuple[QuestionView, ...]
    courses: tuple[CourseView, ...]
    previous: LinkView | None
    next: LinkView | None


@dataclass(frozen=True, slots=True)
class IntervalCell:
    """A figure and its interval; ``marked`` where it is a difference whose interval excludes zero."""

    value: str
    interval: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """A strategy's averages and their differences to the baseline's, a cell a figure."""

    strategy: str
    averages: tuple[IntervalCell, ...]
    differences: tuple[IntervalCell, ...]


@dataclass(frozen=True, slots=True)
class IntervalsView:
    """The intervals of all strategies. ``baseline`` is empty where nothing is compared."""

    title: str
    baseline: str
    figures: tuple[str, ...]
    rows: tuple[IntervalRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishedView:
    """A published table beside the run.

    A row's figures are the published EM, F1 and tokens a passage, the measured ones, and the measured EM and F1 against
    the first gold answer alone.
    """

    title: str
    rows: tuple[ScoreRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexView:
    """The run's page: figures over all passages, then the passages."""

    origin: OriginView
    strategies: tuple[str, ...]
    scores: tuple[ScoreRow, ...]
    tables: tuple[TableView, ...]
    intervals: IntervalsView | None
    published: PublishedView | None
    totals: tuple[ScoreRow, ...]
    passages: tuple[LinkView, ...]
