"""Ray really runs: actors start, share the work, die, and the run still ends with every outcome."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.core import Prompt, StepResult
from depqa_ray.engines.base import EngineSpec, Fault
from depqa_ray.errors import InputError, StartError
from depqa_ray.results.records import RunRecords
from depqa_ray.results.store import RunStore
from depqa_ray.runtime.pool import CompletionsReceived, PoolEvent
from depqa_ray.runtime.ray import connection
from depqa_ray.runtime.ray.connection import connected_ray, edge_resources, replica_resources
from depqa_ray.runtime.ray.failures import Failure
from depqa_ray.runtime.ray.pool import RayPool, ReplicaResources
from depqa_ray.runtime.recorder import Recorder, RunRecord
from depqa_ray.runtime.run import run_experiment
from depqa_ray.scheduling.events import ReplicaJoined, ReplicaLost, RoleExhausted
from depqa_ray.settings.load import Settings

pytestmark = pytest.mark.slow


class Notes(Recorder):
    """A recorder that keeps warnings and counts questions."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.questions = 0

    def record(self, record: RunRecord) -> None:
        if isinstance(record, StepResult):
            self.questions += len(record.outcomes)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module", autouse=True)
def a_ray() -> Iterator[None]:
    with connected_ray():
        yield


def experiment(folder: Path, faults: tuple[Fault, ...] = (), **settings: object) -> tuple[RunRecords, Notes]:
    notes = Notes()
    made = Settings(
        dataset="embedded",
        context_count=0,
        engine="simulated",
        run_dir=folder / "run",
        isolate=False,
        **settings,  # type: ignore[arg-type]
    )
    run_experiment(made, ("dependency_parallel", "sequential"), notes, faults=faults)
    return RunStore.open(folder / "run").read(), notes


def either(kind: str, at: int) -> tuple[Fault, ...]:
    """The fault for each of the first two replicas, and for none that replaces one."""
    return tuple(Fault(kind, at, f"replica-{number}") for number in range(2))


def all_outcomes(records: RunRecords) -> list[str]:
    for record in records.passages:
        for strategy in ("dependency_parallel", "sequential"):
            asked = sorted(question.id for question in record.passage.questions)
            ended = sorted(
                outcome.question_id
                for step in records.steps
                if (step.strategy, step.passage_id) == (strategy, record.passage.id)
                for outcome in step.outcomes
            )
            assert ended == asked
    return [outcome.status for step in records.steps for outcome in step.outcomes]


def test_two_replicas_share_the_work(tmp_path: Path) -> None:
    """If there are two replicas, both work and every question is answered."""
    # One prompt at a time, so that there is work left when the second replica is ready.
    records, notes = experiment(tmp_path, replicas=2, max_batch_size=1)
    assert set(all_outcomes(records)) == {"answered"}
    assert {step.replica for step in records.steps} == {"replica-0", "replica-1"}
    assert notes.questions == 2 * sum(len(record.passage.questions) for record in records.passages)


def test_lost_replicas_steps_go_to_another(tmp_path: Path) -> None:
    """If the process of a replica is killed, its steps go to another one and no question is lost."""
    # Either of them: on a busy machine one may join too late to get 20 prompts.
    records, notes = experiment(tmp_path, either("kill", 20), replicas=2)
    assert set(all_outcomes(records)) == {"answered"}
    assert any("was lost: its process ended" in warning for warning in notes.warnings)
    assert max(step.attempts for step in records.steps) in (2, 3)


def test_passages_that_end_processes_harm_no_others(tmp_path: Path) -> None:
    """If the prompts of two passages end the process, they fail with the reason and all others are answered."""
    passages = [
        {
            "title": f"T{number}",
            "paragraphs": [
                {
                    "context": f"{'POISON' if number in (1, 4) else 'Text'} {number}.",
                    "qas": [
                        {"id": f"{number}-{q}", "question": f"What is {q}?", "answers": [{"text": "a"}]} for q in "ab"
                    ],
                }
            ],
        }
        for number in range(6)
    ]
    (tmp_path / "data.json").write_text(json.dumps({"data": passages}))
    notes = Notes()
    made = Settings(
        dataset=str(tmp_path / "data.json"),
        context_count=0,
        engine="simulated",
        run_dir=tmp_path / "run",
        isolate=False,
        replicas=1,
        min_questions=2,
    )
    run_experiment(made, ("independent",), notes, faults=(Fault("kill", text="POISON"),))
    steps = RunStore.open(tmp_path / "run").read().steps
    outcomes = {outcome.question_id: outcome for step in steps for outcome in step.outcomes}
    failed = {id_ for id_, outcome in outcomes.items() if outcome.status != "answered"}
    assert len(outcomes) == 12 and failed == {"1-a", "1-b", "4-a", "4-b"}
    assert all("had only this prompt" in outcomes[id_].reason for id_ in failed)
    assert all("its process ended" in outcomes[id_].reason for id_ in failed)
    lost = [warning for warning in notes.warnings if "was lost" in warning]
    assert len(lost) <= 3 * len(failed)
    assert re.search(r"; its \d+ prompts are sent again one by one$", lost[0])


def test_broken_engine_in_a_living_process_is_replaced(tmp_path: Path) -> None:
    """If an engine breaks in a living process, its replica is replaced."""
    records, notes = experiment(tmp_path, (Fault("die", 5, "replica-0"),), replicas=1)
    assert set(all_outcomes(records)) == {"answered"}
    assert any("replica-0 was lost: died by script" in warning for warning in notes.warnings)


def test_hanging_replicas_steps_go_to_another_at_the_deadline(tmp_path: Path) -> None:
    """If a replica hangs, its steps go to another one at the deadline."""
    records, notes = experiment(tmp_path, either("hang", 5), replicas=2, step_timeout=2.0)
    assert set(all_outcomes(records)) == {"answered"}
    assert any("gave no answer for 2 s" in warning for warning in notes.warnings)


def test_refused_prompts_fail_and_their_children_are_skipped(tmp_path: Path) -> None:
    """If prompts are refused, their questions fail, the children are skipped and the run ends."""
    faults = tuple(Fault("refuse", at) for at in range(1, 40, 3))
    statuses = all_outcomes(experiment(tmp_path, faults, replicas=1)[0])
    assert {"answered", "failed", "skipped"} == set(statuses)


def test_engine_that_cannot_start_fails_the_run_in_one_line(tmp_path: Path) -> None:
    """If an engine cannot start, the run fails with the reason in one line."""
    (tmp_path / "model").mkdir()
    made = Settings(dataset="embedded", model_name=str(tmp_path / "model"), run_dir=tmp_path / "run")
    with pytest.raises(StartError, match="cannot load the model") as caught:
        run_experiment(made, ("independent",), Notes())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("replicas", "gpus", "words"),
    [
        (2, 64, "2 replicas of 64 GPUs need 128"),
        (1, 64, "a replica of 64 GPUs needs 64"),
        (1, 1, "a replica of 1 GPU needs 1"),
        (64, 1, "64 replicas of 1 GPU need 64"),
    ],
)
def test_too_many_gpus_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, replicas: int, gpus: float, words: str
) -> None:
    """If more GPUs are asked for than there are, the error comes at once."""
    monkeypatch.setattr(connection, "_resources", lambda: {"CPU": 8.0})
    with pytest.raises(InputError, match=f"^{words}, and the cluster has 0"):
        replica_resources(Settings(replicas=replicas, gpus_per_replica=gpus))


def test_server_model_needs_one_replica_and_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a server holds the model, one replica asks it and holds no GPU."""
    monkeypatch.setattr(connection, "_resources", lambda: {"GPU": 4.0, "CPU": 8.0})
    local, asking = (
        replica_resources(Settings(isolate=False, engine=engine)) for engine in ("shared_prefix", "openai")
    )
    assert (local.replicas, local.gpus) == (4, 1.0)
    assert (asking.replicas, asking.gpus) == (1, 0.0)


def test_given_isolation_then_one_replica_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_resources", lambda: {"GPU": 4.0, "CPU": 8.0})
    assert (replica_resources(Settings()).replicas, replica_resources(Settings(replicas=3)).replicas) == (1, 3)


def test_local_edge_model_takes_a_gpu_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a local model proposes edges, it has a GPU that the other replicas lack."""

    def settings(engine: str) -> Settings:
        return Settings(isolate=False, deps_engine=engine, deps_model="m")  # type: ignore[arg-type]

    monkeypatch.setattr(connection, "_resources", lambda: {"GPU": 4.0, "CPU": 8.0})
    assert (replica_resources(settings("shared_prefix")).replicas, edge_resources(settings("shared_prefix")).gpus) == (
        3,
        1.0,
    )
    assert (replica_resources(settings("openai")).replicas, edge_resources(settings("openai")).gpus) == (4, 0.0)
    monkeypatch.setattr(connection, "_resources", lambda: {"GPU": 1.0, "CPU": 8.0})
    with pytest.raises(InputError, match="needs a GPU of its own"):
        replica_resources(settings("shared_prefix"))


def test_given_no_gpu_then_replicas_share_the_cpus() -> None:
    import ray

    cpus = ray.cluster_resources()["CPU"]
    shape = replica_resources(Settings(replicas=1, gpus_per_replica=0))
    assert (shape.replicas, shape.gpus, shape.cpus) == (1, 0.0, float(int(cpus)))
    assert replica_resources(Settings(replicas=2 * int(cpus), gpus_per_replica=0)).cpus == 0.5


@pytest.mark.parametrize(
    ("fault", "lost", "reason"),
    [
        (Fault("kill", 1), 4, r"4 replicas were lost within \d+ s, the last one: its process ended"),
        (Fault("die alike", 1), 1, "died by script, as all would$"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_pool_gives_up_after_its_replacements(fault: Fault, lost: int, reason: str) -> None:
    """If replicas break with whatever passage they get, the pool gives up after its replacements.

    If one says that every other would break alike, as without quota at a server, it gives up at once.
    """

    async def run() -> list[PoolEvent]:
        spec = EngineSpec("simulated", "m", "auto", 4, 1.0, 0.9, faults=(fault,))
        pool = RayPool(spec, ReplicaResources(1, 0.0, 0.1, start_timeout=60, answer_timeout=60))
        seen: list[PoolEvent] = []
        try:
            while not any(isinstance(event, RoleExhausted) for event in seen):
                events = await asyncio.wait_for(pool.events(), 120)
                seen += events
                for event in events:
                    if isinstance(event, ReplicaJoined):
                        pool.send(event.replica, [Prompt("a", "s", event.replica, "q", 1)])
        finally:
            await pool.close()
        return seen

    events = asyncio.run(run())
    names = [event.replica for event in events if isinstance(event, ReplicaLost)]
    assert names == [f"replica-{number}" for number in range(lost)]
    (exhausted,) = (event for event in events if isinstance(event, RoleExhausted))
    assert re.match(reason, exhausted.reason)


def test_what_a_lost_replica_had_yielded_is_kept() -> None:
    """If a process answers one batch and ends in another, the answer comes first although both wait."""

    async def run() -> list[PoolEvent]:
        spec = EngineSpec("simulated", "m", "auto", 4, 1.0, 0.9, faults=(Fault("kill", text="bad"),))
        pool = RayPool(spec, ReplicaResources(1, 0.0, 0.1, 60, 60))
        try:
            (joined,) = await asyncio.wait_for(pool.events(), 60)
            assert isinstance(joined, ReplicaJoined)
            pool.send(joined.replica, [Prompt("b", "s", "bad " * 10_000, "q", 1)])
            pool.send(joined.replica, [Prompt("g", "s", "good", "q", 1)])
            await asyncio.sleep(0.05)
            time.sleep(2)
            seen: list[PoolEvent] = []
            while not any(isinstance(event, ReplicaLost) for event in seen):
                seen += await asyncio.wait_for(pool.events(), 60)
            return seen
        finally:
            await pool.close()

    answered, lost, *_ = asyncio.run(run())
    assert isinstance(answered, CompletionsReceived) and isinstance(lost, ReplicaLost)
    assert [completion.prompt_id for completion in answered.completions] == ["g"]


def end(replica: Any) -> None:
    import ray

    ray.kill(replica)


def stall(replica: Any) -> None:
    replica.__ray_call__.remote(lambda _: time.sleep(600))


async def reset_until_lost(pool: RayPool) -> None:
    """A call may reach the replica before what strikes it."""
    while pool._events.empty():
        await pool.reset_prefix_cache()


@pytest.mark.parametrize(
    ("strike", "reason"), [(end, "its process ended"), (stall, r"it gave no answer for 3 s \(--step-timeout\)")]
)
def test_reset_skips_starting_replicas_and_loses_failing_ones(strike: Callable[[Any], None], reason: str) -> None:
    """If caches are reset, replicas that are not ready are skipped and those that fail are lost."""

    async def run() -> list[PoolEvent]:
        pool = RayPool(EngineSpec("simulated", "m", "auto", 4, 1.0, 0.9), ReplicaResources(1, 0.0, 0.1, 60, 3.0))
        try:
            await asyncio.wait_for(pool.reset_prefix_cache(), 0.1)
            (joined,) = await asyncio.wait_for(pool.events(), 60)
            assert isinstance(joined, ReplicaJoined)
            await pool.reset_prefix_cache()
            assert list(pool._replicas) == [joined.replica]
            strike(pool._replicas[joined.replica].actor)
            await asyncio.wait_for(reset_until_lost(pool), 30)
            return await pool.events()
        finally:
            await pool.close()

    (lost, *_) = asyncio.run(run())
    assert isinstance(lost, ReplicaLost)
    assert re.match(reason, lost.reason)


def test_given_a_closed_pool_then_its_actors_are_gone() -> None:
    import ray

    before = ray.available_resources().get("CPU", 0.0)

    async def run() -> None:
        pool = RayPool(EngineSpec("simulated", "m", "auto", 4, 1.0, 0.9), ReplicaResources(1, 0.0, 1.0, 60, 60))
        await asyncio.wait_for(pool.events(), 120)
        await pool.close()
        await pool.close()

    asyncio.run(run())
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU", 0.0) < before:
        assert time.monotonic() < deadline, "the actor still holds its CPU"
        time.sleep(0.1)


def test_replica_lost_before_its_work_starts_warns_of_nothing() -> None:
    """If a replica is lost before the tasks that listen to it start, no coroutine is left unawaited."""

    async def run() -> None:
        pool = RayPool(EngineSpec("simulated", "m", "auto", 4, 1.0, 0.9), ReplicaResources(1, 0.0, 0.1, 60, 60))
        (joined,) = await asyncio.wait_for(pool.events(), 120)
        assert isinstance(joined, ReplicaJoined)
        pool.send(joined.replica, [Prompt("a", "s", "p", "q", 1)])
        await pool._lose(pool._replicas[joined.replica], Failure("gone"))
        await pool.close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(run())
        gc.collect()
    assert [warning for warning in caught if "never awaited" in str(warning.message)] == []
