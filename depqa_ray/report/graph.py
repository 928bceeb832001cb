"""A passage's dependencies as a picture and a table."""

from __future__ import annotations

from collections.abc import Mapping

from depqa_ray.models import Edge
from depqa_ray.report.layout import Drawing, lay_out
from depqa_ray.report.text import counted, isolated, one_line
from depqa_ray.report.view import EdgeView, GraphView, NodeView
from depqa_ray.results.records import PassageRecord


def graph_view(record: PassageRecord, labels: Mapping[str, str]) -> GraphView:
    """The picture of the selected edges, and the table that also has the gold edges that were not selected."""
    passage = record.passage
    drawing = lay_out(list(labels), [(edge.parent, edge.child) for edge in record.edges])
    texts = {question.id: one_line(question.text) for question in passage.questions}
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
    selected = {(edge.parent, edge.child) for edge in record.edges}
    missed = [edge for edge in passage.gold_edges or () if (edge.parent, edge.child) not in selected]
    edges = [_edge_view(edge, labels, drawing, _standing(edge, record)) for edge in record.edges]
    edges += [_edge_view(edge, labels, drawing, "gold, not selected") for edge in missed]
    layers = 1 + max((box.layer for box in drawing.boxes), default=-1)
    summary = ", ".join(
        (
            counted(len(nodes), "question", "questions"),
            counted(layers, "layer", "layers"),
            counted(len(record.edges), "dependency", "dependencies"),
        )
    )
    return GraphView(drawing, nodes, tuple(edges), summary)


def _edge_view(edge: Edge, labels: Mapping[str, str], drawing: Drawing, standing: str) -> EdgeView:
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


def _standing(edge: Edge, record: PassageRecord) -> str:
    gold = record.passage.gold_edges
    if gold is None:
        return "selected"
    agreed = any((edge.parent, edge.child) == (true.parent, true.child) for true in gold)
    return "selected, gold" if agreed else "selected, not gold"
