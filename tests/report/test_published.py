"""A published table beside a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from depqa_ray.core import Outcome, Question
from depqa_ray.report.build import index_view
from depqa_ray.report.published import published_table
from depqa_ray.report.render import render
from depqa_ray.report.terminal import result_lines
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import RunRecords
from depqa_ray.results.schema import RunResults
from depqa_ray.settings.presets import PRESETS
from tests.report.pages import read_page
from tests.sample_run import sample_records, velcarn

PRESET = "qwen3-4b-squad-1000x5"
PROTOCOL = {
    name: list(value) if isinstance(value, tuple) else value for name, value in PRESETS[PRESET].settings.items()
}
NAMES = {"sequential": "sequential_shuffled", "dependency_parallel": "sequential_ordered"}


def records_of(records: RunRecords, **settings: Any) -> RunRecords:
    """The records under the names of the preset's strategies, with these settings."""
    manifest = replace(records.manifest, settings={**records.manifest.settings, "preset": PRESET, **settings})
    steps = tuple(replace(step, strategy=NAMES.get(step.strategy, step.strategy)) for step in records.steps)
    finished = tuple(replace(item, strategy=NAMES.get(item.strategy, item.strategy)) for item in records.finished)
    return replace(records, manifest=manifest, steps=steps, finished=finished)


def results(**settings: Any) -> RunResults:
    return compute_results(records_of(sample_records(), **(PROTOCOL | settings)))


def test_rows_of_a_preset_run_are_next_to_published_ones() -> None:
    """If a run uses the preset, its figures are next to the published ones."""
    found = results()
    view = published_table(found)
    assert view is not None
    rows = {row.strategy: row.figures for row in view.rows}
    assert list(rows) == ["independent", "full_batch", "sequential_shuffled", "sequential_ordered"]
    assert rows["independent"] == ("0.636", "0.800", "1296.5", "—", "—", "—", "—", "—")
    summary = found.strategies["full_batch"]
    tokens = f"{summary.prompt_tokens + summary.generated_tokens:.1f}"
    assert rows["full_batch"][:6] == (
        "0.677", "0.838", "400.2", f"{summary.metrics.em:.3f}", f"{summary.metrics.f1:.3f}", tokens
    )  # fmt: skip
    assert "1,000 passages" in view.caption and "over 2 passages" in view.caption


def test_second_gold_answer_counts_in_the_official_score() -> None:
    """A second gold answer counts in the official score and not in that of the first gold answer."""
    record = velcarn()
    first = record.passage.questions[0]
    questions = (Question(first.id, first.text, ("Somebody", *first.answers)), *record.passage.questions[1:])
    records = sample_records(replace(record, passage=replace(record.passage, questions=questions)))
    right = Outcome(first.id, "answered", first.answers[0], True)
    steps = tuple(
        replace(step, outcomes=(right,)) if [o.question_id for o in step.outcomes] == [first.id] else step
        for step in records.steps
    )
    view = published_table(compute_results(records_of(replace(records, steps=steps))))
    assert view is not None
    (ordered,) = [row.figures for row in view.rows if row.strategy == "sequential_ordered"]
    assert (ordered[3], ordered[6]) == ("1.000", "0.800")


def test_edge_tokens_count_for_strategies_that_use_edges() -> None:
    """If the model is asked for edges, the tokens count for the strategies that use them."""
    records = records_of(sample_records())
    asked = tuple(
        replace(step, step_id="edges", outcomes=(), prompt_tokens=1000, generated_tokens=0)
        for step in records.steps
        if step.step_id == "velcarn-q1" and step.strategy == "sequential_ordered"
    )
    plain, dear = (
        published_table(compute_results(found)) for found in (records, replace(records, steps=(*records.steps, *asked)))
    )
    assert plain is not None and dear is not None
    tokens = [{row.strategy: row.figures[5] for row in view.rows} for view in (plain, dear)]
    assert tokens[0]["full_batch"] == tokens[1]["full_batch"]
    assert tokens[0]["sequential_shuffled"] == tokens[1]["sequential_shuffled"]
    assert float(tokens[1]["sequential_ordered"]) == float(tokens[0]["sequential_ordered"]) + 500


def notes(**settings: Any) -> str:
    view = published_table(results(**settings))
    assert view is not None
    return "\n".join(view.notes)


def test_protocol_settings_are_noted_as_such() -> None:
    """If the settings are those of the protocol, the notes say so."""
    assert notes(strategies=PROTOCOL["strategies"][::-1]).startswith("All settings of the run are those of the")


@pytest.mark.parametrize("name", PROTOCOL)
def test_changed_protocol_setting_is_noted_alone(name: str) -> None:
    """If a setting of the protocol was changed, the notes name it and no other."""
    text = notes(**{name: 7}).splitlines()[0]
    flag = "--" + name.replace("_", "-")
    assert text.startswith(f"This run is not the published protocol: {flag} 7 instead of ")
    assert ";" not in text


@pytest.mark.parametrize("named", [None, "another", 5])
def test_no_table_without_a_known_preset(named: object) -> None:
    """If a run names no known preset, there is no table."""
    found = results(preset=named)
    assert published_table(found) is None
    assert "ublished" not in render(index_view(found)) + "\n".join(result_lines(found))


def test_no_table_without_any_published_strategy() -> None:
    """If a run has none of the published strategies, there is no table."""
    records = sample_records()
    manifest = replace(records.manifest, settings={"preset": PRESET})
    steps = tuple(replace(step, strategy="dependency_layered") for step in records.steps[:5])
    assert published_table(compute_results(replace(records, manifest=manifest, steps=steps, finished=()))) is None


def test_the_lines_on_the_terminal_fit_into_80_columns() -> None:
    lines = list(result_lines(results(model_name="m" * 70)))
    start = next(place for place, line in enumerate(lines) if line.startswith("Published over"))
    assert max(map(len, lines[start:])) <= 80
    assert any(line.startswith("  sequential_shuffled") and "1113.1" in line for line in lines[start:])


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "{{ 7 * 7 }}", "\x1b[31m", "a\nb"])
def test_hostile_setting_becomes_neither_markup_nor_control(hostile: str) -> None:
    """If a setting holds markup or controls, it is shown as text."""
    found = results(model_name=hostile)
    html = render(index_view(found))
    page = read_page(html)
    assert not page.all("script") and "--model-name 49" not in page.text and "\x1b" not in html
    assert "--model-name " in page.text
    assert "\x1b" not in "".join(result_lines(found)) and all("\n" not in line for line in result_lines(found))


@pytest.mark.parametrize(
    ("setting", "value", "text"),
    [
        ("no_llm_deps", True, "--no-llm-deps True instead of False"),
        ("deps_model", "big", "--deps-model big instead of none"),
        ("engine", "simulated", "--engine simulated instead of shared_prefix"),
        ("top_p", 0.1, "--top-p 0.1 instead of 1.0"),
        ("stop", ["x"], "--stop x instead of"),
        ("min_confidence", 1.0, "--min-confidence 1.0 instead of 0.45"),
        ("context_count", 3, "--context-count 3 instead of 1000"),
    ],
)
def test_changed_answer_affecting_setting_is_noted(setting: str, value: Any, text: str) -> None:
    """If any setting that affects answers was changed, the notes say so."""
    plain, changed = published_table(results()), published_table(results(**{setting: value}))
    assert plain is not None and changed is not None
    assert "All settings of the run are those of the published protocol." in plain.notes
    assert text in changed.notes[0]
