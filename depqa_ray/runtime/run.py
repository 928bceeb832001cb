"""A run, from its settings to a full run directory: passages in, outcomes stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from itertools import chain
from pathlib import Path

from depqa_ray.answering.prompts import SYSTEM, PromptBuilder, system_message
from depqa_ray.core import Job, Passage
from depqa_ray.edges.source import gold_edges
from depqa_ray.engines.base import EngineSpec, Fault
from depqa_ray.errors import DepqaError
from depqa_ray.hub import Snapshot
from depqa_ray.passages.base import BadRow, OnBadRow, OnEmpty, nothing, raise_bad_row
from depqa_ray.passages.sampling import Sample, SampleCounts, draw_examples, sample_passages
from depqa_ray.passages.sources import fetch_dataset, load_passages
from depqa_ray.planning.planner import EdgePlanner
from depqa_ray.planning.strategies import USES_EDGES
from depqa_ray.results.manifest import settings_manifest
from depqa_ray.results.records import PassageRecord, SampleRecord
from depqa_ray.results.store import RUNS, RunStore
from depqa_ray.runtime.driver import Driver
from depqa_ray.runtime.ray.connection import accelerators, connected_ray, edge_resources, replica_resources
from depqa_ray.runtime.ray.fetch import fetch_on_nodes
from depqa_ray.runtime.ray.pool import RayPool, ReplicaResources
from depqa_ray.runtime.recorder import Recorder, StoreRecorder
from depqa_ray.runtime.specs import edge_spec, engine_spec, hub_models
from depqa_ray.settings.load import Settings
from depqa_ray.settings.types import StrategyName

_BATCHES_AHEAD = 2  # when a replica ends a batch, the next one is waiting


def run_experiment(
    settings: Settings,
    strategies: Sequence[StrategyName],
    watcher: Recorder | None = None,
    *,
    faults: tuple[Fault, ...] = (),
) -> Path:
    """Answer the sampled passages under each strategy, on Ray. Returns the run directory.

    ``watcher`` gets each record once it is stored. ``faults`` are for the simulated engine.

    Raises InputError before anything starts if the data is unusable, and before replicas start if a model cannot be
    fetched. Raises StartError if a model cannot be loaded: no run directory is left. Raises ClusterError and StoreError
    later; the run directory then has what ended before.
    """
    watcher = watcher or Recorder()
    edges = settings.deps_engine is not None and bool(USES_EDGES & set(strategies))
    models = hub_models(settings, edges=edges)
    data = _read_data(settings, strategies, watcher)
    started = datetime.now(timezone.utc)
    folder = settings.run_dir or RUNS / started.strftime("%Y%m%d-%H%M%S-%f")
    watcher.on_stage("starting Ray")
    with connected_ray():
        held = replica_resources(settings)
        commits = _fetch_models(settings, models, watcher, gpus=held.gpus > 0)
        replicas = _replicas(settings, faults, commits, held, edges=edges)
        manifest = settings_manifest(
            settings,
            strategies,
            started=started.isoformat(timespec="seconds"),
            devices=accelerators(),
            examples=[example.id for example in data.examples],
            commits=commits | data.commits,
        )
        with RunStore.create(folder, manifest) as store:
            watcher.on_started(folder)
            watcher.on_stage(f"loading {settings.model_name}")
            jobs = _jobs(data, strategies, store)
            recorder = StoreRecorder(store, watcher, settings.isolated)
            try:
                asyncio.run(_drive(settings, replicas, jobs, recorder, _prompt_builder(settings, data.examples)))
            except DepqaError:
                store.discard_if_empty()
                raise
    return folder


@dataclass(frozen=True, slots=True)
class _Data:
    """A run's passages, as a stream, and its worked examples.

    ``skipped`` gets the bad rows as the stream passes them; behind its end, ``counts`` says what the sample left out.
    ``commits`` has the data set's, if it is on the hub.
    """

    passages: Iterator[Passage]
    examples: tuple[Passage, ...]
    skipped: list[BadRow]
    counts: Callable[[], SampleCounts]
    commits: dict[str, str]


def _read_data(settings: Settings, strategies: Sequence[StrategyName], watcher: Recorder) -> _Data:
    """The first passage is read, so that unusable data is reported before anything starts."""
    snapshot = fetch_dataset(settings.dataset, settings.split, watcher.on_fetch)
    if snapshot is not None and snapshot.note:
        watcher.warn(snapshot.note)
    skipped: list[BadRow] = []
    empty: list[None] = []
    gold = settings.dependency_source == "gold" and bool(USES_EDGES & set(strategies))
    sample = _sampled(_load(settings, snapshot, skipped.append, lambda: empty.append(None)), settings)
    passages = _peeked(sample, gold=gold)
    commits = {"dataset": snapshot.commit} if snapshot else {}
    return _Data(passages, _examples(settings, snapshot), skipped, lambda: sample.counts(len(empty)), commits)


def _prompt_builder(settings: Settings, examples: tuple[Passage, ...]) -> PromptBuilder:
    system_for = partial(system_message, settings.system_prompt or SYSTEM, settings.shots, examples)
    return PromptBuilder(system_for, settings.max_new_tokens)


@dataclass(frozen=True, slots=True)
class _Replicas:
    """What replicas load and hold: those that answer, and the dedicated edge replica if there is one."""

    answer: tuple[EngineSpec, ReplicaResources]
    edge: tuple[EngineSpec, ReplicaResources] | None


def _replicas(
    settings: Settings, faults: tuple[Fault, ...], commits: Mapping[str, str], held: ReplicaResources, *, edges: bool
) -> _Replicas:
    answer = engine_spec(settings, faults, commits, held.gpus)
    if not edges:
        return _Replicas((answer, held), None)
    held_by_edge = edge_resources(settings)
    return _Replicas((answer, held), (edge_spec(settings, answer, commits, held_by_edge.gpus), held_by_edge))


def _fetch_models(settings: Settings, models: Mapping[str, str], watcher: Recorder, *, gpus: bool) -> dict[str, str]:
    """Fetch the models of the hub on all nodes; returns their commits by role."""
    if not models:
        return {}
    watcher.on_stage(f"looking for {', '.join(sorted(set(models.values())))}")
    found = fetch_on_nodes(
        set(models.values()),
        gpus=gpus,
        timeout=settings.start_timeout,
        on_progress=watcher.on_fetch,
        warn=watcher.warn,
    )
    return {role: found[name] for role, name in models.items()}


async def _drive(
    settings: Settings, replicas: _Replicas, jobs: Iterator[Job], recorder: Recorder, prompts: PromptBuilder
) -> None:
    spec, held = replicas.answer
    revision = (replicas.edge or replicas.answer)[0].revision
    planner = EdgePlanner(settings, spec.sampling_params, prompts, recorder.warn, model_revision=revision)
    pool = RayPool(spec, held, replicas.edge)
    ahead, most = _BATCHES_AHEAD * settings.max_batch_size, settings.max_in_flight
    try:
        await Driver(pool, recorder, planner, prompts, ahead, most, cold_cache=settings.isolated).run(jobs)
    finally:
        await pool.close()


def _load(
    settings: Settings, snapshot: Snapshot | None, on_skipped: OnBadRow, on_empty: OnEmpty = nothing
) -> Iterator[Passage]:
    """The data set. A bad row raises InputError or, with ``--on-bad-input skip``, goes to ``on_skipped``."""
    on_bad_row = on_skipped if settings.on_bad_input == "skip" else raise_bad_row
    return load_passages(
        settings.dataset, split=settings.split, on_bad_row=on_bad_row, on_empty=on_empty, snapshot=snapshot
    )


def _sampled(passages: Iterator[Passage], settings: Settings) -> Sample:
    return sample_passages(
        passages,
        context_count=settings.context_count,
        min_questions=settings.min_questions,
        max_questions=settings.max_questions,
        seed=settings.seed,
    )


def _examples(settings: Settings, snapshot: Snapshot | None) -> tuple[Passage, ...]:
    """The worked examples and a spare one; none without ``--shots``. Reads the whole data set once more."""
    if not settings.shots:
        return ()
    passages = _load(settings, snapshot, lambda row: None)
    return draw_examples(passages, count=settings.shots + 1, min_questions=settings.min_questions, seed=settings.seed)


def _peeked(passages: Iterator[Passage], *, gold: bool) -> Iterator[Passage]:
    """The same stream with its first passage read."""
    first = next(passages)
    if gold:
        gold_edges(first)
    return chain([first], passages)


def _jobs(data: _Data, strategies: Sequence[StrategyName], store: RunStore) -> Iterator[Job]:
    """Every strategy on one passage, then on the next, each time another one first.

    So drift in time affects all strategies alike, and so does a server's prefix cache.
    """
    for number, passage in enumerate(data.passages):
        _store_skipped(store, data.skipped)
        store.append(PassageRecord(passage))
        first = number % len(strategies)
        for strategy in (*strategies[first:], *strategies[:first]):
            yield Job(strategy, passage)
    _store_skipped(store, data.skipped)
    store.append(SampleRecord(data.counts()))


def _store_skipped(store: RunStore, skipped: list[BadRow]) -> None:
    for row in skipped:
        store.append(row)
    skipped.clear()
