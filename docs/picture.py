"""Draws docs/picture.svg from a run: a passage's dependencies, and when each strategy answered which question.

depqa-ray demo --run-dir demo && python docs/picture.py demo/results.json world-2026-4 > docs/picture.svg
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from depqa_ray.core import Edge
from depqa_ray.edges.graph import DependencyGraph
from depqa_ray.results.schema import PassageEntry, PassageStrategy, RunResults

STRATEGIES = ("sequential", "full_batch", "independent", "dependency_parallel")
WIDTH, LEFT, SCALE_WIDTH, BAR, GAP = 860, 168, 560, 13, 14
BOX_WIDTH, BOX_HEIGHT = 220, 50
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .small { font-size: 11px; fill: #57606a }
.title { font-weight: 600 } .card { fill: #ffffff; stroke: #d0d7de } .box { fill: #f1f5f9; stroke: #64748b }
.arrow { fill: none; stroke: #64748b; stroke-width: 1.5 } .head { fill: #64748b } .grid { stroke: #d0d7de }
.right { fill: #86c99a } .wrong { fill: #f2a28f } .edges { fill: #c3ccd6 } .bar { font-size: 10px; fill: #1f2328 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9aa4af } .card { fill: #161b22; stroke: #30363d }
  .box { fill: #21262d; stroke: #8b949e } .arrow { stroke: #8b949e } .head { fill: #8b949e } .grid { stroke: #30363d }
}
"""


def picture(entry: PassageEntry) -> str:
    """The whole picture as SVG."""
    runs = [run for run in entry.strategies if run.name in STRATEGIES]
    graph = list(graph_parts(entry, next(run for run in runs if run.dag is not None)))
    bars, height = timelines(runs, 172)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>A passage's dependencies and the course of four strategies</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        *graph,
        *bars,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def graph_parts(entry: PassageEntry, run: PassageStrategy) -> Iterator[str]:
    """The questions as boxes, a column for each layer, and an arrow for each selected edge."""
    pairs = [(edge.parent, edge.child) for edge in run.dag.edges] if run.dag else []
    layers = DependencyGraph([question.id for question in entry.questions], [Edge(*pair) for pair in pairs]).layers()
    rows = max(map(len, layers))
    places = {
        id_: (20 + column * (BOX_WIDTH + 72), 40 + (row + (rows - len(layer)) / 2) * (BOX_HEIGHT + 12))
        for column, layer in enumerate(layers)
        for row, id_ in enumerate(layer)
    }
    yield text(20, 26, "Five questions about a passage; an arrow leads to a question that needs the answer", "title")
    for number, question in enumerate(entry.questions, 1):
        x, y = places[question.id]
        yield f'<rect class="box" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
        for line, part in enumerate(textwrap.wrap(f"Q{number} {question.question}", 30)):
            yield text(x + 10, y + 21 + 16 * line, part)
    for parent, child in pairs:
        (x, y), (x2, y2) = places[parent], places[child]
        x, y, y2 = x + BOX_WIDTH, y + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2
        middle = (x + x2) / 2
        yield f'<path class="arrow" d="M{x} {y}C{middle} {y} {middle} {y2} {x2 - 8} {y2}"/>'
        yield f'<path class="head" d="M{x2} {y2}l-9 -4v8z"/>'


def timelines(runs: Sequence[PassageStrategy], top: float) -> tuple[list[str], int]:
    """A bar for each step, by strategy, on one scale; and the height that this ends at."""
    longest = max(run.latency for run in runs)
    scale = SCALE_WIDTH / longest
    parts = [text(20, top + 14, "When each strategy answered: one bar a question, from sending to reply", "title")]
    y = top + 30
    marks = []
    for run in runs:
        bars = list(bars_of(run))
        right = sum(question.em == 1 for question in run.questions)
        parts.append(text(20, y + 11, run.name))
        parts.append(text(LEFT + run.latency * scale + 8, y + 11 + (len(bars) - 1) * (BAR + 2), f"{right} of 5 right"))
        for label, start, end, kind in bars:
            x, width = LEFT + start * scale, (end - start) * scale
            parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>')
            parts.append(text(x + 4, y + 10, label, "bar"))
            y += BAR + 2
        y += GAP
    step = 0.05 if longest < 0.5 else 0.2
    for count in range(int(longest / step) + 1):
        x = LEFT + count * step * scale
        marks.append(f'<path class="grid" d="M{x:.1f} {top + 24}V{y - 4}"/>')
        parts.append(text(x, y + 10, f"{count * step:.2f} s", "small"))
    return [*marks, *parts], int(y + 24)


def bars_of(run: PassageStrategy) -> Iterator[tuple[str, float, float, str]]:
    """Label, start, end and kind of each step of a strategy."""
    if run.dep_latency:
        yield "asks the model which question needs which", 0.0, run.dep_latency, "edges"
    steps: dict[str, list[int]] = {}
    for number, question in enumerate(run.questions):
        steps.setdefault(question.step, []).append(number)
    for numbers in steps.values():
        asked = [run.questions[number] for number in numbers]
        label = f"Q{numbers[0] + 1}" + (f" to Q{numbers[-1] + 1}" if len(numbers) > 1 else "")
        kind = "right" if all(question.em == 1 for question in asked) else "wrong"
        label += " wrong" if kind == "wrong" else ""
        yield label, asked[0].dispatched or 0.0, asked[0].completed or 0.0, kind


def text(x: float, y: float, content: str, kind: str = "") -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(content)}</text>'


if __name__ == "__main__":
    results = RunResults.model_validate_json(Path(sys.argv[1]).read_text("utf-8"))
    print(picture(next(entry for entry in results.passages if entry.id == sys.argv[2])), end="")
