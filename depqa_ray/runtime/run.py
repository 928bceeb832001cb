"""A run, from its settings to a full run directory: passages in, outcomes stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from itertools import chain
from pathlib import Path

from depqa_ray.answering.prompts import SYSTEM, PromptBuilder, system_message
from depqa_ray.core import Job, Passage
from depqa_ray.edges.source import gold_edges
from depqa_ray.engines.base import EngineSpec, Fault, SamplingParams
from depqa_ray.passages.base import BadRow, OnBadRow, raise_bad_row
from depqa_ray.passages.sampling import draw_examples, sample_passages
from depqa_ray.passages.sources import load_passages
from depqa_ray.planning.planner import EdgePlanner
from depqa_ray.planning.strategies import USES_EDGES
from depqa_ray.results.manifest import settings_manifest
from depqa_ray.results.records import PassageRecord
from depqa_ray.results.store import RUNS, RunStore
from depqa_ray.runtime.driver import Driver
from depqa_ray.runtime.ray.connection import accelerators, connected_ray, edge_resources, replica_resources
from depqa_ray.runtime.ray.pool import RayPool
from depqa_ray.runtime.recorder import Recorder, StoreRecorder
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

    Raises InputError before anything starts if the data is unusable. Raises ClusterError and StoreError later; the run
    directory then has what ended before.
    """
    watcher = watcher or Recorder()
    skipped: list[BadRow] = []
    uses_edges = bool(USES_EDGES & set(strategies))
    passages = _peeked(_sampled(settings, skipped.append), gold=uses_edges and settings.dependency_source == "gold")
    examples = _examples(settings)
    system_for = partial(system_message, settings.system_prompt or SYSTEM, settings.shots, examples)
    prompts = PromptBuilder(system_for, settings.max_new_tokens)
    started = datetime.now(timezone.utc)
    folder = settings.run_dir or RUNS / started.strftime("%Y%m%d-%H%M%S-%f")
    with connected_ray():
        manifest = settings_manifest(
            settings,
            strategies,
            started=started.isoformat(timespec="seconds"),
            devices=accelerators(),
            examples=[example.id for example in examples],
        )
        with RunStore.create(folder, manifest) as store:
            watcher.on_started(folder)
            jobs = _jobs(passages, strategies, store, skipped)
            recorder = StoreRecorder(store, watcher, settings.isolated)
            dedicated_edge_replicas = uses_edges and settings.deps_engine is not None
            asyncio.run(_drive(settings, jobs, recorder, faults, prompts, dedicated_edge_replicas))
    return folder


async def _drive(
    settings: Settings,
    jobs: Iterator[Job],
    recorder: Recorder,
    faults: tuple[Fault, ...],
    prompts: PromptBuilder,
    dedicated_edge_replicas: bool,
) -> None:
    spec = _engine_spec(settings, faults)
    edges = (_edges_spec(settings, spec), edge_resources(settings)) if dedicated_edge_replicas else None
    planner = EdgePlanner(settings, spec.sampling_params, prompts, recorder.warn)
    pool = RayPool(spec, replica_resources(settings), edges)
    ahead, most = _BATCHES_AHEAD * settings.max_batch_size, settings.max_in_flight
    try:
        await Driver(pool, recorder, planner, prompts, ahead, most, cold_cache=settings.isolated).run(jobs)
    finally:
        await pool.close()


def _engine_spec(settings: Settings, faults: tuple[Fault, ...]) -> EngineSpec:
    return EngineSpec(
        settings.engine,
        settings.model_name,
        settings.dtype,
        settings.max_batch_size,
        settings.kv_gib,
        settings.gpu_memory_utilization,
        SamplingParams(settings.temperature, settings.top_p, settings.seed, settings.stop, settings.stop_at_json),
        faults,
        settings.openai_base_url or "",
        settings.request_timeout,
    )


def _edges_spec(settings: Settings, spec: EngineSpec) -> EngineSpec:
    """The engine of the dedicated edge replica."""
    assert settings.deps_engine is not None and settings.deps_model is not None
    return replace(
        spec,
        engine=settings.deps_engine,
        model_name=settings.deps_model,
        base_url=settings.deps_base_url or spec.base_url,
        faults=(),
    )


def _loaded(settings: Settings, on_skipped: OnBadRow) -> Iterator[Passage]:
    """The data set. A bad row raises InputError or, with ``--on-bad-input skip``, goes to ``on_skipped``."""
    on_bad_row = on_skipped if settings.on_bad_input == "skip" else raise_bad_row
    return load_passages(settings.dataset, split=settings.split, on_bad_row=on_bad_row)


def _sampled(settings: Settings, on_skipped: OnBadRow) -> Iterator[Passage]:
    return sample_passages(
        _loaded(settings, on_skipped),
        context_count=settings.context_count,
        min_questions=settings.min_questions,
        max_questions=settings.max_questions,
        seed=settings.seed,
    )


def _examples(settings: Settings) -> tuple[Passage, ...]:
    """The worked examples and a spare one; none without ``--shots``. Reads the whole data set once more."""
    if not settings.shots:
        return ()
    passages = _loaded(settings, lambda row: None)
    return draw_examples(passages, count=settings.shots + 1, min_questions=settings.min_questions, seed=settings.seed)


def _peeked(passages: Iterator[Passage], *, gold: bool) -> Iterator[Passage]:
    """The same stream with its first passage read, so that unusable data is reported before anything starts."""
    first = next(passages)
    if gold:
        gold_edges(first)
    return chain([first], passages)


def _jobs(
    passages: Iterable[Passage], strategies: Sequence[StrategyName], store: RunStore, skipped: list[BadRow]
) -> Iterator[Job]:
    """Every strategy on one passage, then on the next, each time another one first.

    So drift in time affects all strategies alike, and so does a server's prefix cache.
    """
    for number, passage in enumerate(passages):
        _store_skipped(store, skipped)
        store.append(PassageRecord(passage))
        first = number % len(strategies)
        for strategy in (*strategies[first:], *strategies[:first]):
            yield Job(strategy, passage)
    _store_skipped(store, skipped)


def _store_skipped(store: RunStore, skipped: list[BadRow]) -> None:
    for row in skipped:
        store.append(row)
    skipped.clear()
