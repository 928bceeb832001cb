"""The intervals of a run: of the averages that it shows, paired by passage, in any order."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from depqa_ray.core import Outcome, StepResult
from depqa_ray.errors import SettingsError
from depqa_ray.results.intervals import Resampling, check_baseline, choose_baseline, resampling_of
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import PassageRecord, PassageResult, RunRecords
from depqa_ray.results.schema import RunResults
from tests.sample_run import lantern, sample_manifest, sample_records

LATENCIES = (1.0, 2.5, 3.0, 4.5, 7.0, 8.5)


def run_of(**strategies: tuple[float | None, ...]) -> RunRecords:
    """A run in which each strategy takes these seconds for the passages; None where it did not finish one."""
    records = tuple(
        PassageRecord(replace(lantern().passage, id=f"p{place}"))
        for place in range(len(next(iter(strategies.values()))))
    )
    steps, finished = [], []
    for name, latencies in strategies.items():
        for record, latency in zip(records, latencies, strict=True):
            if latency is None:
                continue
            id_ = record.passage.id
            outcomes = (Outcome("lan-1", "answered", "oil"), Outcome("lan-2", "failed"), Outcome("lan-3", "failed"))
            steps.append(StepResult(name, id_, "all", outcomes, prompt_tokens=9, completed=latency, batch=0))
            finished.append(PassageResult(name, id_, 0.0, latency))
    return RunRecords(sample_manifest(), records, tuple(steps), tuple(finished))


def test_constant_shift_has_an_interval_without_width() -> None:
    """If a strategy is shifted by a constant, the interval of the difference has no width."""
    results = compute_results(run_of(independent=LATENCIES, slower=tuple(value + 0.5 for value in LATENCIES)))

    slower = results.strategies["slower"]
    own, shift = slower.intervals["latency"], slower.differences["latency"]
    assert own is not None and own.high - own.low > 1.0
    assert shift.value == 0.5 and shift.excludes_zero
    assert shift.interval is not None
    assert (shift.interval.low, shift.interval.high) == (pytest.approx(0.5), pytest.approx(0.5))


def test_equal_figures_differ_by_zero_without_a_mark() -> None:
    """If the figures are equal, the difference is zero and not marked."""
    differences = compute_results(run_of(a=LATENCIES, b=LATENCIES)).strategies["b"].differences

    for difference in differences.values():
        assert difference.interval is not None
        assert (difference.value, difference.interval.low, difference.interval.high) == (0.0, 0.0, 0.0)
        assert not difference.excludes_zero


def test_differences_to_both_sides_do_not_exclude_zero() -> None:
    """If differences go to both sides, zero is not excluded."""
    mixed = tuple(value + (1.0 if place % 2 else -1.0) for place, value in enumerate(LATENCIES))

    assert not compute_results(run_of(a=LATENCIES, b=mixed)).strategies["b"].differences["latency"].excludes_zero


def test_only_passages_that_both_finished_are_compared() -> None:
    """If a strategy did not finish all passages, only those that both finished are compared."""
    results = compute_results(run_of(a=(1.0, 2.0, 3.0, 100.0), b=(None, 3.0, 4.0, 101.0), c=(None, None, None, 1.0)))

    b, c = results.strategies["b"], results.strategies["c"]
    assert (b.passages, b.paired_passages) == (3, 3)
    assert b.differences["latency"].value == pytest.approx(1.0)
    assert (c.paired_passages, c.intervals["latency"], c.differences["latency"].interval) == (1, None, None)
    assert c.differences["latency"].value == pytest.approx(-99.0)


def test_given_no_passage_in_common_then_there_is_no_difference() -> None:
    assert compute_results(run_of(a=(1.0, None), b=(None, 2.0))).strategies["b"].differences == {}


def test_given_one_passage_then_there_is_no_interval() -> None:
    for summary in compute_results(sample_records(lantern())).strategies.values():
        assert set(summary.intervals.values()) == {None}
        assert not any(difference.excludes_zero for difference in summary.differences.values())


def test_intervals_use_the_estimator_of_the_averages() -> None:
    """The intervals are those of the estimator that the averages use."""
    # Velcarn has five questions and the lantern three: a mean over questions is not one over the passages' means.
    sequential = compute_results(sample_records()).strategies["sequential"]

    em = sequential.intervals["em"]
    assert em is not None
    assert (em.low, sequential.metrics.em, em.high) == (
        pytest.approx(2 / 3),
        pytest.approx(6 / 8),
        pytest.approx(4 / 5),
    )


def test_intervals_do_not_depend_on_the_order() -> None:
    """In any order of passages and outcomes, the intervals are the same."""
    records = run_of(a=LATENCIES, b=tuple(reversed(LATENCIES)))
    passages, finished = list(records.passages), list(records.finished)
    random.Random(3).shuffle(passages)
    random.Random(4).shuffle(finished)

    shuffled = compute_results(replace(records, passages=tuple(passages), finished=tuple(finished)))

    assert shuffled.strategies == compute_results(records).strategies


def test_given_results_then_they_come_back_from_their_file() -> None:
    results = compute_results(sample_records())

    assert results.version == 3
    assert RunResults.model_validate_json(results.to_json()) == results
    assert results.bootstrap.model_dump() == {
        "baseline": "sequential", "resamples": 10_000, "confidence": 0.95, "seed": 13
    }  # fmt: skip


def test_other_resampling_is_used_and_recorded() -> None:
    """If other settings for resampling are given, they are used and recorded."""
    asked = Resampling(baseline="full_batch", resamples=500, confidence=0.5, seed=1)

    results = compute_results(sample_records(), asked)

    assert results.bootstrap.model_dump() == asked.model_dump()
    assert [name for name, summary in results.strategies.items() if not summary.differences] == ["full_batch"]


def test_resampling_comes_from_the_manifest_or_flags() -> None:
    """The settings for resampling come from the manifest, unless flags give others."""
    settings = {"resamples": 400, "seed": 3, "dataset": "squad"}

    assert resampling_of(settings) == Resampling(resamples=400, seed=3)
    assert resampling_of(settings, {"resamples": "800"}) == Resampling(resamples=800, seed=3)
    assert resampling_of({}) == Resampling()
    with pytest.raises(SettingsError, match="--confidence"):
        resampling_of(settings, {"confidence": "2"})


@pytest.mark.parametrize(
    ("asked", "strategies", "chosen"),
    [
        (None, ("sequential", "independent"), "independent"),
        (None, ("sequential", "full_batch"), "sequential"),
        ("full_batch", ("independent", "full_batch"), "full_batch"),
        ("full_batch", ("independent", "sequential"), "independent"),
        ("full_batch", ("independent",), None),
        (None, (), None),
    ],
)
def test_baseline_is_asked_for_or_independent_or_first(
    asked: str | None, strategies: tuple[str, ...], chosen: str | None
) -> None:
    """The baseline is the one asked for, else independent, else the first strategy."""
    assert choose_baseline(asked, strategies) == chosen


def test_baseline_outside_the_comparison_is_refused() -> None:
    """If a comparison lacks its baseline, SettingsError names the strategies to choose from."""
    check_baseline("a", ("a", "b"))
    check_baseline("c", ("a",))
    with pytest.raises(SettingsError, match="--baseline: c takes no part in the comparison; name one of a, b"):
        check_baseline("c", ("a", "b"))
