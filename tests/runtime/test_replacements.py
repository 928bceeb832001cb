"""Which losses of replicas are replaced: time and cause count, not the number in a run."""

from __future__ import annotations

from depqa_ray.runtime.replacements import WINDOW, ReplacementBudget


def test_losses_without_a_known_cause_are_counted_in_a_window() -> None:
    """Three within ten minutes are replaced, the fourth is not; after that time they are forgotten."""
    budget = ReplacementBudget(1, was_ready=True)
    for number in range(3):
        budget.lose(float(number), {"p", "q"})
        assert not budget.spent
    budget.lose(30.0, ())
    assert budget.spent
    assert budget.text(35.0) == "4 replicas were lost within 35 s"
    budget.answered(WINDOW)
    assert not budget.spent


def test_passage_that_breaks_replicas_alone_costs_nothing() -> None:
    """Any number of passages that break replicas is paid for, as long as others are answered."""
    budget = ReplacementBudget(1, was_ready=True)
    for number in range(50):
        budget.lose(0.0, {f"bad {number}", "good"})
        for _ in range(4):
            budget.lose(0.0, {f"bad {number}"})
            assert not budget.spent
        budget.answered(0.0)


def test_engine_that_answers_nothing_is_given_up_however_slow() -> None:
    """If every passage breaks the engine, the fourth one ends it, although hours have passed."""
    budget = ReplacementBudget(1, was_ready=True)
    for number in range(4):
        assert not budget.spent
        budget.lose(number * 3600.0, {f"p{number}", f"p{number + 1}"})
        budget.lose(number * 3600.0, {f"p{number}"})
        budget.lose(number * 3600.0, {f"p{number}"})
    assert budget.spent


def test_loss_with_one_passage_that_is_answered_later_counts() -> None:
    """A machine that is lost again and again while it has one passage at a time is not taken for bad passages."""
    budget = ReplacementBudget(1, was_ready=True)
    for number in range(4):
        assert not budget.spent
        budget.lose(float(number), {f"p{number}"})
        budget.answered(float(number))
    assert budget.spent


def test_load_that_fails_is_tried_once_more_for_each_replica() -> None:
    """Before a replica was ready, one loss each is replaced."""
    budget = ReplacementBudget(2)
    budget.lose(0.0, ())
    budget.lose(0.0, ())
    assert not budget.spent
    budget.lose(0.0, ())
    assert budget.spent
