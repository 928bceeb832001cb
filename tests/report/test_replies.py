"""Terminal and pages show how replies ended, wherever that is not as it should be, and nothing that is not known."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from depqa_ray.core import StepResult
from depqa_ray.planning.strategies import STRATEGIES as ALL_STRATEGIES
from depqa_ray.report.build import index_view, page_views
from depqa_ray.report.endings import ending_text, notable_ending
from depqa_ray.report.render import render
from depqa_ray.report.terminal import print_results
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import RunRecords
from tests.report.pages import Element, Page, read_page
from tests.sample_run import STRATEGIES, sample_records

FAULTY: dict[str, dict[str, Any]] = {
    "cut": {"finish_reason": "length"},
    "empty": {"finish_reason": "eos", "reply_fault": "empty"},
    "only": {"finish_reason": "eos", "reply_fault": "thoughts_only"},
    "no": {"finish_reason": "stop", "reply_fault": "no_json"},
    "refused": {"finish_reason": "refused", "text": "", "generated_tokens": 0},
}


def ended(strategy: str = "", **fields: Any) -> RunRecords:
    """The sample, in which the steps of one strategy, or of all, ended in another way."""
    records = sample_records()
    steps = tuple(replace(step, **fields) if strategy in ("", step.strategy) else step for step in records.steps)
    return replace(records, steps=steps)


def printed(records: RunRecords) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    print_results(compute_results(records), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def pages(records: RunRecords) -> list[Page]:
    results = compute_results(records)
    return [read_page(render(view)) for view in (index_view(results), *page_views(results, records))]


def row(text: str, title: str, strategy: str) -> list[str]:
    """The figures of a strategy in the terminal's block under that title."""
    block = text[text.index(f"\n{title}\n") :].splitlines()[2:]
    return next(line.split()[1:] for line in block if line.split()[:1] == [strategy])


def cells(page: Page, caption: str, strategy: str) -> list[str]:
    """The figures of a strategy in the page's table with that caption."""
    (table,) = [place for place, e in enumerate(page.elements) if e.tag == "caption" and caption in e.text]
    rows = [place for place, e in enumerate(page.elements) if e.tag == "tr" and place > table]
    start = next(place for place in rows if page.elements[place].text.startswith(strategy))
    found: list[Element] = []
    for element in page.elements[start + 1 :]:
        if element.tag == "tr":
            break
        found.append(element)
    return [element.text for element in found if element.tag == "td"]


def notes(page: Page) -> list[str]:
    return [element.text for element in page.all("p") if element.attributes.get("role") == "note"]


def test_terminal_says_nothing_of_replies_that_ended_well() -> None:
    text = printed(sample_records())
    assert "Replies" not in text and "cut" not in text and "--max-new-tokens" not in text


@pytest.mark.parametrize("column", FAULTY)
def test_a_count_is_shown_wherever_it_is_not_zero(column: str) -> None:
    """If one strategy has a fault, its column is printed, and the columns of the others are not."""
    text = printed(ended("full_batch", **FAULTY[column]))
    heads = text[: text.index("\nReplies\n")].rsplit("\n\n", 1)[1].split()
    shown = [name for name in FAULTY if name in heads]
    assert shown == [column]
    assert row(text, "Replies", "full_batch") == (["0", "2"] if column == "refused" else ["2", "2"])
    assert row(text, "Replies", "dependency_parallel") == ["8", "0"]


def test_answers_from_cut_replies_stand_beside_the_answered() -> None:
    """If replies were cut, the totals show how many of the answers come from them."""
    text = printed(ended("full_batch", finish_reason="length"))
    assert row(text, "Totals", "full_batch")[:2] == ["8", "8"]
    assert row(text, "Totals", "sequential")[:2] == ["6", "0"]
    assert text.index("answered") < text.index("cut") < text.index("Totals")
    index = pages(ended("full_batch", finish_reason="length"))[0]
    assert cells(index, "Over all finished passages", "full_batch")[2:4] == ["8", "8"]


@pytest.mark.parametrize("name", ALL_STRATEGIES)
def test_figures_stay_whole_with_all_columns(name: str) -> None:
    """If every column is there and numbers are large, lines fit into 80 columns and no figure is cut."""
    records = sample_records()
    steps = tuple(
        replace(step, strategy=name, prompt_tokens=123_456, **fields)
        for step, fields in zip(records.steps[:5], FAULTY.values(), strict=True)
    )
    finished = tuple(replace(item, strategy=name) for item in records.finished[:2])
    text = printed(replace(records, steps=steps, finished=finished))
    assert max(map(len, text.splitlines())) <= 80
    assert row(text, "Replies", name) == ["4", "1", "1", "1", "1", "1"]
    assert "617280" in text


def test_advice_is_the_last_that_the_terminal_says() -> None:
    text = printed(ended(finish_reason="length"))
    last = " ".join(text[text.rindex("Note:") :].split())
    assert last == "Note: 100 % of the replies (18 of 18) were cut off at --max-new-tokens 48: raise it."


def test_advice_is_the_same_on_all_pages_and_in_the_results() -> None:
    records = ended("sequential", finish_reason="length")
    (line,) = compute_results(records).advice
    assert line.startswith("sequential: ")
    for page in pages(records):
        assert any(line in note for note in notes(page))


def test_index_shows_all_counts() -> None:
    """The index has every count of every strategy, zeros included."""
    index = pages(ended("full_batch", finish_reason="length", reply_fault="no_json"))[0]
    assert cells(index, "Replies to all prompts", "full_batch") == ["2", "2", "0", "0", "2", "0", "0"]
    assert cells(index, "Replies to all prompts", "sequential") == ["8", "0", "0", "0", "0", "0", "0"]


def test_a_passage_shows_its_counts_and_how_each_answer_ended() -> None:
    """If a reply did not end as usual, the passage's page has the counts, and each answer says it."""
    page = pages(ended("full_batch", finish_reason="length", reply_fault="no_json"))[1]
    assert cells(page, "Replies to all prompts", "full_batch")[:2] == ["1", "1"]
    endings = [e.text for e in page.all("p") if "ending" in e.attributes.get("class", "").split()]
    assert len(endings) == 5 and all("cut off, no JSON asked for" in text for text in endings)
    assert "JSON closed" in page.text  # in the tables of steps
    ordinary = pages(sample_records())[1]
    assert "Replies to all prompts" not in ordinary.text and not [
        e for e in ordinary.all("p") if "ending" in e.attributes.get("class", "")
    ]


def test_given_an_earlier_version_nothing_is_said_of_cut_replies() -> None:
    """If the run did not record how replies ended, dashes stand for the counts, and a note says so."""
    records = ended(finish_reason="")
    text = printed(records)
    assert "cut" not in text and "Replies" not in text
    assert "Note: How 18 of 18 replies ended is unknown" in text
    index, *others = pages(records)
    for strategy in STRATEGIES:
        *counts, unrecorded = cells(index, "Replies to all prompts", strategy)
        assert set(counts) == {"—"} and unrecorded in ("2", "8")
        assert cells(index, "Over all finished passages", strategy)[3] == "—"
    assert "cut off" not in others[0].text and "no JSON asked for" not in others[0].text


def test_given_that_some_ends_are_unknown_the_known_are_shown() -> None:
    records = ended("sequential", finish_reason="")
    cut = replace(records, steps=(*records.steps[:-1], replace(records.steps[-1], finish_reason="length")))
    text = printed(cut)
    assert row(text, "Replies", "sequential") == ["—", "—", "8"]
    assert row(text, "Replies", "dependency_parallel") == ["8", "1", "0"]
    assert "How 8 of 18 replies ended is unknown" in " ".join(text.split())


def test_reason_of_a_refusal_is_text_on_every_page() -> None:
    """If the reason of a refusal holds markup or controls, it is shown as text; it is told once."""
    hostile = "<script>alert(1)</script> & \x1b[31m"
    records = sample_records()
    first = records.steps[0]
    outcomes = (replace(first.outcomes[0], status="failed", reason=hostile),)
    refused = replace(first, outcomes=outcomes, **FAULTY["refused"])
    records = replace(records, steps=(refused, *records.steps[1:]))
    for page in pages(records):
        assert not page.all("script")
        (note,) = [text for text in notes(page) if "refused: " in text]
        assert "sequential: 12 % of the prompts (1 of 8) were refused: <script>alert(1)</script> & ␛[31m." in note
    assert "prompt refused" in pages(records)[1].text
    assert "\x1b" not in printed(records)


def test_questions_without_answers_name_refused_prompts() -> None:
    """If most questions without an answer were refused, their note says so and leaves the reason to the advice."""
    records = sample_records()
    failed = [step for step in records.steps if step.outcomes[0].status == "failed"]
    steps = tuple(replace(step, **FAULTY["refused"]) if step in failed else step for step in records.steps)
    text = " ".join(printed(replace(records, steps=steps)).split())
    assert "sequential: 2 questions without an answer, mostly because: their prompts were refused." in text
    assert "sequential: 25 % of the prompts (2 of 8) were refused: the engine ran out of room." in text


@pytest.mark.parametrize(
    ("fields", "whole", "notable"),
    [
        ({"finish_reason": "json"}, "JSON closed", ""),
        ({"finish_reason": "eos"}, "end token", ""),
        ({"finish_reason": "stop"}, "stop text", ""),
        ({"finish_reason": "length"}, "cut off", "cut off"),
        (
            {"finish_reason": "length", "reply_fault": "thoughts_only"},
            "cut off, only thoughts",
            "cut off, only thoughts",
        ),
        ({"finish_reason": "eos", "reply_fault": "empty"}, "end token, empty reply", "empty reply"),
        ({"finish_reason": "refused"}, "prompt refused", "prompt refused"),
        ({}, "—", ""),
    ],
)
def test_words_for_how_a_reply_ended(fields: dict[str, Any], whole: str, notable: str) -> None:
    step = StepResult("s", "p", "q", (), **fields)
    assert (ending_text(step), notable_ending(step)) == (whole, notable)
