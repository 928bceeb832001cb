"""The scheduler's promises, for any DAG and any order of completion."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depqa_ray.core import Plan, Step, prerequisites
from depqa_ray.scheduling.events import (
    Action,
    Admitted,
    Completed,
    Dispatch,
    EndSteps,
    Event,
    Failed,
    Finish,
    InvalidEvent,
    PlanExtended,
    ReplicaJoined,
    ReplicaLost,
    RequestPlan,
    RoleExhausted,
)
from depqa_ray.scheduling.scheduler import DependencyScheduler


def step(id_: str, *parents: str, barriers: tuple[str, ...] = ()) -> Step:
    return Step(
        id_, (f"q-{id_}",), parents=parents, context=tuple(f"q-{parent}" for parent in parents), barriers=barriers
    )


def plan(*steps: Step, passage: str = "p", strategy: str = "s") -> Plan:
    return Plan(strategy, passage, tuple(q for s in steps for q in s.questions), steps)


KEY = ("s", "p")


@st.composite
def plans(draw: st.DrawFn, passage: str = "p") -> Plan:
    """A random DAG of up to 9 steps, of parents and barriers."""
    steps = []
    for number in range(draw(st.integers(1, 9))):
        earlier = [s.id for s in steps]
        parents = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
        barriers = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2)) if earlier else []
        steps.append(step(f"{number}", *parents, barriers=tuple(barriers)))
    return plan(*draw(st.permutations(steps)), passage=passage)


class Player:
    """Plays a scheduler against an imagined pool, recording its actions and checking its invariants."""

    def __init__(self, seed: int, replicas: int = 2) -> None:
        self.rng = random.Random(seed)
        self.scheduler = DependencyScheduler()
        self.now = 0.0
        self.actions: list[Action] = []
        self.running: dict[tuple[str, str], tuple[Dispatch, Step]] = {}
        self.ended: dict[tuple[str, str], str] = {}
        self.dispatched_after: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for number in range(replicas):
            self.send(ReplicaJoined(f"r{number}"))

    def send(self, event: Event, now: float | None = None) -> list[Action]:
        now = self.now if now is None else now
        self.now += 1.0
        actions = self.scheduler.handle(event, now)
        self.scheduler.validate()
        for action in actions:
            self._note(action)
        self.actions += actions
        return actions

    def _note(self, action: Action) -> None:
        if isinstance(action, Dispatch):
            for sent in action.steps:
                place = (action.key[1], sent.id)
                assert place not in self.running, f"{place} was sent while it runs"
                assert place not in self.ended, f"{place} was sent after its end"
                for need in prerequisites(sent):
                    assert (action.key[1], need) in self.ended, f"{place} was sent before {need} ended"
                self.running[place] = (action, sent)
        elif isinstance(action, EndSteps):
            for gone in action.steps:
                place = (action.key[1], gone.id)
                assert place not in self.running and place not in self.ended
                self.ended[place] = action.status

    def complete(self, *places: tuple[str, str]) -> list[Action]:
        for place in places:
            del self.running[place]
            self.ended[place] = "done"
        return self.send(Completed(("s", places[0][0]), tuple(id_ for _, id_ in places)))

    def fail(self, place: tuple[str, str]) -> list[Action]:
        del self.running[place]
        return self.send(Failed(("s", place[0]), place[1], "no"))

    def lose(self, replica: str) -> list[Action]:
        self.running = {p: (d, s) for p, (d, s) in self.running.items() if d.replica != replica}
        return self.send(ReplicaLost(replica, "gone"))

    def play(self, fails: Callable[[str], bool] = lambda step_id: False) -> None:
        while self.running:
            place = self.rng.choice(sorted(self.running))
            if fails(place[1]):
                self.fail(place)
            else:
                self.complete(place)


@given(plans(), st.integers(0, 10_000))
def test_each_step_is_sent_once_and_the_job_finishes(a_plan: Plan, seed: int) -> None:
    """If steps of any DAG complete in any order, each is sent once and the job finishes."""
    player = Player(seed)
    player.send(Admitted(a_plan), 0.0)
    player.play()
    sent = [s.id for action in player.actions if isinstance(action, Dispatch) for s in action.steps]
    assert sorted(sent) == sorted(s.id for s in a_plan.steps)
    assert [action for action in player.actions if isinstance(action, Finish)] == [Finish(KEY)]
    assert player.scheduler.jobs == 0


@given(plans(), st.integers(0, 10_000))
def test_step_is_sent_at_the_event_that_makes_it_ready(a_plan: Plan, seed: int) -> None:
    """If an event makes a step ready, the step is sent at this very event."""
    player = Player(seed)
    player.send(Admitted(a_plan), 0.0)
    while player.running:
        place = player.rng.choice(sorted(player.running))
        before = set(player.ended)
        actions = player.complete(place)
        freed = {
            s.id
            for s in a_plan.steps
            if {("p", n) for n in prerequisites(s)} <= before | {place}
            and not {("p", n) for n in prerequisites(s)} <= before
        }
        batches = [action for action in actions if isinstance(action, Dispatch)]
        assert {s.id for batch in batches for s in batch.steps} == freed
        assert len(batches) <= 1, "what one event makes ready leaves as one batch"


@given(plans(), st.sets(st.sampled_from("012345678")), st.integers(0, 10_000), st.integers(0, 10_000))
def test_how_steps_end_does_not_depend_on_the_order(
    a_plan: Plan, failing: set[str], seed: int, other_seed: int
) -> None:
    """If steps fail, how each step ends does not depend on the order."""
    ends = []
    for number in (seed, other_seed):
        player = Player(number)
        player.send(Admitted(a_plan), 0.0)
        player.play(failing.__contains__)
        assert player.scheduler.jobs == 0
        assert set(player.ended) == {("p", s.id) for s in a_plan.steps}, "a failed parent leaves a hole"
        ends.append(player.ended)
    assert ends[0] == ends[1]
    for s in a_plan.steps:
        parent_ended_badly = any(ends[0]["p", parent] != "done" for parent in s.parents)
        assert (ends[0]["p", s.id] == "skipped") == parent_ended_badly


@settings(max_examples=60)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 10_000), st.data())
def test_every_step_ends_once_while_replicas_come_and_go(sizes: list[int], seed: int, data: st.DataObject) -> None:
    """If replicas come and go, every step of every job still ends once."""
    player = Player(seed, replicas=2)
    for number in range(len(sizes)):
        player.send(Admitted(data.draw(plans(passage=f"p{number}"))), 0.0)
    alive, born = {"r0", "r1"}, 2
    for _ in range(200):
        if not player.running and alive:
            break
        choice = player.rng.random()
        if choice < 0.15 and alive:
            lost = player.rng.choice(sorted(alive))
            alive.discard(lost)
            player.lose(lost)
        elif choice < 0.3 or not alive:
            alive.add(f"r{born}")
            player.send(ReplicaJoined(f"r{born}"), player.now)
            born += 1
        elif player.running:
            player.complete(player.rng.choice(sorted(player.running)))
    player.send(ReplicaJoined("last"), player.now)
    player.play()
    assert player.scheduler.jobs == 0
    assert sum(isinstance(action, Finish) for action in player.actions) == len(sizes)


def test_children_of_steps_completed_together_are_one_batch() -> None:
    """If siblings complete together, their children are sent as one batch."""
    player = Player(0)
    player.send(Admitted(plan(step("a"), step("b"), step("c", "a"), step("d", "b"))), 0.0)
    (batch,) = player.complete(("p", "a"), ("p", "b"))
    assert isinstance(batch, Dispatch)
    assert [s.id for s in batch.steps] == ["c", "d"]
    assert batch.batch == 1


def test_failed_barrier_does_not_skip_the_waiting_step() -> None:
    """If a barrier fails, a step that only waits for it is still sent."""
    player = Player(0)
    player.send(Admitted(plan(step("a"), step("b"), step("c", "b", barriers=("a",)), step("d", "a"))), 0.0)
    player.complete(("p", "b"))
    actions = player.fail(("p", "a"))
    assert [type(action) for action in actions] == [EndSteps, EndSteps, Dispatch]
    assert player.ended == {("p", "a"): "failed", ("p", "b"): "done", ("p", "d"): "skipped"}


def test_waiting_step_keeps_the_time_it_became_ready() -> None:
    """If a replica joins, a waiting step is sent with the time at which it became ready."""
    player = Player(0, replicas=0)
    assert player.send(Admitted(plan(step("a"))), 5.0) == []
    (batch,) = player.send(ReplicaJoined("r"), 9.0)
    assert isinstance(batch, Dispatch)
    assert batch.ready == 5.0


def test_step_lost_too_often_fails_and_skips_its_children() -> None:
    """If a step is lost too often, it fails with the reason and its children are skipped."""
    player = Player(0, replicas=3)
    player.send(Admitted(plan(step("a"), step("b", "a"))), 0.0)
    for _ in range(2):
        ((dispatch, _),) = player.running.values()
        player.lose(dispatch.replica)
    assert player.ended == {("p", "a"): "failed", ("p", "b"): "skipped"}
    reasons = [action.reason for action in player.actions if isinstance(action, EndSteps)]
    assert "gone" in reasons[0]
    assert isinstance(player.actions[-1], Finish)


def test_impossible_event_is_refused_with_its_step_or_job() -> None:
    """If an event is impossible, it is refused and the error names the step or job."""
    player = Player(0)
    player.send(Admitted(plan(step("a"), step("b", "a"))), 0.0)
    with pytest.raises(ValueError, match=r"step b .* waiting, not running"):
        player.scheduler.handle(Completed(KEY, ("b",)), 1.0)
    with pytest.raises(ValueError, match="under way already"):
        player.scheduler.handle(Admitted(plan(step("a"))), 1.0)
    with pytest.raises(ValueError, match="no job"):
        player.scheduler.handle(Completed(("s", "other"), ("a",)), 1.0)
    player.send(ReplicaJoined("r1"), 1.0)
    with pytest.raises(ValueError, match=r"step a .* done, not running"):
        player.scheduler.handle(Completed(KEY, ("a", "a")), 2.0)


EDGES = Step("edges", ("q-a",), form="edges")


def opening(passage: str = "p") -> Plan:
    return Plan("s", passage, ("q-a", "q-b"), (EDGES,), open=True)


def extension(passage: str = "p") -> Plan:
    steps = (EDGES, step("a", barriers=("edges",)), step("b", "a", barriers=("edges",)))
    return Plan("s", passage, ("q-a", "q-b"), steps)


@pytest.mark.parametrize("ends_well", [True, False])
def test_open_plan_is_extended_and_the_rest_is_sent(ends_well: bool) -> None:
    """If all steps of an open plan have ended, it is extended and the rest is sent."""
    player = Player(0)
    player.send(Admitted(opening()), 0.0)
    actions = player.complete(("p", "edges")) if ends_well else player.fail(("p", "edges"))
    assert actions[-1] == RequestPlan(KEY)
    assert player.scheduler.jobs == 1
    (batch,) = player.send(PlanExtended(extension()), 7.0)
    assert isinstance(batch, Dispatch)
    assert ([s.id for s in batch.steps], batch.batch, batch.ready) == (["a"], 1, 7.0)
    player.play()
    assert player.ended["p", "b"] == "done"
    assert [action for action in player.actions if isinstance(action, RequestPlan | Finish)] == [
        RequestPlan(KEY),
        Finish(KEY),
    ]


def test_given_an_extension_that_does_not_fit_then_it_is_refused() -> None:
    player = Player(0)
    player.send(Admitted(opening()), 0.0)
    with pytest.raises(ValueError, match="cannot be extended"):
        player.scheduler.handle(PlanExtended(extension()), 1.0)  # the first step is still running
    player.complete(("p", "edges"))
    with pytest.raises(ValueError, match="cannot be extended"):
        player.scheduler.handle(PlanExtended(plan(step("a"), step("b"))), 1.0)
    player.send(PlanExtended(extension()), 1.0)
    with pytest.raises(ValueError, match="cannot be extended"):
        player.scheduler.handle(PlanExtended(extension()), 1.0)


def test_edge_steps_go_to_edge_replicas_only() -> None:
    """If replicas are dedicated to edges, only they get edge steps, which fail once no such replica is left."""
    scheduler = DependencyScheduler(dedicated_edge_replicas=True)
    scheduler.handle(ReplicaJoined("r"), 0.0)
    assert scheduler.handle(Admitted(opening()), 0.0) == []  # nobody is there yet who could be asked for edges
    (batch,) = scheduler.handle(ReplicaJoined("e", "edge"), 1.0)
    assert isinstance(batch, Dispatch) and batch.replica == "e"
    assert (scheduler.busy("edge"), scheduler.busy("answer")) == (1, 0)
    assert (scheduler.replicas("edge"), scheduler.replicas("answer")) == (1, 1)
    assert scheduler.handle(ReplicaLost("e", "gone"), 2.0) == []
    assert scheduler.busy("edge") == 1, "what waits for a replacement leaves no room for more"
    given_up, extend = scheduler.handle(RoleExhausted("gone for good", "edge"), 3.0)
    assert given_up == EndSteps(KEY, (EDGES,), "failed", "gone for good") and extend == RequestPlan(KEY)
    (batch,) = scheduler.handle(PlanExtended(extension()), 3.0)
    assert isinstance(batch, Dispatch) and batch.replica == "r"
    given_up, extend = scheduler.handle(Admitted(opening("other")), 4.0)
    assert isinstance(given_up, EndSteps) and extend == RequestPlan(("s", "other"))
    scheduler.validate()


@given(st.lists(st.booleans(), min_size=1, max_size=5), st.integers(0, 10_000))
def test_open_jobs_are_extended_and_finished_once(fails: list[bool], seed: int) -> None:
    """If plans are open and replicas come and go, every job is extended and finished once."""
    player = Player(seed, replicas=1)
    names = [f"p{number}" for number in range(len(fails))]
    for name in names:
        player.send(Admitted(opening(name)), 0.0)
    born = 0
    while player.scheduler.jobs:
        open_jobs = [a.key for a in player.actions if isinstance(a, RequestPlan)]
        extended = {e for e in open_jobs if ("x", e[1]) in player.ended}
        for key in open_jobs:
            if key not in extended:
                player.ended["x", key[1]] = "extended"
                player.send(PlanExtended(extension(key[1])), player.now)
        if not player.running:
            continue
        if player.rng.random() < 0.2 and born < 8:
            player.lose(next(iter(player.running.values()))[0].replica)
            born += 1
            player.send(ReplicaJoined(f"new{born}"), player.now)
            continue
        place = player.rng.choice(sorted(player.running))
        if place[1] == "edges" and fails[names.index(place[0])]:
            player.fail(place)
        else:
            player.complete(place)
    for kind in (RequestPlan, Finish):
        assert sorted(a.key[1] for a in player.actions if isinstance(a, kind)) == names


def test_invalid_event_tells_the_jobs_story() -> None:
    """An impossible event raises InvalidEvent with the event and the job's last events, the oldest first."""
    player = Player(0)
    player.send(Admitted(plan(step("a"), step("b", "a"))), 2.0)
    player.now = 3.0
    player.complete(("p", "a"))
    wrong = Completed(KEY, ("a",))
    with pytest.raises(InvalidEvent, match=r"step a .* is done, not running") as caught:
        player.scheduler.handle(wrong, 4.0)
    assert caught.value.event == wrong
    assert [(at, type(event)) for at, event in caught.value.story][:2] == [(2.0, Admitted), (3.0, Completed)]
    assert re.search(r"at 2\.000 s: Admitted\(.*\n  at 3\.000 s: Completed", str(caught.value))
