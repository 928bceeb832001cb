"""The driver over replicas in a virtual clock: nothing lost, nothing twice, latency by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depqa_ray.answering.prompts import PromptBuilder
from depqa_ray.core import Completion, Edge, Job, Passage, Prompt, Question
from depqa_ray.errors import ClusterError
from depqa_ray.planning.strategies import STRATEGIES
from depqa_ray.results.records import PassageResult
from depqa_ray.runtime.driver import Driver
from depqa_ray.runtime.recorder import RunRecord
from depqa_ray.runtime.virtual import VirtualPool
from tests.runtime.helpers import (
    PROMPTS,
    GivenEdges,
    MemoryRecorder,
    answer_with_number,
    edge,
    passage,
    passages_with_edges,
)


def drive(
    jobs: Sequence[Job], pool: VirtualPool, *edges: Edge, in_flight: int | None = None, room: int = 8
) -> MemoryRecorder:
    """Run the jobs; edges belong to the passages of the same name."""
    recorder = MemoryRecorder()
    names = {job.passage.id for job in jobs}
    planner = GivenEdges({name: tuple(e for e in edges if e.child.startswith(f"{name}-")) for name in names})
    asyncio.run(Driver(pool, recorder, planner, PROMPTS, room, in_flight).run(iter(jobs)))
    return recorder


def one_second(prompt: Prompt) -> float:
    return 1.0


def test_every_prompt_of_a_passage_has_the_system_message() -> None:
    """If a passage has a system message, every prompt of the passage has it."""
    asked: list[Prompt] = []

    def answer(prompt: Prompt) -> Completion:
        asked.append(prompt)
        return answer_with_number(prompt)

    jobs = [Job(strategy, passage(name, 3)) for name in ("p", "r") for strategy in STRATEGIES]
    pool, recorder = VirtualPool(1, one_second, answer), MemoryRecorder()
    prompts = PromptBuilder(lambda passage_: f"About {passage_.id}.", 16)
    driver = Driver(pool, recorder, GivenEdges(), prompts, 8)
    asyncio.run(driver.run(iter(jobs)))
    assert {(prompt.system, prompt.passage_text) for prompt in asked} == {
        (f"About {name}.", f"Passage: The text of {name}.\n\n") for name in ("p", "r")
    }


@settings(max_examples=50)
@given(st.data(), st.integers(1, 3), st.integers(1, 4))
def test_every_question_ends_once_with_its_own_answer(data: st.DataObject, replicas: int, room: int) -> None:
    """For any DAG and any speeds, each question ends once in every strategy, with its own answer."""
    drawn = [data.draw(passages_with_edges(name)) for name in ("p", "r")]
    speeds = data.draw(st.lists(st.floats(0.1, 9.0), min_size=5, max_size=5))
    jobs = [Job(strategy, passage_) for passage_, _ in drawn for strategy in STRATEGIES]
    edges = [edge_ for _, found in drawn for edge_ in found]
    pool = VirtualPool(replicas, lambda prompt: speeds[hash(prompt.id) % 5], answer_with_number)
    recorder = drive(jobs, pool, *edges, room=room)
    assert len(recorder.finishes) == len(jobs)
    for passage_, _ in drawn:
        for strategy in STRATEGIES:
            for question in passage_.questions:
                assert recorder.outcomes[strategy, question.id].answer == question.answers[0]


@settings(max_examples=50)
@given(passages_with_edges(), st.lists(st.floats(0.0, 6.0), max_size=3), st.integers(0, 3))
def test_all_questions_end_if_replicas_are_replaced(drawn: tuple, losses: list[float], spare: int) -> None:
    """If replicas are lost and replaced, all questions still end."""
    passage_, edges = drawn
    lost = {f"replica-{number}": at for number, at in enumerate(losses)}
    pool = VirtualPool(2, one_second, answer_with_number, lost, replacements=len(losses) + spare)
    recorder = drive([Job("dependency_parallel", passage_)], pool, *edges)
    assert len(recorder.outcomes) == len(passage_.questions)
    assert len(recorder.finishes) == 1


@given(passages_with_edges(), st.sets(st.integers(0, 7)))
def test_children_of_refused_prompts_are_skipped_with_a_reason(drawn: tuple, refused: set[int]) -> None:
    """If the engine refuses prompts, their children are skipped with a reason."""
    passage_, edges = drawn

    def refuse(prompt: Prompt) -> Completion:
        if int(prompt.question_text.splitlines()[-1].split()[-1].rstrip("?")) in refused:
            return Completion(prompt.id, error="refused")
        return answer_with_number(prompt)

    recorder = drive([Job("dependency_parallel", passage_)], VirtualPool(1, one_second, refuse), *edges)
    assert len(recorder.outcomes) == len(passage_.questions)
    for number, question in enumerate(passage_.questions):
        outcome = recorder.outcomes["dependency_parallel", question.id]
        bad_parents = [
            edge_
            for edge_ in edges
            if edge_.child == question.id
            and recorder.outcomes["dependency_parallel", edge_.parent].status != "answered"
        ]
        expected = "skipped" if bad_parents else "failed" if number in refused else "answered"
        assert outcome.status == expected
        assert (outcome.reason == "") == (expected == "answered")


def test_only_layered_waits_for_a_slow_sibling() -> None:
    """If a sibling is slow, dependency_layered waits for its layer and dependency_parallel does not."""

    # q0 -> q2 is quick; q1 is slow; q2 takes a second.
    def seconds(prompt: Prompt) -> float:
        return 5.0 if "What is 1?" in prompt.question_text.splitlines()[-1] else 1.0

    ready = {}
    for strategy in ("dependency_parallel", "dependency_layered"):
        pool = VirtualPool(1, seconds, answer_with_number)
        recorder = drive([Job(strategy, passage("p", 3))], pool, edge("p", 0, 2))
        ready[strategy] = {result.step_id: result.ready for result in recorder.results}["ask:p-q2"]
    assert ready == {"dependency_parallel": 1.0, "dependency_layered": 5.0}


def test_latency_and_batches_follow_from_the_plan() -> None:
    """The latency and the batches of each strategy follow from its plan."""
    edges = (edge("p", 0, 1), edge("p", 1, 2))
    figures = {}
    for strategy in STRATEGIES:
        recorder = drive([Job(strategy, passage("p", 4))], VirtualPool(1, one_second, answer_with_number), *edges)
        (finish,) = recorder.finishes
        figures[strategy] = (finish.finished - finish.admitted, len({result.batch for result in recorder.results}))
    assert figures == {
        "sequential": (4.0, 4),
        "sequential_shuffled": (4.0, 4),
        "sequential_ordered": (4.0, 4),
        "full_batch": (1.0, 1),
        "independent": (1.0, 1),
        "dependency_parallel": (3.0, 3),
        "dependency_layered": (3.0, 3),
    }


def test_next_passage_starts_when_the_one_in_flight_ends() -> None:
    """If one passage may be in flight, the next one starts when it has finished."""
    jobs = [Job("independent", passage(name, 2)) for name in ("a", "b", "c")]
    recorder = drive(jobs, VirtualPool(2, one_second, answer_with_number), in_flight=1)
    for before, after in pairwise(recorder.finishes):
        assert after.admitted >= before.finished


def test_jobs_are_not_taken_without_capacity() -> None:
    """If there is no capacity, no job is taken from the stream."""
    taken = []

    def jobs():
        for number in range(50):
            taken.append(number)
            yield Job("independent", passage(f"p{number}", 2))

    ahead = []

    class Watching(MemoryRecorder):
        def record(self, record: RunRecord) -> None:
            super().record(record)
            if isinstance(record, PassageResult):
                ahead.append(len(taken) - len(self.finishes))

    pool = VirtualPool(1, one_second, answer_with_number)
    asyncio.run(Driver(pool, Watching(), GivenEdges(), PROMPTS, steps_per_replica=4).run(jobs()))
    assert len(taken) == 50
    assert max(ahead) <= 4


def test_run_fails_if_no_replica_is_left() -> None:
    """If every replica is lost and none will join, the run fails and says why."""
    pool = VirtualPool(1, one_second, answer_with_number, losses={"replica-0": 0.5})
    with pytest.raises(ClusterError, match=r"no replica is left .* lost by script"):
        drive([Job("independent", passage("p", 2))], pool)


def test_late_answer_of_a_lost_replica_is_not_counted() -> None:
    """If a lost replica still sends an answer, the answer is not counted."""

    class Echoing(VirtualPool):
        """Answers of the lost replica arrive all the same."""

        def _happens(self, event):  # type: ignore[no-untyped-def]
            events = super()._happens(event)
            return events or [event]

    asked: list[str] = []

    def answer(prompt: Prompt) -> Completion:
        asked.append(prompt.id)
        return answer_with_number(prompt)

    recorder = drive([Job("independent", passage("p", 3))], Echoing(2, one_second, answer, losses={"replica-0": 0.5}))
    assert len(recorder.outcomes) == 3
    ends = [(result.replica, result.completed, result.attempts) for result in recorder.results]
    assert ends == [("replica-1", at, 2) for at in (1.5, 2.5, 3.5)], "they are sent again one by one"
    assert asked[:3] == asked[:2:-1], "another attempt is the same prompt: drawn tokens are seeded by its id"


def test_ids_with_separators_do_not_confuse_prompts() -> None:
    """If ids hold separators, no two prompts are confused."""
    one = Passage("p", "p", "One.", (Question("x/ask:y", "What is 1?", ("1",)),))
    other = Passage("p/ask:x", "p", "Other.", (Question("y", "What is 2?", ("2",)),))
    pool = VirtualPool(1, one_second, answer_with_number)
    recorder = drive([Job("independent", one), Job("independent", other)], pool)
    assert {id_: outcome.answer for (_, id_), outcome in recorder.outcomes.items()} == {"x/ask:y": "1", "y": "2"}


def test_refused_prompt_is_recorded_as_sent() -> None:
    """If the engine refuses a prompt, its step is recorded as sent."""

    def refuse(prompt: Prompt) -> Completion:
        return Completion(prompt.id, error="too long")

    recorder = drive([Job("sequential", passage("p", 2))], VirtualPool(1, one_second, refuse))
    refused, skipped = recorder.results
    assert (refused.batch, refused.attempts, refused.replica, refused.completed) == (0, 1, "replica-0", 1.0)
    assert (skipped.batch, skipped.attempts, skipped.replica) == (-1, 0, "")
