"""The figures: every question once, failures included, in any order of records."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.predictions import read_predictions
from depqa_ray.answering.scoring import score_predictions
from depqa_ray.core import UNKNOWN, Edge, Outcome, Passage, Question, StepResult
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.results.entries import NO_OUTCOME
from depqa_ray.results.intervals import Resampling
from depqa_ray.results.metrics import compute_results, wall_clock
from depqa_ray.results.predictions import predictions, write_predictions
from depqa_ray.results.records import EdgeRecord, PassageRecord, PassageResult, RunRecords
from depqa_ray.results.schema import RunResults, ScoreSplit
from tests.sample_run import STRATEGIES, lantern, sample_manifest, sample_records, velcarn, with_final

WORDS = st.sampled_from(["", "unknown", "red", "the red", "red lamp", "lamp", "The", "Unknown."])


@st.composite
def runs(draw: st.DrawFn) -> RunRecords:
    """Runs of one or two strategies, with failures, skips, missing outcomes and unfinished passages."""
    passages, steps, finished = [], [], []
    for place in range(draw(st.integers(0, 3))):
        ids = [f"{place}-{number}" for number in range(draw(st.integers(0, 4)))]
        gold = draw(st.none() | st.just(tuple(Edge(a, b, 1.0, "", "gold") for a, b in pairwise(ids))))
        answers = st.lists(WORDS, min_size=1, max_size=2).map(tuple)
        questions = tuple(Question(id_, "?", draw(answers)) for id_ in ids)
        passages.append(PassageRecord(Passage(str(place), "", "", questions, gold)))
        for strategy in ("a", "b"):
            asked = [id_ for id_ in ids if draw(st.integers(0, 9))]
            for id_ in asked:
                status = draw(st.sampled_from(["answered", "answered", "failed", "skipped"]))
                outcome = Outcome(id_, status, draw(WORDS) if status == "answered" else "", draw(st.booleans()))
                times = sorted(draw(st.tuples(*[st.floats(0, 99)] * 3)))
                steps.append(
                    StepResult(
                        strategy, str(place), id_, (outcome,), "", draw(st.integers(0, 99)), 3, *times, 0.1, "r", 0, 1
                    )
                )
            if draw(st.integers(0, 9)):
                finished.append(PassageResult(strategy, str(place), draw(st.floats(0, 9)), draw(st.floats(9, 99))))
    return RunRecords(sample_manifest(), tuple(passages), tuple(steps), tuple(finished))


@given(runs())
def test_means_lie_between_0_and_1(records: RunRecords) -> None:
    for summary in compute_results(records).strategies.values():
        assert all(0.0 <= value <= 1.0 for value in summary.metrics.model_dump().values())
        assert summary.metrics.strict <= summary.metrics.em <= summary.metrics.lenient


@given(runs())
def test_every_question_is_counted_exactly_once(records: RunRecords) -> None:
    results = compute_results(records)

    for name, summary in results.strategies.items():
        done = {item.passage_id for item in records.finished if item.strategy == name}
        asked = sum(len(item.passage.questions) for item in records.passages if item.passage.id in done)
        counts = summary.counts
        assert counts.questions == asked == counts.answered + counts.failed + counts.skipped
        assert summary.passages == len(done)
        if summary.with_parents and summary.without_parents:
            known = [item for item in records.passages if item.passage.gold_edges is not None]
            split = summary.with_parents.questions + summary.without_parents.questions
            assert split == sum(len(item.passage.questions) for item in known if item.passage.id in done)


@given(runs(), st.randoms())
def test_results_do_not_depend_on_the_order_of_outcomes(records: RunRecords, rng: random.Random) -> None:
    """In any order of steps and finished passages, the results are the same."""
    steps, finished = list(records.steps), list(records.finished)
    rng.shuffle(steps)
    rng.shuffle(finished)

    shuffled = replace(records, steps=tuple(steps), finished=tuple(finished))

    assert compute_results(shuffled).to_json() == compute_results(records).to_json()


@given(runs())
def test_the_file_is_json_without_nan_and_comes_back(records: RunRecords) -> None:
    results = compute_results(records)

    text = results.to_json()

    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert RunResults.model_validate_json(text) == results


@given(runs())
def test_the_prediction_files_score_as_the_run_does(records: RunRecords) -> None:
    results = compute_results(records)

    for name, summary in results.strategies.items():
        done = {item.passage_id for item in records.finished if item.strategy == name}
        passages = [item.passage for item in records.passages if item.passage.id in done]
        if summary.counts.questions:
            score = score_predictions(predictions(results, name), passages)
            assert math.isclose(score.exact_match, 100 * summary.metrics.em, abs_tol=1e-9)
            assert math.isclose(score.f1, 100 * summary.metrics.f1, abs_tol=1e-9)


def test_failed_and_skipped_questions_count_0() -> None:
    record = lantern()
    outcomes = (Outcome("lan-1", "answered", "oil", True), Outcome("lan-2", "failed"), Outcome("lan-3", "skipped"))
    step = StepResult("s", "lan", "all", outcomes, completed=1.5, batch=0)

    results = compute_results(RunRecords(sample_manifest(), (record,), (step,), (PassageResult("s", "lan", 0.0, 1.5),)))

    entry = results.passages[0].strategies[0]
    assert entry.metrics.em == entry.metrics.f1 == entry.metrics.strict == entry.metrics.lenient == pytest.approx(1 / 3)
    assert entry.counts.model_dump() == {"questions": 3, "answered": 1, "failed": 1, "skipped": 1, "cut": 0}


def test_missing_outcome_counts_as_failed() -> None:
    """If a question of a finished passage has no outcome, it counts as failed."""
    records = RunRecords(sample_manifest(), (lantern(),), (), (PassageResult("s", "lan", 0.0, 1.0),))

    answers = compute_results(records).passages[0].strategies[0].questions

    assert {(answer.status, answer.reason) for answer in answers} == {("failed", NO_OUTCOME)}


def test_unfinished_passages_count_in_no_figure() -> None:
    """If a passage is unfinished, it counts in no figure of its strategy."""
    whole = sample_records()
    cut = replace(whole, finished=whole.finished[:-1])

    summary = compute_results(cut).strategies["dependency_parallel"]

    assert (summary.passages, summary.unfinished) == (1, 1)
    assert summary.counts.questions == 5
    assert [entry.name for entry in compute_results(cut).passages[1].strategies] == ["sequential", "full_batch"]


def test_tokens_latency_and_batches_of_a_passage() -> None:
    entry = compute_results(sample_records()).passages[0].strategies[2]

    assert (entry.name, entry.prompt_tokens, entry.generated_tokens, entry.batches) == (
        "dependency_parallel",
        600,
        70,
        3,
    )
    assert entry.latency == pytest.approx(0.4 * 2.9)


def test_scores_average_questions_and_the_rest_passages() -> None:
    """Scores are averages over questions, and the other figures are averages over passages."""
    summary = compute_results(sample_records()).strategies["sequential"]

    assert summary.metrics.em == pytest.approx(6 / 8)
    assert summary.prompt_tokens == (600 + 360) / 2
    assert summary.latency == pytest.approx((2.5 + 1.5) / 2)
    assert summary.totals.questions_per_second == pytest.approx(6 / 4.0)  # two failed


def test_edge_tokens_and_time_are_separate_and_in_the_totals() -> None:
    """Tokens and time spent on edges are figures of their own and part of the totals."""
    record = lantern()
    edges = StepResult("s", "lan", "edges", (), prompt_tokens=90, generated_tokens=30, completed=0.5, batch=0)
    ask = StepResult(
        "s", "lan", "all", (Outcome("lan-1", "answered", "oil"),), prompt_tokens=100, generated_tokens=9,
        completed=2.0, batch=1,
    )  # fmt: skip

    results = compute_results(
        RunRecords(sample_manifest(), (record,), (edges, ask), (PassageResult("s", "lan", 0.0, 2.0),))
    )

    entry = results.passages[0].strategies[0]
    assert (entry.prompt_tokens, entry.generated_tokens) == (190, 39)
    assert (entry.dep_prompt_tokens, entry.dep_generated_tokens, entry.dep_tokens) == (90, 30, 120)
    assert (entry.batches, entry.latency, entry.dep_latency) == (2, 2.0, 0.5)
    summary = results.strategies["s"]
    assert (summary.dep_tokens, summary.dep_latency, summary.totals.dep_tokens) == (120, 0.5, 120)


def edge_record(passage: str, kept: int, proposed: int, **details: object) -> EdgeRecord:
    """The first edges of the chain a -> b -> c -> d, of which the second and the third are gold."""
    chain = tuple(Edge(f"{passage}-{a}", f"{passage}-{b}") for a, b in pairwise("abcd"))
    return EdgeRecord("s", passage, EdgeSelection("model", chain[:proposed], chain[:kept], **details))  # type: ignore[arg-type]


def chained(passage: str, known: bool = True) -> PassageRecord:
    ids = [f"{passage}-{letter}" for letter in "abcd"]
    gold = tuple(Edge(a, b, 1.0, "", "gold") for a, b in pairwise(ids[1:])) if known else None
    return PassageRecord(Passage(passage, "", "", tuple(Question(id_, "?", ("x",)) for id_ in ids), gold))


def test_edges_of_a_run_are_counted_and_compared_with_gold() -> None:
    """The edges of a run are counted and compared with the gold ones."""
    passages = (chained("p"), chained("q"), chained("r", known=False))
    edges = (
        edge_record("p", kept=2, proposed=3, dropped_counts={"low confidence": 1}),
        edge_record("q", kept=1, proposed=1, fallback="nonsense", dropped_counts={"self edge": 2, "low confidence": 1}),
        edge_record("r", kept=0, proposed=0, cached=True),
    )
    finished = tuple(PassageResult("s", record.passage.id, 0.0, 1.0) for record in passages)
    # For q no replica was left to ask.
    asked = (StepResult("s", "p", "edges", (), batch=0), StepResult("s", "q", "edges", ()))

    summary = compute_results(RunRecords(sample_manifest(), passages, asked, finished, edges=edges)).strategies["s"].dag

    assert summary is not None
    assert (summary.passages, summary.asked, summary.cached, summary.fallbacks) == (3, 1, 1, 1)
    assert (summary.edges, summary.depth, summary.width) == (1.0, pytest.approx(2.0), 3.0)
    assert summary.dropped == {"low confidence": 2, "self edge": 2}
    # Gold of p and q: two each. Proposed: three, of which two are gold, and nothing; kept: two and one, of which one.
    assert summary.proposed_quality is not None and summary.selected_quality is not None
    assert (summary.proposed_quality.precision, summary.proposed_quality.recall) == (pytest.approx(2 / 3), 0.5)
    assert (summary.selected_quality.edges, summary.selected_quality.gold) == (3, 4)
    assert (summary.selected_quality.precision, summary.selected_quality.recall) == (pytest.approx(1 / 3), 0.25)
    # Of p's questions a and c have the right parents; of q's only a has.
    assert summary.selected_quality.right_share == 3 / 8


def test_without_gold_edges_the_quality_of_edges_is_unknown() -> None:
    records = RunRecords(
        sample_manifest(),
        (chained("r", known=False),),
        (),
        (PassageResult("s", "r", 0.0, 1.0),),
        edges=(edge_record("r", 1, 1),),
    )
    summary = compute_results(records).strategies["s"].dag
    assert summary is not None
    assert summary.proposed_quality is summary.selected_quality is None


def test_a_strategy_without_dependencies_has_none() -> None:
    results = compute_results(sample_records())
    assert results.strategies["sequential"].dag is None
    assert results.passages[0].strategies[0].dag is None
    assert results.passages[0].strategies[0].questions[1].parents == []
    assert results.passages[0].strategies[2].questions[1].parents == ["velcarn-q1"]


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=50))
def test_percentiles_are_in_order_and_within_the_latencies(latencies: list[float]) -> None:
    steps, finished = [], []
    for place, latency in enumerate(latencies):
        steps.append(
            StepResult("s", f"{place}", "all", (Outcome(f"{place}-a", "answered"),), completed=latency, batch=0)
        )
        finished.append(PassageResult("s", f"{place}", 0.0, latency))
    passages = tuple(chained(f"{place}", known=False) for place in range(len(latencies)))
    resampling = Resampling(resamples=100)

    results = compute_results(RunRecords(sample_manifest(), passages, tuple(steps), tuple(finished)), resampling)

    found = results.strategies["s"].latency_percentiles
    assert found is not None
    assert min(latencies) <= found.p50 <= found.p95 <= found.p99 <= max(latencies)


def test_steps_that_were_never_sent_are_no_batch() -> None:
    step = StepResult("s", "lan", "all", (Outcome("lan-1", "skipped"),), batch=-1)
    records = RunRecords(sample_manifest(), (lantern(),), (step,), (PassageResult("s", "lan", 0.0, 2.0),))

    assert compute_results(records).passages[0].strategies[0].batches == 0


def test_scores_are_split_by_gold_parents_where_they_are_known() -> None:
    summary = compute_results(sample_records()).strategies["full_batch"]

    # The lantern's gold edges are unknown, so only Velcarn counts: two of its five questions have no parents.
    assert summary.with_parents is not None and summary.without_parents is not None
    assert (summary.with_parents.questions, summary.with_parents.em) == (3, pytest.approx(1 / 3))
    assert (summary.without_parents.questions, summary.without_parents.em) == (2, 1.0)


def test_without_gold_edges_there_is_no_split() -> None:
    summary = compute_results(sample_records(lantern())).strategies["full_batch"]

    assert summary.with_parents is None and summary.without_parents is None


def test_final_answers_have_scores_of_their_own() -> None:
    # The last question fails under the sequential strategy; the lantern has no final question.
    strategies = compute_results(sample_records(with_final(velcarn()), lantern())).strategies

    assert strategies["sequential"].final == ScoreSplit(questions=1, em=0.0, f1=0.0)
    assert strategies["full_batch"].final == ScoreSplit(questions=1, em=1.0, f1=1.0)


def test_without_final_questions_there_are_no_scores_of_them() -> None:
    assert {summary.final for summary in compute_results(sample_records()).strategies.values()} == {None}


def test_empty_gold_edges_leave_one_side_of_the_split_empty() -> None:
    """If a passage is known to have no gold edges, one side of the split is empty."""
    record = replace(lantern(), passage=replace(lantern().passage, gold_edges=()))

    summary = compute_results(sample_records(record)).strategies["full_batch"]

    assert summary.with_parents is not None
    assert summary.with_parents.model_dump() == {"questions": 0, "em": None, "f1": None}


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0.0),
        ([(1.0, 3.0)], 2.0),
        ([(0.0, 4.0), (1.0, 2.0), (3.0, 6.0)], 6.0),  # overlapping: first admission to last finish
        ([(0.0, 1.0), (5.0, 6.0)], 2.0),  # other strategies had their turn in between
    ],
)
def test_the_wall_clock_runs_while_a_passage_is_under_way(spans: list[tuple[float, float]], seconds: float) -> None:
    times = [PassageResult("s", str(place), *span) for place, span in enumerate(spans)]

    assert wall_clock(times) == pytest.approx(seconds)
    assert wall_clock(reversed(times)) == pytest.approx(seconds)


def test_sessions_of_a_resumed_run_have_clocks_of_their_own() -> None:
    times = [PassageResult("s", "a", 0.0, 5.0), PassageResult("s", "b", 0.0, 3.0, session=1)]

    assert wall_clock(times) == 8.0


def test_strategies_follow_the_manifest_then_their_names() -> None:
    """Strategies are in the order of the manifest; the others follow by name."""
    extra = PassageResult("another", "lan", 0.0, 1.0)
    records = sample_records()

    names = list(compute_results(replace(records, finished=(extra, *reversed(records.finished)))).strategies)

    assert names == [*STRATEGIES, "another"]


def test_an_empty_run_has_figures() -> None:
    results = compute_results(RunRecords(sample_manifest()))

    assert results.strategies == {} and results.passages == []


def test_results_have_the_fields_of_the_earlier_scripts() -> None:
    """The results have the fields that the earlier scripts wrote."""
    data = json.loads(compute_results(sample_records()).to_json())

    assert set(data) == {"version", "run", "bootstrap", "strategies", "passages", "advice"}
    passage = data["passages"][0]
    assert passage["context"].startswith("Velcarn")
    for holder in (*passage["strategies"], *data["strategies"].values()):
        assert {"name", "metrics", "prompt_tokens", "generated_tokens", "latency", "batches"} <= set(holder)
        assert {"strict", "lenient", "em", "f1"} == set(holder["metrics"])


def test_text_that_utf8_cannot_hold_is_replaced_in_the_file() -> None:
    record = velcarn()
    record = replace(record, passage=replace(record.passage, title="half \ud800"))

    assert json.loads(compute_results(sample_records(record)).to_json())["passages"][0]["title"] == "half ?"


def test_prediction_files_are_written_for_each_strategy(tmp_path: Path) -> None:
    results = compute_results(sample_records())

    write_predictions(results, tmp_path)

    paths = [tmp_path / f"predictions-{name}.json" for name in STRATEGIES]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    written = read_predictions(paths[1])
    assert written["lan-2"] == "in the north window probably"
    assert "lan-3" not in read_predictions(paths[0])  # it failed


def test_an_unanswerable_question_has_the_official_empty_answer() -> None:
    results = compute_results(sample_records(lantern()))

    assert predictions(results, "dependency_parallel")["lan-3"] == ""
    assert results.passages[0].strategies[2].questions[2].answer == UNKNOWN
