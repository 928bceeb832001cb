"""A passage's dependencies as a picture and a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from depqa_ray.report.svg.layout import Drawing, lay_out
from depqa_ray.report.text import counted, isolated, one_line, reasons
from depqa_ray.report.view import EdgeView, GraphView, NodeView
from depqa_ray.results.schema import EdgeEntry, PassageEdges, PassageEntry

_COSTS: Final = {"parallelism"}
"""What differs between strategies that go by the same dependencies."""


def labels_of(entry: PassageEntry) -> dict[str, str]:
    """The short names of a passage's questions, by id."""
    return {question.id: f"Q{place}" for place, question in enumerate(entry.questions, 1)}


def size_in_words(entry: PassageEntry, dag: PassageEdges | None) -> str:
    """How large a passage is, and its dependencies where some are given."""
    parts = [counted(len(entry.questions), "question", "questions")]
    if dag is not None:
        parts += [counted(dag.depth, "layer", "layers"), counted(len(dag.edges), "dependency", "dependencies")]
    return ", ".join(parts)


def graph_views(entry: PassageEntry) -> tuple[GraphView, ...]:
    """A picture for each set of dependencies that strategies went by: mostly one, since all ask the same model."""
    labels = labels_of(entry)
    groups: dict[str, list[tuple[str, PassageEdges]]] = {}
    for strategy in entry.strategies:
        if strategy.dag is not None:
            groups.setdefault(strategy.dag.model_dump_json(exclude=_COSTS), []).append(
                (one_line(strategy.name), strategy.dag)
            )
    return tuple(_graph_view(entry, group[0][1], [name for name, _ in group], labels) for group in groups.values())


def _graph_view(entry: PassageEntry, dag: PassageEdges, names: Sequence[str], labels: Mapping[str, str]) -> GraphView:
    """The picture of the selected edges, and the table that also has the proposed and the gold ones that were not."""
    drawing = lay_out(list(labels), [_pair(edge) for edge in dag.edges])
    texts = {question.id: one_line(question.question) for question in entry.questions}
    nodes = tuple(
        NodeView(
            label=labels[box.key],
            text=texts[box.key] or "(empty)",
            title=isolated(f"{labels[box.key]}: {texts[box.key]}"),
            anchor=labels[box.key].lower(),
            box=box,
        )
        for box in drawing.boxes
    )
    edges = tuple(_edge_view(edge, labels, drawing, standing) for edge, standing in _standings(entry, dag))
    return GraphView(drawing, nodes, edges, size_in_words(entry, dag), ", ".join(names), _origin(dag))


def _standings(entry: PassageEntry, dag: PassageEdges) -> Iterator[tuple[EdgeEntry, str]]:
    """Each edge that somebody named, with what became of it and, where that is known, whether it is right."""
    gold = {(parent, question.id) for question in entry.questions for parent in question.gold_parents or ()}
    known = any(question.gold_parents is not None for question in entry.questions)
    selected, proposed = ({_pair(edge) for edge in edges} for edges in (dag.edges, dag.proposed))
    for what, edges in (
        ("selected", dag.edges),
        ("not selected", [edge for edge in dag.proposed if _pair(edge) not in selected]),
    ):
        for edge in edges:
            right = "gold" if _pair(edge) in gold else "not gold"
            yield edge, f"{what}, {right}" if known else what
    for parent, child in sorted(gold - selected - proposed):
        missed = EdgeEntry(parent=parent, child=child, confidence=1.0, origin="gold", rationale="given by the data set")
        yield missed, "gold, not proposed"


def _pair(edge: EdgeEntry) -> tuple[str, str]:
    return edge.parent, edge.child


def _origin(dag: PassageEdges) -> str:
    """Where the edges came from, and what was left out, in a sentence or two."""
    told = {
        "model": "The model was asked for the dependencies.",
        "heuristic": "The dependencies are guessed from the questions' wording.",
        "gold": "The dependencies are those of the data set.",
        "none": "No dependencies were asked for.",
    }[dag.source]
    if dag.cached:
        told = "The model's reply of an earlier run tells the dependencies."
    if dag.fallback:
        told = f"The questions' wording decides, since the model could not be followed: {one_line(dag.fallback)}."
    if dag.dropped:
        told += f" Left out: {reasons(dag.dropped)}."
    return told


def _edge_view(edge: EdgeEntry, labels: Mapping[str, str], drawing: Drawing, standing: str) -> EdgeView:
    parent, child = labels.get(edge.parent, "?"), labels.get(edge.child, "?")
    line = next((line for line in drawing.lines if (line.parent, line.child) == (edge.parent, edge.child)), None)
    confidence, rationale = f"{edge.confidence:.2f}", one_line(edge.rationale)
    return EdgeView(
        parent=parent,
        child=child,
        origin=edge.origin,
        confidence=confidence,
        rationale=rationale,
        standing=standing,
        title=isolated(f"{child} needs {parent} ({edge.origin}, confidence {confidence}) {rationale}"),
        path=line.path if line else "",
        label_x=line.label_x if line else 0.0,
        label_y=line.label_y if line else 0.0,
    )
