"""The geometry of a timeline, in pixels: a bar for each step's wait and run. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from depqa_ray.core import StepResult
from depqa_ray.report.text import counted, one_line, seconds

LABEL_WIDTH: Final = 88.0
CHART_WIDTH: Final = 560.0
NOTE_X: Final = LABEL_WIDTH + CHART_WIDTH + 16.0
WIDTH: Final = NOTE_X + 192.0
_ROW_HEIGHT: Final = 26.0
_AXIS_HEIGHT: Final = 30.0
_LEAST_BAR: Final = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A step's row: it waits from ``wait_x`` and runs from ``run_x``. ``sent`` is False if it never ran."""

    label: str
    note: str
    title: str
    sent: bool
    y: float
    wait_x: float
    wait_width: float
    run_x: float
    run_width: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A time on the axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The chart of one strategy, WIDTH wide: labels, bars, and notes from NOTE_X on."""

    height: float
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


def draw_timeline(steps: Iterable[StepResult], labels: Mapping[str, str], span: float) -> Timeline:
    """Draw the steps in the order of their dispatch, on an axis from 0 to ``span`` seconds.

    ``labels`` are the questions' short names by id. The charts of a passage share their span, so their bars compare.
    """
    scale = CHART_WIDTH / span if span > 0 else 0.0
    ordered = sorted(steps, key=lambda step: (step.batch < 0, step.dispatched, step.ready, step.step_id))
    bars = tuple(_bar(step, labels, row * _ROW_HEIGHT, scale) for row, step in enumerate(ordered))
    ticks = tuple(Tick(LABEL_WIDTH + time * scale, f"{time:g} s") for time in tick_times(span))
    return Timeline(len(bars) * _ROW_HEIGHT + _AXIS_HEIGHT, bars, ticks)


def tick_times(span: float, most: int = 6) -> list[float]:
    """Round times (1, 2 or 5 times a power of ten apart) from 0 to ``span``, at most ``most`` steps of them."""
    if span <= 0:
        return [0.0]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power * most >= span)
    return [round(index * step, 12) for index in range(int(span / step + 1e-9) + 1)]


def step_label(step: StepResult, labels: Mapping[str, str]) -> str:
    """The short names of the step's questions; "edges" for a step that asked for the dependencies."""
    names = [labels.get(outcome.question_id, "?") for outcome in step.outcomes]
    if not names:
        return "edges"
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _bar(step: StepResult, labels: Mapping[str, str], y: float, scale: float) -> Bar:
    sent = step.batch >= 0
    label = step_label(step, labels)
    wait, run = max(0.0, step.dispatched - step.ready), max(0.0, step.completed - step.dispatched)
    note = f"batch {step.batch}, {one_line(step.replica)}" if sent else "never sent"
    tokens = counted(step.generated_tokens, "token", "tokens")
    title = f"{label}: waited {seconds(wait)} s, ran {seconds(run)} s, {tokens}"
    return Bar(
        label=label,
        note=note,
        title=title if sent else f"{label}: never sent",
        sent=sent,
        y=y,
        wait_x=LABEL_WIDTH + step.ready * scale,
        wait_width=wait * scale if sent else 0.0,
        run_x=LABEL_WIDTH + step.dispatched * scale,
        run_width=max(_LEAST_BAR, run * scale) if sent else 0.0,
    )
