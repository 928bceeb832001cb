"""Builds the engine that a spec names. Each engine's libraries are imported only when it is asked for."""

from __future__ import annotations

from depqa_ray.engines.base import Engine, EngineSpec


def build_engine(spec: EngineSpec, replica: str = "") -> Engine:
    """The engine of a spec, not started yet. ``replica`` is the name of the replica that it will live in."""
    if spec.engine == "simulated":
        from depqa_ray.engines.simulated import SimulatedEngine

        return SimulatedEngine(spec, replica)
    if spec.engine == "shared_prefix":
        from depqa_ray.engines.shared_prefix import SharedPrefixEngine

        return SharedPrefixEngine(spec)
    if spec.engine == "vllm":
        from depqa_ray.engines.vllm import VllmEngine

        return VllmEngine(spec)
    if spec.engine == "openai":
        from depqa_ray.engines.openai import OpenAIEngine

        return OpenAIEngine(spec)
    from depqa_ray.engines.transformers import TransformersEngine

    return TransformersEngine(spec)
