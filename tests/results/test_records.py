"""Records to lines and back, for any text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Edge, Outcome, Passage, Question, StepResult
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.passages.base import BadRow
from depqa_ray.passages.sampling import SampleCounts
from depqa_ray.results.records import (
    EdgeRecord,
    PassageRecord,
    PassageResult,
    Record,
    Resumption,
    SampleRecord,
    from_object,
    to_line,
)

# Lone surrogates and control characters too: a JSON file with escapes can bring them in.
TEXT = st.text(st.characters(), max_size=20)
TIME = st.floats(0, 1e9)
COUNT = st.integers(-1, 10**9)
EDGES = st.lists(
    st.builds(Edge, TEXT, TEXT, st.floats(0, 1), TEXT, st.sampled_from(["gold", "heuristic", "model"])), max_size=3
).map(tuple)
SLOTS = st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple)
QUESTIONS = st.lists(
    st.builds(Question, TEXT, TEXT, st.lists(TEXT, max_size=3).map(tuple), SLOTS, st.booleans()), max_size=3
).map(tuple)
PASSAGES = st.builds(Passage, TEXT, TEXT, TEXT, QUESTIONS, st.none() | EDGES)
OUTCOMES = st.builds(Outcome, TEXT, st.sampled_from(["answered", "failed", "skipped"]), TEXT, st.booleans(), TEXT)
STEPS = st.builds(
    StepResult, TEXT, TEXT, TEXT, st.lists(OUTCOMES, max_size=3).map(tuple), TEXT, COUNT, COUNT, TIME, TIME, TIME, TIME,
    TEXT, COUNT, COUNT,
)  # fmt: skip
CHOSEN = st.builds(
    EdgeSelection, st.sampled_from(["model", "gold", "heuristic", "none"]), EDGES, EDGES,
    st.dictionaries(TEXT, COUNT, max_size=2), TEXT, st.booleans(),
)  # fmt: skip
RECORDS = st.one_of(
    st.builds(PassageRecord, PASSAGES),
    st.builds(SampleRecord, st.builds(SampleCounts, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)),
    st.builds(EdgeRecord, TEXT, TEXT, CHOSEN),
    STEPS,
    st.builds(PassageResult, TEXT, TEXT, TIME, TIME, st.integers(0, 9)),
    st.builds(Resumption, st.integers(0, 9)),
    st.builds(BadRow, TEXT, TEXT, TEXT, st.none() | st.dictionaries(TEXT, TEXT, max_size=2)),
)


@given(RECORDS)
def test_every_record_comes_back_exactly(record: Record) -> None:
    line = to_line(record)

    assert from_object(json.loads(line)) == record


@given(RECORDS)
def test_every_record_is_one_line_of_ascii(record: Record) -> None:
    line = to_line(record)

    assert line.isascii()
    assert line.splitlines() == [line[:-1]]


def test_a_time_that_is_no_number_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_line(PassageResult("s", "p", 0.0, float("nan")))
