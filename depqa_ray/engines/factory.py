"""Builds the engine that a spec names. Each engine's libraries are imported only when it is asked for."""

from __future__ import annotations

import os
from typing import Final

from depqa_ray.engines.base import Engine, EngineSpec

_SPINS: Final = "3000"
"""How long OpenMP's threads wait awake for each other, in turns of a loop, before they sleep.

With 300,000 turns, its own choice, a thread that waits keeps the processor from the one that it waits for wherever
other programs run beside: the demo then took over two minutes beside two busy processes on two cores, and 31 s with
3,000 turns. With nothing beside, a small model under full load loses up to a fifth by that, a larger one nothing that
was measurable; not waiting awake at all (a passive policy) costs the small one a third.
"""


def build_engine(spec: EngineSpec, replica: str = "") -> Engine:
    """The engine of a spec, not started yet. ``replica`` is the name of the replica that it will live in."""
    if spec.engine == "simulated":
        from depqa_ray.engines.simulated import SimulatedEngine

        return SimulatedEngine(spec, replica)
    if spec.engine == "shared_prefix":
        _wait_briefly()
        from depqa_ray.engines.shared_prefix.engine import SharedPrefixEngine

        return SharedPrefixEngine(spec)
    if spec.engine == "vllm":
        from depqa_ray.engines.vllm import VllmEngine

        return VllmEngine(spec)
    if spec.engine == "openai":
        from depqa_ray.engines.openai import OpenAIEngine

        return OpenAIEngine(spec)
    _wait_briefly()
    from depqa_ray.engines.local.transformers import TransformersEngine

    return TransformersEngine(spec)


def _wait_briefly() -> None:
    """Bound OpenMP's waiting where the user has said nothing of it. It is read once, when torch is first loaded."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPINS
