"""Starts the engines that a benchmark compares, each in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from depqa_ray.benchmark.client import WorkerProcess
from depqa_ray.benchmark.protocol import StartReply, start_from_json
from depqa_ray.benchmark.settings import BenchSettings, EngineChoice
from depqa_ray.engines.base import SamplingParams
from depqa_ray.hub import FetchLog, fetch_model, is_on_hub

Report: TypeAlias = Callable[[str], None]
"""Shows the user a line of progress."""


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """An engine that is ready. ``settings`` are those that it runs with, as the results show them."""

    choice: EngineChoice
    worker: WorkerProcess
    reply: StartReply
    settings: dict[str, Any]


def resolve_model(settings: BenchSettings, stack: ExitStack, report: Report) -> str:
    """The model's folder, or "embedded". With --random-weights, a temporary folder that ``stack`` deletes.

    A model of the hub is fetched. Raises InputError if that fails.
    """
    if settings.random_weights is None:
        name = settings.model_name
        return str(fetch_model(name, FetchLog(report)).folder) if is_on_hub(name) else name
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="depqa-random-"))
    report(f"drawing random weights of the shape in {settings.random_weights}")
    with WorkerProcess("random weights") as worker:
        config = str(settings.random_weights.resolve())
        worker.ask("build", config=config, folder=folder, dtype=settings.dtype, seed=settings.seed)
    return folder


def start_engine(
    choice: EngineChoice, model: str, settings: BenchSettings, stack: ExitStack, report: Report
) -> RunningEngine:
    """Start one engine; ``stack`` ends it. Raises EngineError."""
    report(f"{choice.text}: starting")
    python = settings.vllm_python if choice.name == "vllm" else None
    worker = stack.enter_context(WorkerProcess(choice.text, python))
    is_peer = choice.name == "transformers_continuous"
    shown: dict[str, Any] = {
        "dtype": settings.dtype,
        "max_batch_size": choice.batch or settings.max_batch_size,
        "kv_gib": choice.kv_gib or settings.kv_gib,
        "gpu_memory_utilization": choice.gpu or settings.gpu_memory_utilization,
    }
    spec = shown | {
        "engine": "transformers" if is_peer else choice.engine,
        "model_name": model,
        "sampling_params": asdict(SamplingParams(fixed_length=settings.lengths == "fixed")),
    }
    reply = start_from_json(worker.ask("start", engine=choice.engine, spec=spec, page=choice.page, step=choice.step))
    if is_peer:
        shown |= {"page": choice.page, "step": choice.step}
    return RunningEngine(choice, worker, reply, shown)
