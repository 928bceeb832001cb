"""Edges asked of the model as a step of the plan, over replicas in a virtual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from depqa_ray.core import Completion, Job, Passage, Prompt, Question
from depqa_ray.edges.heuristic.propose import propose_edges
from depqa_ray.errors import ClusterError
from depqa_ray.planning.strategies import STRATEGIES, USES_EDGES
from depqa_ray.runtime.driver import Driver
from depqa_ray.runtime.virtual import VirtualPool
from depqa_ray.scheduling.events import ReplicaJoined, RoleExhausted
from tests.runtime.helpers import (
    PROMPTS,
    MemoryRecorder,
    answer_with_number,
    asking,
    drive,
    edge,
    one_second,
    passage,
    passages_with_edges,
    planner,
    stated,
)

NONSENSE = [
    "",
    "I would rather not.",
    '{"Q1": "Rome", "Q2": "1999"}',
    '{"Q1": {}, "Q2": {"Q1',
    '{"Q2": {"Q9": 1}}',
    "{" * 50,
]


@with_settings(max_examples=50)
@given(st.data(), st.integers(1, 3))
def test_strategies_with_edges_follow_those_of_the_model(data: st.DataObject, replicas: int) -> None:
    """If a model states any DAG, each strategy that uses edges follows it."""
    drawn = [data.draw(passages_with_edges(name)) for name in ("p", "r")]
    replies = {passage_.text: stated(passage_, edges) for passage_, edges in drawn}
    jobs = [Job(strategy, passage_) for passage_, _ in drawn for strategy in STRATEGIES]
    recorder = drive(jobs, VirtualPool(replicas, one_second, asking(replies)))
    assert len(recorder.finishes) == len(jobs)
    for passage_, edges in drawn:
        for strategy in STRATEGIES:
            for question in passage_.questions:
                assert recorder.outcomes[strategy, question.id].answer == question.answers[0]
            chosen = recorder.plans.get((strategy, passage_.id))
            assert (chosen is not None) == (strategy in USES_EDGES)
            if chosen is not None:
                assert chosen.fallback == "" and chosen.source == "model"
                pairs = {(kept.parent, kept.child) for kept in chosen.selected}
                assert pairs == {(wanted.parent, wanted.child) for wanted in edges}


@given(st.data())
def test_all_strategies_ask_the_same_questions(data: st.DataObject) -> None:
    """All strategies ask the same questions, each of them behind its own passage."""
    drawn = [data.draw(passages_with_edges(name)) for name in ("p", "r", "s")]
    replies = {passage_.text: stated(passage_, edges) for passage_, edges in drawn}
    sent: dict[str, set[tuple[str, str]]] = {strategy: set() for strategy in STRATEGIES}
    passages = {passage_.id: passage_ for passage_, _ in drawn}

    def answer(prompt: Prompt) -> Completion:
        strategy, passage_id, _ = json.loads(prompt.id)
        assert prompt.passage_text == f"Passage: {passages[passage_id].text}\n\n"
        if prompt.form != "edges":
            asked = [
                line.partition(": ")[2] for line in prompt.question_text.splitlines() if not line.startswith("Known:")
            ]
            sent[strategy].update((passage_id, text) for text in asked)
        return asking(replies)(prompt)

    jobs = [Job(strategy, passage_) for passage_, _ in drawn for strategy in STRATEGIES]
    drive(jobs, VirtualPool(2, one_second, answer))
    wanted = {(passage_.id, question.text) for passage_, _ in drawn for question in passage_.questions}
    assert all(texts == wanted for texts in sent.values())


def test_edge_request_is_a_step_with_its_own_time_and_tokens() -> None:
    """The request for edges is a step with its own time and tokens."""
    asked = passage("p", 3)
    pool = VirtualPool(1, one_second, asking({asked.text: stated(asked, (edge("p", 0, 2),))}))
    recorder = drive([Job("dependency_parallel", asked)], pool)
    first, *others = recorder.results
    assert (first.step_id, first.outcomes, first.batch, first.ready, first.completed) == ("edges", (), 0, 0.0, 1.0)
    assert first.prompt_tokens > 0 and first.generated_tokens > 0
    assert {result.step_id: result.ready for result in others} == {"ask:p-q0": 1.0, "ask:p-q1": 1.0, "ask:p-q2": 2.0}


def test_slow_edge_request_does_not_hold_up_other_passages() -> None:
    """If a request for edges is slow, other passages go on meanwhile."""
    slow, quick = passage("slow", 2), passage("quick", 2)

    def seconds(prompt: Prompt) -> float:
        return 50.0 if "slow" in prompt.passage_text and prompt.form == "edges" else 1.0

    answer = asking({slow.text: stated(slow, ()), quick.text: stated(quick, ())})
    recorder = drive(
        [Job("dependency_parallel", slow), Job("dependency_parallel", quick)], VirtualPool(1, seconds, answer)
    )
    assert [(finish.passage_id, finish.finished) for finish in recorder.finishes] == [("quick", 2.0), ("slow", 51.0)]


@pytest.mark.parametrize("reply", NONSENSE)
def test_heuristic_replaces_a_model_that_answers_nonsense(reply: str) -> None:
    """If the model always answers nonsense, the heuristic gives the edges and no question is lost."""
    texts = ("Who founded Velcarn?", "In which town was that person born?", "On which river does that town lie?")
    asked = Passage("v", "v", "Velcarn.", tuple(Question(f"v-{n}", text, ("x",)) for n, text in enumerate(texts)))

    def answer(prompt: Prompt) -> Completion:
        return Completion(prompt.id, reply, 5, 5)

    recorder = drive([Job(strategy, asked) for strategy in STRATEGIES], VirtualPool(1, one_second, answer))
    assert len(recorder.outcomes) == len(STRATEGIES) * len(texts)
    assert set(recorder.plans) == {(strategy, "v") for strategy in USES_EDGES}
    for chosen in recorder.plans.values():
        assert chosen.fallback
        assert chosen.selected == propose_edges(asked.questions)
        assert {kept.origin for kept in chosen.selected} == {"heuristic"}


def test_refused_edge_request_is_recorded_and_questions_asked() -> None:
    """If the engine refuses a request for edges, the reason is recorded and the questions are asked."""

    def refuse(prompt: Prompt) -> Completion:
        if prompt.form == "edges":
            return Completion(prompt.id, error="the prompt is too long")
        return answer_with_number(prompt)

    recorder = drive([Job("dependency_parallel", passage("p", 3))], VirtualPool(1, one_second, refuse))
    assert recorder.plans["dependency_parallel", "p"].fallback == "the prompt is too long"
    assert {outcome.status for outcome in recorder.outcomes.values()} == {"answered"}


@with_settings(max_examples=50)
@given(passages_with_edges(), st.lists(st.floats(0.0, 4.0), max_size=3))
def test_all_questions_end_if_replicas_are_lost_during_edges(drawn: tuple, losses: list[float]) -> None:
    """If replicas are lost while edges are asked for, all questions end."""
    passage_, edges = drawn
    lost = {f"replica-{number}": at for number, at in enumerate(losses)}
    answer = asking({passage_.text: stated(passage_, edges)})
    pool = VirtualPool(1, one_second, answer, lost, replacements=len(losses))
    recorder = drive([Job("dependency_parallel", passage_)], pool)
    assert len(recorder.outcomes) == len(passage_.questions)
    assert len(recorder.plans) == len(recorder.finishes) == 1


def test_unusable_edges_are_dropped_and_counted() -> None:
    """If edges close a cycle, point at themselves or have bad confidences, they are dropped and counted."""
    reply = {"Q1": {"Q2": 0.5, "Q1": 0.9, "Q7": 0.9}, "Q2": {"Q1": 0.9, "Q3": 7}, "Q3": {"Q2": 0.9}}
    asked = passage("p", 3)
    pool = VirtualPool(1, one_second, asking({asked.text: json.dumps(reply)}))
    chosen = drive([Job("dependency_parallel", asked)], pool).plans["dependency_parallel", "p"]
    assert [(kept.parent, kept.child) for kept in chosen.selected] == [("p-q0", "p-q1"), ("p-q1", "p-q2")]
    assert chosen.dropped_counts == {
        "self edge": 1,
        "unknown question": 1,
        "confidence out of range": 1,
        "closes a cycle": 1,
    }
    assert chosen.fallback == ""


class TwoKinds(VirtualPool):
    """One replica that answers and one that is asked for edges, which may leave at some time; notes what each gets."""

    def __init__(self, answer: Callable[[Prompt], Completion], leaves: float | None = None) -> None:
        self.sent: list[tuple[str, bool]] = []
        super().__init__(1, one_second, answer, {} if leaves is None else {"edges-0": leaves}, edge_replicas=1)

    def send(self, replica: str, prompts: Sequence[Prompt]) -> None:
        self.sent += [(replica, prompt.form == "edges") for prompt in prompts]
        super().send(replica, prompts)


def drive_apart(jobs: Sequence[Job], pool: VirtualPool) -> MemoryRecorder:
    recorder = MemoryRecorder()
    asyncio.run(Driver(pool, recorder, planner(recorder), PROMPTS, 8).run(iter(jobs)))
    return recorder


def test_edge_replica_gets_edge_steps_and_nothing_else() -> None:
    """If a replica is dedicated to edges, it gets all edge steps and nothing else."""
    passages = [passage(f"p{number}", 3) for number in range(4)]
    pool = TwoKinds(asking({p.text: stated(p, (edge(p.id, 0, 1),)) for p in passages}))
    recorder = drive_apart([Job("dependency_parallel", p) for p in passages], pool)
    assert len(recorder.outcomes) == 12
    assert set(pool.sent) == {("replica-0", False), ("edges-0", True)}
    assert {chosen.fallback for chosen in recorder.plans.values()} == {""}


@pytest.mark.parametrize("leaves", [0.5, 1.5, 2.5])
def test_heuristic_takes_over_if_the_edge_replica_is_lost(leaves: float) -> None:
    """If the edge replica is lost for good, the heuristic takes over."""
    passages = [passage(f"p{number}", 3) for number in range(6)]
    pool = TwoKinds(asking({p.text: stated(p, ()) for p in passages}), leaves)
    recorder = MemoryRecorder()
    driver = Driver(pool, recorder, planner(recorder), PROMPTS, 8, 1)
    asyncio.run(driver.run(iter([Job("dependency_parallel", p) for p in passages])))
    assert len(recorder.outcomes) == 18
    assert recorder.plans["dependency_parallel", "p5"].fallback == "lost by script"
    assert any("the heuristic takes over" in warning for warning in recorder.warnings)


def test_run_fails_if_the_edge_replica_never_joins() -> None:
    """If the edge replica never joins, the run fails and says why."""

    class Never(TwoKinds):
        def _happens(self, event: Any) -> Any:
            if getattr(event, "replica", "") == "edges-0":
                return [RoleExhausted("no such server", "edge")]
            return super()._happens(event)

    with pytest.raises(ClusterError, match=r"--deps-engine.*no such server"):
        drive_apart([Job("dependency_parallel", passage("p", 2))], Never(answer_with_number))


def test_given_another_seed_then_another_order_is_drawn() -> None:
    def order(seed: str) -> list[str]:
        pool = VirtualPool(1, one_second, answer_with_number)
        recorder = drive([Job("sequential_shuffled", passage("p", 6))], pool, seed=seed)
        return [result.step_id for result in recorder.results]

    assert order("1") == order("1")
    assert order("1") != order("2")


def test_lost_edge_replica_limits_the_jobs_taken() -> None:
    """If the edge replica is lost for a while, no more jobs are taken than there is capacity for."""
    passages = [passage(f"p{number}", 2) for number in range(200)]
    taken: list[str] = []

    def jobs() -> Iterator[Job]:
        for one in passages:
            taken.append(one.id)
            yield Job("dependency_parallel", one)

    class Away(VirtualPool):
        """The replica for edges is lost at 0.5 and replaced at 3; what was taken by then is noted."""

        def __init__(self, answer: Callable[[Prompt], Completion]) -> None:
            super().__init__(1, one_second, answer, {"edges-0": 0.5}, 1, 2.5, edge_replicas=1)
            self.before: int | None = None

        def _happens(self, event: Any) -> Any:
            if isinstance(event, ReplicaJoined) and event.replica == "edges-1":
                self.before = len(taken)
            return super()._happens(event)

    pool = Away(asking({p.text: stated(p, ()) for p in passages}))
    recorder = MemoryRecorder()
    asyncio.run(Driver(pool, recorder, planner(recorder), PROMPTS, 8).run(jobs()))
    assert len(recorder.outcomes) == 400
    assert pool.before is not None and pool.before <= 8
