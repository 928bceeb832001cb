"""The bars of a timeline and the times on its axis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Outcome, StepResult
from depqa_ray.report.svg.timeline import CHART_WIDTH, LABEL_WIDTH, draw_timeline, step_label, tick_times

LABELS = {"a": "Q1", "b": "Q2"}


def step(**fields: object) -> StepResult:
    given = {"outcomes": (Outcome("a", "answered"),), "batch": 0, "replica": "r0"} | fields
    return StepResult("s", "p", "x", **given)  # type: ignore[arg-type]


@given(st.floats(1e-6, 1e6))
def test_ticks_are_few_and_within_the_axis(span: float) -> None:
    times = tick_times(span)

    assert times[0] == 0.0
    assert 2 <= len(times) <= 7
    assert all(0 <= time <= span * (1 + 1e-6) for time in times)


def test_an_axis_without_length_has_one_tick() -> None:
    assert tick_times(0.0) == [0.0]


def test_bars_are_placed_by_their_times() -> None:
    """The bars of a timeline are placed by their times."""
    chart = draw_timeline([step(ready=1.0, dispatched=2.0, completed=4.0)], LABELS, 4.0)

    bar = chart.bars[0]
    assert bar.wait_x == LABEL_WIDTH + CHART_WIDTH / 4
    assert (bar.wait_width, bar.run_width) == (CHART_WIDTH / 4, CHART_WIDTH / 2)
    assert bar.note == "batch 0, r0"


def test_unsent_step_has_no_bar_but_a_note() -> None:
    """If a step was never sent, it has no bar but a note."""
    bar = draw_timeline([step(batch=-1)], LABELS, 1.0).bars[0]

    assert not bar.sent
    assert (bar.run_width, bar.note) == (0.0, "never sent")


@pytest.mark.parametrize(
    ("questions", "label"), [([], "edges"), (["b"], "Q2"), (["a", "b"], "Q1 to Q2"), (["ghost"], "?")]
)
def test_steps_are_named_by_their_questions(questions: list[str], label: str) -> None:
    outcomes = tuple(Outcome(id_, "answered") for id_ in questions)

    assert step_label(step(outcomes=outcomes), LABELS) == label
