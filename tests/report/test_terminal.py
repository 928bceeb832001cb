"""The figures on the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from depqa_ray.planning.strategies import STRATEGIES as ALL_STRATEGIES
from depqa_ray.report.terminal import MOST_PASSAGES, print_results
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import RunRecords
from tests.sample_run import STRATEGIES, lantern, sample_manifest, sample_records, velcarn, with_final


def printed(records: RunRecords, width: int = 80, *, terminal: bool = False, all_passages: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_results(compute_results(records), console, all_passages=all_passages)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def renamed(name: str, **step: int) -> RunRecords:
    """The sample's first strategy under another name, alone."""
    records = sample_records()
    steps = tuple(replace(item, strategy=name, **step) for item in records.steps[:8])
    finished = tuple(replace(item, strategy=name) for item in records.finished[:2])
    return replace(records, steps=steps, finished=finished)


def test_each_passage_and_the_whole_have_their_rows() -> None:
    text = printed(sample_records())

    titles = (
        "1. Velcarn (5 questions)",
        "2. The lantern (3 questions)",
        "Averages over 2 passages",
        "Totals",
        "gold edges",
        "Latency in seconds, under full load",
        "Dependencies",
        "1 too many parents",
        "Dependencies against the gold ones",
    )
    for title in titles:
        assert title in text
    figures_with_intervals = 5
    assert text.count("dependency_parallel") == len(titles) + figures_with_intervals


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("terminal", [False, True])
def test_lines_fit_into_80_columns_with_nothing_cut_or_folded(width: int, terminal: bool) -> None:
    text = printed(sample_records(), width, terminal=terminal)

    assert max(map(len, text.splitlines())) <= max(80, width)
    assert max(map(len, text.split("Note:")[0].splitlines())) <= 80
    assert "…" not in text
    for name in (*STRATEGIES, "0.733", "2.500"):
        assert name in text


@pytest.mark.parametrize("name", ALL_STRATEGIES)
def test_no_strategy_is_cut_where_figures_are_large(name: str) -> None:
    text = printed(renamed(name, prompt_tokens=1_234_567))

    assert max(map(len, text.splitlines())) <= 80
    assert name in text
    assert "0.800" in text


def test_long_name_is_cut_in_favour_of_the_figures() -> None:
    """If a strategy's name is too long, it is cut and the figures are not."""
    text = printed(renamed("a strategy with a name that is longer than anyone would want to read"))

    assert max(map(len, text.splitlines())) <= 80
    assert "a strategy with" in text
    assert "0.800" in text


def test_many_passages_are_printed_only_on_request() -> None:
    """If there are many passages, their figures are printed only if asked for."""
    many = [
        replace(velcarn(), passage=replace(velcarn().passage, id=f"v{number}", title=f"Velcarn {number}"))
        for number in range(MOST_PASSAGES + 1)
    ]
    records = sample_records(*many)

    assert "Velcarn 30" not in printed(records)
    assert f"{len(many)} passages; the figures of each are in" in printed(records)
    assert "31. Velcarn 30" in printed(records, all_passages=True)


def test_hostile_titles_become_neither_markup_nor_control() -> None:
    """If a title holds markup or controls, it is printed as text."""
    record = velcarn()
    record = replace(record, passage=replace(record.passage, title="[red]x[/red] [link=file:///]y[/link] \x1b[2J"))

    text = printed(sample_records(record), terminal=True)

    assert "[red]x[/red] [link=file:///]y[/link] ␛[2J" in text
    assert "\x1b[2J" not in text


def test_without_gold_edges_there_are_no_splits() -> None:
    assert "gold edges" not in printed(sample_records(lantern()))


def test_final_answers_have_a_block_where_there_are_some() -> None:
    text = printed(sample_records(with_final(velcarn()), with_final(lantern())))

    heads, _, *block = text[text.index("questions     EM") :].splitlines()[:6]
    assert heads.split() == ["questions", "EM", "F1"]
    assert block[0] == "Final answers"
    assert block[1].split() == ["sequential", "2", "0.000", "0.000"]
    assert block[3].split() == ["dependency_parallel", "2", "1.000", "1.000"]
    assert "Final answers" not in printed(sample_records())


def test_a_strategy_that_finished_no_final_question_has_dashes() -> None:
    records = sample_records(with_final(velcarn()))

    text = printed(replace(records, finished=records.finished[:2]))

    rows = text[text.index("Final answers") :].splitlines()
    assert rows[3].split() == ["dependency_parallel", "0", "—", "—"]


def test_empty_run_prints_empty_tables() -> None:
    """If a run is empty, its tables are printed without passages."""
    assert "Averages over 0 passages" in printed(RunRecords(sample_manifest()))


def test_title_shows_if_passages_were_not_reached() -> None:
    """If a strategy did not reach all passages, the title shows it."""
    records = sample_records()
    assert "Averages over 1 to 2 passages" in printed(replace(records, finished=records.finished[:-1]))


def test_failures_and_edge_tokens_have_columns_if_present() -> None:
    """If there are failures or tokens for edges, they have a column."""
    records = sample_records()
    edges = replace(records.steps[-1], step_id="edges", outcomes=(), generated_tokens=321)
    answered = tuple(
        replace(step, outcomes=tuple(replace(outcome, status="answered", reason="") for outcome in step.outcomes))
        for step in records.steps
    )

    assert "failed" in printed(records)
    assert "failed" not in printed(replace(records, steps=answered))
    assert "skip-" not in printed(records)
    assert "dep.\n" not in printed(records)
    assert "441" in printed(replace(records, steps=(*records.steps, edges)))


def test_simulated_figures_are_noted() -> None:
    assert "Note: The figures are simulated" in printed(sample_records())
    assert "simulated" not in printed(sample_records(engine="transformers"))


def test_unanswered_questions_are_noted_with_the_usual_reason() -> None:
    """If questions have no answer, a note gives their number and usual reason."""
    text = " ".join(printed(sample_records()).split())
    assert "Note: sequential: 2 questions without an answer, mostly because: the engine ran out of room." in text
    assert "full_batch: 2 questions without" not in text
