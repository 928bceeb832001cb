"""The geometry of a small dependency graph, in pixels: its layers from left to right. Pure.

A line that passes a layer gets a lane of its own there, so that no line runs behind a box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from depqa_ray.core import Edge
from depqa_ray.edges.graph import DependencyGraph

BOX_WIDTH: Final = 200.0
BOX_HEIGHT: Final = 64.0
_LANE_HEIGHT: Final = 12.0
_GAP_X: Final = 100.0
_GAP_Y: Final = 20.0
_MARGIN: Final = 8.0


@dataclass(frozen=True, slots=True)
class Box:
    """A node's box, with its upper left corner."""

    key: str
    layer: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """An edge as an SVG path. ``label_x`` and ``label_y`` are the middle of its last segment."""

    parent: str
    child: str
    path: str
    label_x: float
    label_y: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """The boxes and lines, and the size of the whole."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class _Slot:
    """A position in a layer: a node's, or the lane of an edge (by its number) to a later layer."""

    layer: int
    key: str | None
    edge: int = -1

    @property
    def height(self) -> float:
        return _LANE_HEIGHT if self.key is None else BOX_HEIGHT


def lay_out(keys: Sequence[str], edges: Sequence[tuple[str, str]]) -> Drawing:
    """Lay out the nodes ``keys`` and the (parent, child) ``edges``; edges to unknown nodes or loops are left out.

    Raises ValueError if the edges form a cycle.
    """
    known = [edge for edge in dict.fromkeys(edges) if edge[0] in keys and edge[1] in keys and edge[0] != edge[1]]
    graph = DependencyGraph(keys, [Edge(parent, child) for parent, child in known])
    layers = {key: depth for depth, layer in enumerate(graph.layers()) for key in layer}
    columns = _ordered_columns(keys, known, layers)
    height = max((_column_height(column) for column in columns), default=0.0)
    tops = {slot: y for column in columns for slot, y in _stack(column, height)}
    boxes = {key: Box(key, layers[key], _left(layers[key]), tops[_Slot(layers[key], key)]) for key in keys}
    lines = tuple(_line(number, boxes[parent], boxes[child], tops) for number, (parent, child) in enumerate(known))
    width = max(len(columns), 1) * (BOX_WIDTH + _GAP_X) - _GAP_X + 2 * _MARGIN
    return Drawing(width, height + 2 * _MARGIN, tuple(boxes.values()), lines)


def _ordered_columns(
    keys: Sequence[str], edges: Sequence[tuple[str, str]], layers: dict[str, int]
) -> list[list[_Slot]]:
    """The layers' slots from top to bottom, each near the mean position of its predecessors."""
    before: dict[_Slot, list[_Slot]] = {_Slot(layers[key], key): [] for key in keys}
    for number, (parent, child) in enumerate(edges):
        previous = _Slot(layers[parent], parent)
        for layer in range(layers[parent] + 1, layers[child]):
            lane = _Slot(layer, None, number)
            before[lane] = [previous]
            previous = lane
        before[_Slot(layers[child], child)].append(previous)
    columns: list[list[_Slot]] = [[] for _ in range(1 + max(layers.values(), default=-1))]
    for slot in before:
        columns[slot.layer].append(slot)
    places: dict[_Slot, float] = {}
    for column in columns:
        rank = {slot: _mean_place(before[slot], places, default) for default, slot in enumerate(column)}
        column.sort(key=rank.__getitem__)
        # Positions are fractions of their column, so that short and long columns compare.
        places.update({slot: (place + 0.5) / len(column) for place, slot in enumerate(column)})
    return columns


def _mean_place(before: list[_Slot], places: dict[_Slot, float], default: int) -> float:
    found = [places[slot] for slot in before if slot in places]
    return sum(found) / len(found) if found else float(default)


def _column_height(column: list[_Slot]) -> float:
    return sum(slot.height for slot in column) + _GAP_Y * max(0, len(column) - 1)


def _stack(column: list[_Slot], height: float) -> Iterator[tuple[_Slot, float]]:
    """The slots with their upper edges, the column centered in ``height``."""
    y = _MARGIN + (height - _column_height(column)) / 2
    for slot in column:
        yield slot, y
        y += slot.height + _GAP_Y


def _left(layer: int) -> float:
    return _MARGIN + layer * (BOX_WIDTH + _GAP_X)


def _line(number: int, parent: Box, child: Box, tops: dict[_Slot, float]) -> Line:
    """A smooth line from the parent's right side to the child's left side, along its lanes."""
    x, y = parent.x + BOX_WIDTH, parent.y + BOX_HEIGHT / 2
    path = f"M{x:g},{y:g}"
    for layer in range(parent.layer + 1, child.layer):
        lane_x, lane_y = _left(layer), tops[_Slot(layer, None, number)] + _LANE_HEIGHT / 2
        path += _curve(x, y, lane_x, lane_y) + f"H{lane_x + BOX_WIDTH:g}"
        x, y = lane_x + BOX_WIDTH, lane_y
    end_x, end_y = child.x, child.y + BOX_HEIGHT / 2
    return Line(parent.key, child.key, path + _curve(x, y, end_x, end_y), (x + end_x) / 2, (y + end_y) / 2)


def _curve(x: float, y: float, end_x: float, end_y: float) -> str:
    middle = (x + end_x) / 2
    return f"C{middle:g},{y:g} {middle:g},{end_y:g} {end_x:g},{end_y:g}"
