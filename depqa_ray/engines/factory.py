"""Builds the engine that a spec names. An engine's libraries are imported only if it is built."""

from __future__ import annotations

import os
from typing import Final

from depqa_ray.engines.base import Engine, EngineSpec

_SPIN_COUNT: Final = "3000"
"""Iterations that a waiting OpenMP thread spins before it sleeps.

With OpenMP's 300,000 a spinning thread keeps its core from the thread that it waits for, if other programs run: on two
cores with two busy processes the demo took over two minutes; with 3,000, 31 s. On an idle machine under full load 3,000
costs a small model up to a fifth, a larger one nothing; no spinning (a passive policy) costs the small one a third.
"""


def build_engine(spec: EngineSpec, replica: str = "") -> Engine:
    """Build a spec's engine, not started yet. ``replica`` is the name of the replica that holds it."""
    match spec.engine:
        case "simulated":
            from depqa_ray.engines.simulated import SimulatedEngine

            return SimulatedEngine(spec, replica)
        case "openai":
            from depqa_ray.engines.openai.engine import OpenAIEngine

            return OpenAIEngine(spec)
        case "vllm":
            from depqa_ray.engines.vllm import VllmEngine

            return VllmEngine(spec)
        case "shared_prefix":
            _limit_openmp_spin()
            from depqa_ray.engines.shared_prefix.engine import SharedPrefixEngine

            return SharedPrefixEngine(spec)
        case "transformers":
            _limit_openmp_spin()
            from depqa_ray.engines.local.transformers import TransformersEngine

            return TransformersEngine(spec)


def _limit_openmp_spin() -> None:
    """Set the spin count unless the user has set a wait policy. OpenMP reads it once, when torch is first loaded."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT
