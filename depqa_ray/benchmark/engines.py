"""Starts the engines that a benchmark compares, each in its own process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from depqa_ray.benchmark.client import WorkerProcess
from depqa_ray.benchmark.protocol import info_from_json
from depqa_ray.benchmark.settings import BenchSettings, EngineChoice
from depqa_ray.engines.base import EngineInfo, SamplingParams
from depqa_ray.settings.types import EMBEDDED

Say: TypeAlias = Callable[[str], None]
"""Tells the user how far it has come."""


@dataclass(frozen=True, slots=True)
class Started:
    """An engine that is ready. ``settings`` are those that it runs with."""

    choice: EngineChoice
    worker: WorkerProcess
    info: EngineInfo
    settings: dict[str, Any]
    versions: dict[str, str]
    python: str


def model_of(settings: BenchSettings, stack: ExitStack, say: Say) -> str:
    """The model's folder or name; with --random-weights a temporary folder, which goes when ``stack`` ends."""
    if settings.random_weights is None:
        return settings.model_name
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="depqa-random-"))
    say(f"drawing random weights of the shape in {settings.random_weights}")
    with WorkerProcess("random weights") as worker:
        config = str(settings.random_weights.resolve())
        worker.ask("build", config=config, folder=folder, dtype=settings.dtype, seed=settings.seed)
    return folder


def start_engine(choice: EngineChoice, model: str, settings: BenchSettings, stack: ExitStack, say: Say) -> Started:
    """Start one engine; it ends when ``stack`` does. Raises EngineError."""
    say(f"{choice.text}: starting")
    python = settings.vllm_python if choice.name == "vllm" else None
    worker = stack.enter_context(WorkerProcess(choice.text, python, offline=is_local(model)))
    spec = {
        "engine": "transformers" if choice.name == "one_by_one" else choice.name,
        "model_name": model,
        "dtype": settings.dtype,
        "max_batch_size": choice.batch or settings.max_batch_size,
        "kv_gib": choice.kv_gib or settings.kv_gib,
        "gpu_memory_utilization": choice.gpu or settings.gpu_memory_utilization,
        "sampling_params": asdict(SamplingParams(fixed_length=settings.lengths == "fixed")),
    }
    reply = worker.ask("start", engine=spec["engine"], spec=spec, page=choice.page, step=choice.step)
    shown = {key: value for key, value in spec.items() if key not in ("engine", "model_name", "sampling_params")}
    if choice.name == "transformers_continuous":
        shown |= {"page": choice.page, "step": choice.step}
    return Started(choice, worker, info_from_json(reply["info"]), shown, reply["versions"], reply["python"])


def is_local(model: str) -> bool:
    """Whether a model can be loaded without a hub."""
    return model == EMBEDDED or Path(model).is_dir()


def passages_of(choice: EngineChoice, settings: BenchSettings, there: int) -> int:
    """How many of the passages an engine is asked about."""
    limit = choice.passages or (settings.one_by_one_limit if choice.name == "one_by_one" else None)
    return min(limit or there, there)
