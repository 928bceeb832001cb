"""A passage's dependencies as a graph and a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from depqa_ray.core import Question
from depqa_ray.report.svg.layout import Drawing, lay_out
from depqa_ray.report.text import counted, isolated, one_line, reasons
from depqa_ray.report.view import EdgeView, GraphView, NodeView
from depqa_ray.results.schema import EdgeEntry, PassageEdges, PassageEntry, QuestionEntry

_COSTS: Final = {"parallelism"}
"""Fields that differ between strategies with the same edges."""


def labels_of(questions: Iterable[Question | QuestionEntry]) -> dict[str, str]:
    """The short names of a passage's questions, by id."""
    return {question.id: f"Q{place}" for place, question in enumerate(questions, 1)}


def summary_text(entry: PassageEntry, edges: PassageEdges | None) -> str:
    """The size of a passage in words, and of its dependency graph if it is given."""
    parts = [counted(len(entry.questions), "question", "questions")]
    if edges is not None:
        parts += [counted(edges.depth, "layer", "layers"), counted(len(edges.edges), "dependency", "dependencies")]
    return ", ".join(parts)


def graph_views(entry: PassageEntry) -> tuple[GraphView, ...]:
    """A graph for each distinct set of edges: mostly one, since all strategies ask the same model."""
    labels = labels_of(entry.questions)
    groups: dict[str, list[tuple[str, PassageEdges]]] = {}
    for strategy in entry.strategies:
        if (edges := strategy.dag) is not None:
            group = groups.setdefault(edges.model_dump_json(exclude=_COSTS), [])
            group.append((one_line(strategy.name), edges))
    return tuple(_graph_view(entry, group[0][1], [name for name, _ in group], labels) for group in groups.values())


def _graph_view(entry: PassageEntry, edges: PassageEdges, names: Sequence[str], labels: Mapping[str, str]) -> GraphView:
    """The graph of the selected edges, and the table of these, the rejected and the missed ones."""
    drawing = lay_out(list(labels), [_pair(edge) for edge in edges.edges])
    texts = {question.id: one_line(question.question) for question in entry.questions}
    nodes = tuple(
        NodeView(
            label=labels[box.key],
            text=texts[box.key] or "(empty)",
            title=isolated(f"{labels[box.key]}: {texts[box.key]}"),
            box=box,
        )
        for box in drawing.boxes
    )
    rows = tuple(_edge_view(edge, labels, drawing, status) for edge, status in _edge_statuses(entry, edges))
    return GraphView(drawing, nodes, rows, summary_text(entry, edges), ", ".join(names), _provenance(edges))


def _edge_statuses(entry: PassageEntry, edges: PassageEdges) -> Iterator[tuple[EdgeEntry, str]]:
    """Each proposed or gold edge, with whether it was selected and, if gold edges are known, whether it is gold."""
    gold = {(parent, question.id) for question in entry.questions for parent in question.gold_parents or ()}
    known = any(question.gold_parents is not None for question in entry.questions)
    selected, proposed = (set(map(_pair, found)) for found in (edges.edges, edges.proposed))
    rejected = [edge for edge in edges.proposed if _pair(edge) not in selected]
    for status, found in (("selected", edges.edges), ("not selected", rejected)):
        for edge in found:
            right = "gold" if _pair(edge) in gold else "not gold"
            yield edge, f"{status}, {right}" if known else status
    for parent, child in sorted(gold - selected - proposed):
        missed = EdgeEntry(parent=parent, child=child, confidence=1.0, origin="gold", rationale="given by the data set")
        yield missed, "gold, not proposed"


def _pair(edge: EdgeEntry) -> tuple[str, str]:
    return edge.parent, edge.child


def _provenance(edges: PassageEdges) -> str:
    """Where the edges came from and which were left out, in a sentence or two."""
    text = {
        "model": "The model was asked for the dependencies.",
        "heuristic": "The dependencies are guessed from the questions' wording.",
        "gold": "The dependencies are those of the data set.",
        "none": "No dependencies were asked for.",
    }[edges.source]
    if edges.cached:
        text = "The model's reply of an earlier run tells the dependencies."
    if edges.fallback:
        text = f"The questions' wording decides, since the model could not be followed: {one_line(edges.fallback)}."
    if edges.dropped:
        text += f" Left out: {reasons(edges.dropped)}."
    return text


def _edge_view(edge: EdgeEntry, labels: Mapping[str, str], drawing: Drawing, status: str) -> EdgeView:
    parent, child = labels.get(edge.parent, "?"), labels.get(edge.child, "?")
    line = next((line for line in drawing.lines if (line.parent, line.child) == (edge.parent, edge.child)), None)
    confidence, rationale = f"{edge.confidence:.2f}", one_line(edge.rationale)
    return EdgeView(
        parent=parent,
        child=child,
        origin=edge.origin,
        confidence=confidence,
        rationale=rationale,
        status=status,
        title=isolated(f"{child} needs {parent} ({edge.origin}, confidence {confidence}) {rationale}"),
        line=line,
    )
