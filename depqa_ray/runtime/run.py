"""An experiment from its settings to a full run directory: passages in, outcomes stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol

from depqa_ray.answering.prompts import SYSTEM, system_message
from depqa_ray.core import Job, Passage, StepResult
from depqa_ray.edges.gold import gold_edges
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.engines.base import EngineSpec, Fault, SamplingParams
from depqa_ray.passages.base import BadRow, OnBadRow, raise_bad_row
from depqa_ray.passages.sampling import draw_examples, sample_passages
from depqa_ray.passages.sources import load_passages
from depqa_ray.planning.planner import EdgePlanner
from depqa_ray.planning.strategies import USES_EDGES
from depqa_ray.results.manifest import settings_manifest
from depqa_ray.results.records import EdgeRecord, PassageRecord, PassageResult
from depqa_ray.results.store import RunStore
from depqa_ray.runtime.driver import Driver
from depqa_ray.runtime.pool import Joined, Pool
from depqa_ray.runtime.ray.connection import accelerators, connected_ray, edges_shape, pool_shape
from depqa_ray.runtime.ray.pool import RayPool
from depqa_ray.settings.load import Settings
from depqa_ray.settings.types import StrategyName

_BATCHES_AHEAD = 2  # a replica has its next batch waiting when it ends one


class Observer(Protocol):
    """Who watches a run: a progress bar, a log, a test."""

    def begun(self, folder: Path) -> None:
        """The run directory is there."""

    def answered(self, strategy: str, questions: int) -> None:
        """So many questions have their outcome."""

    def remark(self, text: str) -> None:
        """Something worth a line."""


class _Nobody:
    """The observer where there is none."""

    def begun(self, folder: Path) -> None:
        """See Observer."""

    def answered(self, strategy: str, questions: int) -> None:
        """See Observer."""

    def remark(self, text: str) -> None:
        """See Observer."""


def run_experiment(
    settings: Settings,
    strategies: Sequence[StrategyName],
    observer: Observer | None = None,
    *,
    faults: tuple[Fault, ...] = (),
) -> Path:
    """Answer the sampled passages under each strategy, on Ray. Returns the run directory.

    ``faults`` are given to the simulated engine. Raises InputError before anything is started where the data cannot be
    used, EngineError, ClusterError and StoreError; whatever had ended by then is in the run directory.
    """
    observer = observer or _Nobody()
    skipped: list[BadRow] = []
    uses_edges = bool(USES_EDGES & set(strategies))
    passages = _begun(_sampled(settings, skipped.append), gold=uses_edges and settings.dependency_source == "gold")
    examples = _examples(settings)
    system = partial(system_message, settings.system_prompt or SYSTEM, settings.shots, examples)
    started = datetime.now(timezone.utc)
    folder = settings.run_dir or Path("runs") / started.strftime("%Y%m%d-%H%M%S-%f")
    with connected_ray():
        manifest = settings_manifest(
            settings,
            strategies,
            started=started.isoformat(timespec="seconds"),
            devices=accelerators(),
            examples=[example.id for example in examples],
        )
        with RunStore.create(folder, manifest) as store:
            observer.begun(folder)
            jobs = _jobs(passages, strategies, store, skipped)
            sink = StoreSink(store, observer, settings.isolated)
            apart = uses_edges and settings.deps_engine is not None
            asyncio.run(_drive(settings, jobs, sink, faults, system, apart))
    return folder


async def _drive(
    settings: Settings,
    jobs: Iterator[Job],
    sink: StoreSink,
    faults: tuple[Fault, ...],
    system: Callable[[Passage], str],
    edges_apart: bool,
) -> None:
    spec = _engine_spec(settings, faults)
    edges = (_edges_spec(settings, spec), edges_shape(settings)) if edges_apart else None
    planner = EdgePlanner(settings, spec.sampling_params, system, sink.remark)
    pool: Pool = RayPool(spec, pool_shape(settings), edges)
    try:
        driver = Driver(
            pool,
            sink,
            planner,
            settings.max_new_tokens,
            _BATCHES_AHEAD * settings.max_batch_size,
            settings.max_in_flight,
            system=system,
            fresh=settings.isolated,
            edges_apart=edges_apart,
        )
        await driver.run(jobs)
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
    """The engine that is asked for edges alone."""
    assert settings.deps_engine is not None and settings.deps_model is not None
    return replace(
        spec,
        engine=settings.deps_engine,
        model_name=settings.deps_model,
        base_url=settings.deps_base_url or spec.base_url,
        faults=(),
    )


@dataclass(slots=True)
class StoreSink:
    """Writes what the driver reports into the run's store, then tells the observer."""

    store: RunStore
    observer: Observer
    isolated: bool = False

    def ended(self, result: StepResult) -> None:
        """See :class:`~depqa_ray.runtime.driver.Sink`."""
        self.store.append(result)
        self.observer.answered(result.strategy, len(result.outcomes))

    def planned(self, job: Job, chosen: EdgeSelection) -> None:
        """See :class:`~depqa_ray.runtime.driver.Sink`."""
        self.store.append(EdgeRecord(job.strategy, job.passage.id, chosen))

    def finished(self, job: Job, admitted: float, at: float) -> None:
        """See :class:`~depqa_ray.runtime.driver.Sink`."""
        self.store.append(PassageResult(job.strategy, job.passage.id, admitted, at))

    def remark(self, text: str) -> None:
        """See :class:`~depqa_ray.runtime.driver.Sink`."""
        self.observer.remark(text)

    def joined(self, event: Joined) -> None:
        """See :class:`~depqa_ray.runtime.driver.Sink`."""
        info = event.info
        size = f", {info.parameters / 1e6:.1f}M parameters" if info.parameters else ""
        where = "made up by a cost model" if info.engine == "simulated" else f"{info.dtype}, on {info.device}"
        self.observer.remark(f"{event.replica} is ready: {info.model}{size}, {where}")
        if self.isolated and not info.can_reset_cache:
            self.observer.remark(f"{event.replica} cannot forget: it may have read a passage for the strategy before")


def _loaded(settings: Settings, on_skipped: OnBadRow) -> Iterator[Passage]:
    """The data set, of which a bad row raises InputError, or goes to ``on_skipped`` with ``--on-bad-input skip``."""
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
    """The passages to be shown as worked examples and a spare one; none without ``--shots``.

    This reads the whole data set. It does not store skipped rows: the reading that samples does.
    """
    if not settings.shots:
        return ()
    passages = _loaded(settings, lambda row: None)
    return draw_examples(passages, count=settings.shots + 1, min_questions=settings.min_questions, seed=settings.seed)


def _begun(passages: Iterator[Passage], *, gold: bool) -> Iterator[Passage]:
    """The same stream with its first passage read already, so that unusable data is told of before anything starts."""
    first = next(passages)
    if gold:
        gold_edges(first)
    return chain([first], passages)


def _jobs(
    passages: Iterable[Passage],
    strategies: Sequence[StrategyName],
    store: RunStore,
    skipped: list[BadRow],
) -> Iterator[Job]:
    """Every strategy on one passage, then on the next, each time another one first.

    What drifts in time then touches all strategies alike, and so does what a server keeps of a passage.
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
