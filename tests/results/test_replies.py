"""How replies ended: each is counted once, and what is wrong with more than a few is said with what to do."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Outcome, Passage, Question, StepResult
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import EdgeRecord, PassageRecord, PassageResult, RunRecords
from depqa_ray.results.schema import ReplyCounts, RunResults
from tests.sample_run import sample_manifest, sample_records

REPLY: dict[str, Any] = {"text": "x", "generated_tokens": 3, "batch": 0}
GOOD = {**REPLY, "finish_reason": "json"}
CUT = {**REPLY, "finish_reason": "length"}
THOUGHTS = {**CUT, "reply_fault": "thoughts_only"}
EMPTY = {**REPLY, "text": "", "finish_reason": "eos", "reply_fault": "empty"}
NO_JSON = {**REPLY, "finish_reason": "eos", "reply_fault": "no_json"}
REFUSED = {"batch": 0, "finish_reason": "refused"}
UNKNOWN_END = dict(REPLY)
LOST: dict[str, Any] = {"attempts": 3}
KINDS = (GOOD, CUT, THOUGHTS, EMPTY, NO_JSON, REFUSED, UNKNOWN_END, LOST)
NAMES = ("good", "cut", "thoughts", "empty", "no_json", "refused", "unknown_end", "lost")


Ends = dict[str, list[dict[str, Any]]]


def run_of(*passages: Ends, reason: str = "too long", limit: int | None = 4) -> RunRecords:
    """A run whose steps ended as listed, for each strategy of each passage; the step of each asks one question."""
    records, steps, finished = [], [], []
    for place, ends in enumerate(passages):
        most = max((len(own) for own in ends.values()), default=0)
        questions = tuple(Question(f"{place}-{number}", "?", ("x",)) for number in range(most))
        records.append(PassageRecord(Passage(str(place), "", "", questions)))
        for strategy, own in ends.items():
            finished.append(PassageResult(strategy, str(place), 0.0, 1.0))
            asked = zip(questions, own, strict=False)
            steps += [step_of(strategy, place, question.id, fields, reason) for question, fields in asked]
    manifest = replace(sample_manifest(), settings={} if limit is None else {"max_new_tokens": limit})
    return RunRecords(manifest, tuple(records), tuple(steps), tuple(finished))


def step_of(strategy: str, passage: int, question: str, fields: dict[str, Any], reason: str = "") -> StepResult:
    answered = fields.get("finish_reason", "") != "refused" and "text" in fields
    outcome = Outcome(question, "answered", "x") if answered else Outcome(question, "failed", reason=reason)
    return StepResult(strategy, str(passage), question, (outcome,), **fields)


def advice(*passages: Ends, **options: Any) -> list[str]:
    return compute_results(run_of(*passages, **options)).advice


kinds = st.lists(st.sampled_from(KINDS), max_size=6)


@given(st.lists(st.fixed_dictionaries({"a": kinds, "b": kinds}), max_size=3))
def test_each_reply_is_counted_once_and_a_run_is_the_sum(passages: list[Ends]) -> None:
    """Each reply is counted exactly once, and the counts of a run are the sums over its passages."""
    results = compute_results(run_of(*passages))

    for name, summary in results.strategies.items():
        asked = Counter(NAMES[KINDS.index(kind)] for passage in passages for kind in passage[name])
        assert summary.replies == ReplyCounts(
            replies=sum(asked[own] for own in ("good", "cut", "thoughts", "empty", "no_json")),
            cut=asked["cut"] + asked["thoughts"],
            empty=asked["empty"],
            thoughts_only=asked["thoughts"],
            no_json=asked["no_json"],
            refused=asked["refused"],
            unrecorded=asked["unknown_end"],
        )
        assert summary.counts.cut == summary.replies.cut  # one question a step
        entries = [entry.replies for passage in results.passages for entry in passage.strategies if entry.name == name]
        for count in ReplyCounts.model_fields:
            assert getattr(summary.replies, count) == sum(getattr(entry, count) for entry in entries)


def test_a_reply_that_asks_several_questions_is_one_reply() -> None:
    """If a reply answers several questions, it is one reply, and all of its answers are cut."""
    records = sample_records()
    steps = tuple(
        replace(step, finish_reason="length") if step.strategy == "full_batch" else step for step in records.steps
    )

    summary = compute_results(replace(records, steps=steps)).strategies["full_batch"]

    assert (summary.replies.replies, summary.replies.cut) == (2, 2)
    assert (summary.counts.answered, summary.counts.cut) == (8, 8)


def test_replies_about_dependencies_are_counted() -> None:
    records = run_of({"s": [GOOD]})
    asking = StepResult("s", "0", "edges", (), **NO_JSON)

    summary = compute_results(replace(records, steps=(*records.steps, asking))).strategies["s"]

    assert (summary.replies.replies, summary.replies.no_json, summary.counts.cut) == (2, 1, 0)


def test_results_and_files_of_earlier_versions_are_read() -> None:
    """If a file has no counts of replies, it is read, and no advice is made up."""
    results = compute_results(run_of({"s": [GOOD, CUT]}))
    data = json.loads(results.to_json())
    del data["advice"]
    for holder in (*data["strategies"].values(), *data["passages"][0]["strategies"]):
        del holder["replies"], holder["counts"]["cut"]

    earlier = RunResults.model_validate(data)

    assert earlier.advice == [] and earlier.strategies["s"].replies == ReplyCounts()
    assert RunResults.model_validate_json(results.to_json()) == results


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (CUT, "50 % of the replies (1 of 2) were cut off at --max-new-tokens 4: raise it."),
        (
            THOUGHTS,
            "50 % of the replies (1 of 2) have thoughts and no answer: raise --max-new-tokens (now 4), or turn the "
            "model's thinking off.",
        ),
        (
            EMPTY,
            "50 % of the replies (1 of 2) are empty although nothing cut them off: check the model's chat template and "
            "--stop.",
        ),
        (
            NO_JSON,
            "50 % of the replies (1 of 2) have no JSON with the keys asked for, although nothing cut them off: show "
            "examples (--shots).",
        ),
        (REFUSED, "50 % of the prompts (1 of 2) were refused: too long."),
        (LOST, None),
        (UNKNOWN_END, None),
    ],
)
def test_advice_is_one_line_for_each_cause(kind: dict[str, Any], line: str | None) -> None:
    """Each cause has one line that says how many replies it concerns and what to do."""
    assert advice({"s": [GOOD, kind]}) == ([line] if line else [])


def test_a_run_whose_replies_are_fine_has_no_advice() -> None:
    assert advice({"a": [GOOD] * 5, "b": [GOOD] * 5}) == []


def test_a_few_replies_get_no_advice() -> None:
    """Up to 2 % of a strategy's replies, there is no advice; a refused prompt always has a line."""
    assert advice({"s": [GOOD] * 49 + [CUT]}) == []
    assert advice({"s": [GOOD] * 48 + [CUT]}) == [
        "2 % of the replies (1 of 49) were cut off at --max-new-tokens 4: raise it."
    ]
    assert advice({"s": [GOOD] * 199 + [REFUSED]}) == ["under 1 % of the prompts (1 of 200) were refused: too long."]


def test_a_cause_of_all_strategies_is_one_line_without_names() -> None:
    """If a cause concerns all strategies, its line has their sum; if some, it names them."""
    tail = "were cut off at --max-new-tokens 4: raise it."
    assert advice({"a": [CUT], "b": [CUT, GOOD, GOOD]}) == [f"50 % of the replies (2 of 4) {tail}"]
    assert advice({"a": [CUT], "b": [GOOD] * 3}) == [f"a: 100 % of the replies (1 of 1) {tail}"]
    three = {"a": [CUT] * 2, "b": [GOOD], "c": [CUT, GOOD], "d": [CUT]}
    assert advice(three) == [f"a, c and d: 80 % of the replies (4 of 5) {tail}"]


def test_a_reply_has_one_cause_at_most() -> None:
    """If a reply was cut and lacks something, one line concerns it, so that no other cause is suspected."""
    cut_without_json = {**CUT, "reply_fault": "no_json"}
    (line,) = advice({"s": [cut_without_json, cut_without_json]})
    assert "100 % of the replies (2 of 2) were cut off" in line
    (line,) = advice({"s": [THOUGHTS, GOOD]})
    assert "thoughts and no answer" in line


def test_all_is_said_only_of_all() -> None:
    (line,) = advice({"s": [CUT] * 299 + [GOOD]})
    assert line.startswith("99 % of the replies (299 of 300)")


def test_limit_that_is_unknown_is_not_named() -> None:
    (line,) = advice({"s": [CUT]}, limit=None)
    assert line.endswith("were cut off at --max-new-tokens: raise it.")


def test_most_frequent_reason_of_refusals_is_told_in_one_line() -> None:
    """If prompts are refused for several reasons, the most frequent one is told, short and on one line."""
    records = run_of({"s": [REFUSED] * 3})
    seldom = replace(records.steps[0], outcomes=(Outcome("0-0", "failed", reason="seldom"),))
    often = tuple(
        replace(step, outcomes=(replace(step.outcomes[0], reason=f"often:\n{'long ' * 99}."),))
        for step in records.steps[1:]
    )

    (line,) = compute_results(replace(records, steps=(seldom, *often))).advice

    assert line.startswith("100 % of the prompts (3 of 3) were refused: often: long long")
    assert "\n" not in line and len(line) < 240


def test_refused_request_for_dependencies_tells_why() -> None:
    records = run_of({"s": [GOOD]})
    asking = StepResult("s", "0", "edges", (), **REFUSED)
    edges = EdgeRecord("s", "0", EdgeSelection("model", fallback="no room for it"))

    results = compute_results(replace(records, steps=(*records.steps, asking), edges=(edges,)))

    assert results.advice == ["50 % of the prompts (1 of 2) were refused: no room for it."]


def test_unfinished_passages_give_no_advice() -> None:
    """If a strategy did not finish a passage, its replies there are in no figure and in no advice."""
    records = run_of({"s": [CUT]}, {"s": [GOOD]})

    results = compute_results(replace(records, finished=records.finished[1:]))

    assert results.advice == [] and results.strategies["s"].replies.replies == 1
