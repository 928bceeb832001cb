"""The intervals on the terminal and on the page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from depqa_ray.report.build import index_view
from depqa_ray.report.intervals import intervals_view
from depqa_ray.report.render import render
from depqa_ray.report.terminal import interval_lines
from depqa_ray.report.text import score, seconds, signed
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import RunRecords
from tests.report.pages import read_page
from tests.sample_run import STRATEGIES, lantern, sample_records


def table(records: RunRecords) -> str:
    view = intervals_view(compute_results(records))
    assert view is not None
    return "\n".join(interval_lines(view))


def page(records: RunRecords) -> str:
    return " ".join(read_page(render(index_view(compute_results(records)))).text.split())


def alone(records: RunRecords) -> RunRecords:
    """The run of the first strategy only."""
    steps = tuple(step for step in records.steps if step.strategy == STRATEGIES[0])
    finished = tuple(item for item in records.finished if item.strategy == STRATEGIES[0])
    return replace(records, steps=steps, finished=finished)


@pytest.mark.parametrize("shown", [table, page])
def test_averages_differences_and_marks_are_shown(shown: object) -> None:
    """If there are several strategies, averages, differences and marks are shown."""
    text = " ".join(shown(sample_records()).split())  # type: ignore[operator]

    for part in (
        "Differences to sequential, 95 % intervals over 2 passages, 10,000 resamples",
        "[0.667, 0.800]",
        "[-0.333, -0.200]",
        "[-6.0, +22.0]",
        "* marks a difference whose interval excludes zero.",
        "the passages were drawn again",
        "fewer than 20 passages",
    ):
        assert part in text


def test_difference_is_marked_if_its_interval_excludes_zero() -> None:
    """If the interval of a difference excludes zero, the difference is marked."""
    lines = [line for line in table(sample_records()).splitlines() if "full_batch" in line]

    assert [line.endswith("] *") for line in lines] == [True, True, True, False, True]
    assert all(line.rstrip().endswith("—") for line in table(sample_records()).splitlines() if "  sequential" in line)


@pytest.mark.parametrize("factor", [1, 1000])
def test_large_figures_fit_into_80_columns(factor: int) -> None:
    """If figures are large, lines fit into 80 columns and nothing is cut."""
    records = sample_records()
    steps = tuple(replace(step, prompt_tokens=step.prompt_tokens * factor) for step in records.steps)

    text = table(replace(records, steps=steps))

    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_one_strategy_shows_only_its_own_intervals() -> None:
    """If there is one strategy, only its own intervals are shown."""
    text = table(alone(sample_records()))

    assert "[0.667, 0.800]" in text
    for absent in ("ifference", "*", "baseline"):
        assert absent not in text
    assert "Differences" not in page(alone(sample_records()))
    assert "[0.667, 0.800]" in page(alone(sample_records()))


def test_one_passage_gives_differences_without_intervals() -> None:
    """If there is one passage, differences have no intervals, and a single strategy shows nothing."""
    text = table(sample_records(lantern()))

    assert "[" not in text and "-0.333" in text and "over 1 passage," in text
    assert intervals_view(compute_results(alone(sample_records(lantern())))) is None
    assert "resamples" not in page(alone(sample_records(lantern())))


def test_note_says_which_passages_are_compared() -> None:
    """If a strategy did not reach all passages, a note says which ones are compared."""
    records = sample_records()
    cut = replace(records, finished=records.finished[1:])

    assert "over the passages that both strategies finished" in " ".join(table(cut).split())
    assert "both strategies finished" not in table(records)


def test_hostile_strategy_name_is_shown_as_text() -> None:
    """If a strategy's name holds markup or controls, it is shown as text."""
    records = sample_records()
    name = "<b>x</b>\x1b[2J"
    steps = tuple(replace(s, strategy=name) if s.strategy == "sequential" else s for s in records.steps)
    finished = tuple(replace(f, strategy=name) if f.strategy == "sequential" else f for f in records.finished)
    labels = replace(records.manifest.labels, strategies=(name, *STRATEGIES[1:]))
    records = replace(records, steps=steps, finished=finished, manifest=replace(records.manifest, labels=labels))

    html = render(index_view(compute_results(records)))

    assert "Differences to <b>x</b>␛[2J" in read_page(html).text
    assert "<b>x" not in html
    assert "\x1b" not in table(records)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [(0.25, score, "+0.250"), (-0.25, score, "-0.250"), (-0.0001, score, "0.000"), (-0.0712, seconds, "-0.0712")],
)
def test_differences_have_signs_unless_they_round_to_zero(value: float, form: object, text: str) -> None:
    assert signed(value, form) == text  # type: ignore[arg-type]
