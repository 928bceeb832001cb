"""Routing: the replica that a batch goes to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.scheduling.routing import Router


def router(*replicas: str) -> Router:
    made = Router()
    for replica in replicas:
        made.join(replica)
    return made


def test_given_no_replica_then_none_is_picked() -> None:
    assert Router().route("p", 10.0) is None


def test_passage_returns_to_the_replica_that_read_it() -> None:
    """If a replica has read a passage, the passage goes to it again."""
    made = router("a", "b")
    made.assign("p", "b", 50.0)
    assert made.route("p", prefix_work=100.0) == "b"


def test_long_queue_makes_another_replica_cheaper() -> None:
    """If the replica of a passage has a long queue, reading the passage again on another one is cheaper."""
    made = router("a", "b")
    made.assign("p", "b", 50.0)
    made.assign("other", "b", 100.0)
    assert made.route("p", prefix_work=100.0) == "a"


def test_passage_of_a_lost_replica_goes_to_the_idlest() -> None:
    """If the replica of a passage is lost, the passage goes to the idlest of the others."""
    made = router("a", "b", "c")
    made.assign("p", "a", 10.0)
    made.assign("q", "b", 5.0)
    made.leave("a")
    assert made.route("p", prefix_work=100.0) == "c"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("pqr"), st.sampled_from("sdfjl"), st.floats(0, 50))))
def test_given_any_history_then_the_invariants_hold(history: list[tuple[str, str, str, float]]) -> None:
    made = router("a", "b", "c")
    for replica, passage, what, work in history:
        if what == "s" and (picked := made.route(passage, 20.0)) is not None:
            made.assign(passage, picked, work)
        elif what == "d":
            made.release(replica, work)
        elif what == "f":
            made.clear_affinity(passage)
        elif what == "j":
            made.join(replica)
        elif what == "l":
            made.leave(replica)
        made.validate()
