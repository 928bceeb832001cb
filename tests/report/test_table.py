"""The tables on the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from depqa_ray.report.table import print_results
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import RunRecords
from tests.sample_run import STRATEGIES, lantern, sample_manifest, sample_records, velcarn


def printed(records: RunRecords, width: int = 80, *, terminal: bool = False, passages: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_results(compute_results(records), console, passages=passages)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_passage_and_the_whole_have_a_table() -> None:
    text = printed(sample_records())

    for title in ("1. Velcarn", "2. The lantern", "All passages: averages", "All passages: totals", "gold edges"):
        assert title in text


def test_tables_fit_into_80_columns_with_nothing_cut() -> None:
    text = printed(sample_records())

    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for name in (*STRATEGIES, "0.733", "2.500"):
        assert name in text


@pytest.mark.parametrize("name", ["dependency_layered", "a strategy with quite a long name"])
def test_long_strategy_names_still_fit(name: str) -> None:
    records = sample_records()
    steps = tuple(replace(step, strategy=name, prompt_tokens=1_234_567) for step in records.steps[:8])
    finished = tuple(replace(item, strategy=name) for item in records.finished[:2])

    text = printed(replace(records, steps=steps, finished=finished))

    assert max(map(len, text.splitlines())) <= 80
    assert "0.800" in text


def test_passages_can_be_left_out() -> None:
    assert "Velcarn" not in printed(sample_records(), passages=False)


def test_titles_are_neither_markup_nor_control() -> None:
    record = velcarn()
    record = replace(record, passage=replace(record.passage, title="[red]x[/red] [link=file:///]y[/link] \x1b[2J"))

    text = printed(sample_records(record), terminal=True)

    assert "[red]x[/red] [link=file:///]y[/link] ␛[2J" in text
    assert "\x1b[2J" not in text


def test_without_gold_edges_there_is_no_table_of_splits() -> None:
    assert "gold edges" not in printed(sample_records(lantern()))


def test_an_empty_run_prints_empty_tables() -> None:
    assert "All passages: averages" in printed(RunRecords(sample_manifest()))


def test_edge_tokens_have_a_column_where_there_are_some() -> None:
    records = sample_records()
    edges = replace(records.steps[-1], step_id="edges", outcomes=(), generated_tokens=321)

    assert "edge" not in printed(records, passages=False).replace("gold edges", "")
    assert "441" in printed(replace(records, steps=(*records.steps, edges)))


def test_simulated_figures_are_noted() -> None:
    assert "Note: The figures are simulated" in printed(sample_records())
    assert "Note:" not in printed(sample_records(engine="transformers"))
