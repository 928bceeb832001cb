"""From the settings of a run to what its replicas load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from depqa_ray.engines.base import EngineSpec, Fault, SamplingParams
from depqa_ray.engines.local.model_files import require_whole
from depqa_ray.hub import is_on_hub, model_repository
from depqa_ray.settings.load import Settings
from depqa_ray.settings.types import EMBEDDED, LOADING_ENGINES, DeviceName

MODEL, EDGE_MODEL = "model", "edge_model"
"""The roles of models in the manifest: the one that answers, and the one of ``--deps-model``."""


def hub_models(settings: Settings, *, edges: bool) -> dict[str, str]:
    """The models that replicas load from the hub, by role; that of edges only with ``edges``.

    Raises InputError if a name is neither a folder nor possible on the hub, StartError if a folder lacks a model's
    files.
    """
    wanted = {MODEL: (settings.engine, settings.model_name)}
    if edges and settings.deps_engine is not None and settings.deps_model is not None:
        wanted[EDGE_MODEL] = (settings.deps_engine, settings.deps_model)
    loaded = {role: name for role, (engine, name) in wanted.items() if engine in LOADING_ENGINES and name != EMBEDDED}
    for name in loaded.values():
        if is_on_hub(name):
            model_repository(name)
        else:
            require_whole(name)
    return {role: name for role, name in loaded.items() if is_on_hub(name)}


def engine_spec(settings: Settings, faults: tuple[Fault, ...], commits: Mapping[str, str], gpus: float) -> EngineSpec:
    """The engine of the replicas that answer, each of which holds ``gpus``. ``commits`` are of models, by role."""
    return EngineSpec(
        engine=settings.engine,
        model_name=_reachable(settings.model_name),
        dtype=settings.dtype,
        max_batch_size=settings.max_batch_size,
        kv_gib=settings.kv_gib,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        sampling_params=SamplingParams(
            settings.temperature, settings.top_p, settings.seed, settings.stop, settings.stop_at_json
        ),
        faults=faults,
        base_url=settings.openai_base_url or "",
        request_timeout=settings.request_timeout,
        revision=commits.get(MODEL, ""),
        device=_device(settings, gpus),
    )


def edge_spec(settings: Settings, answers: EngineSpec, commits: Mapping[str, str], gpus: float) -> EngineSpec:
    """The engine of the dedicated edge replica, which holds ``gpus``; otherwise like the one that ``answers``."""
    assert settings.deps_engine is not None and settings.deps_model is not None
    return replace(
        answers,
        engine=settings.deps_engine,
        model_name=_reachable(settings.deps_model),
        base_url=settings.deps_base_url or answers.base_url,
        faults=(),
        revision=commits.get(EDGE_MODEL, ""),
        device=_device(settings, gpus),
    )


def _device(settings: Settings, gpus: float) -> DeviceName:
    if gpus:
        return "cuda"
    return "cpu" if settings.gpus_per_replica == 0 else "auto"


def _reachable(model_name: str) -> str:
    """The name, absolute if it is a folder: replicas may run in another one."""
    path = Path(model_name)
    return str(path.absolute()) if path.is_dir() else model_name
