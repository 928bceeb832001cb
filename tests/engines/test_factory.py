"""The environment variables that building an engine sets for the whole process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

CODE = """
import json, os, sys
from depqa_ray.engines.base import EngineSpec
from depqa_ray.engines.factory import build_engine
build_engine(EngineSpec(sys.argv[1], "embedded", "auto", 1, 1.0, 0.9))
print(json.dumps({name: os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "given", "then"),
    [
        ("shared_prefix", {}, (None, "3000")),
        ("transformers", {}, (None, "3000")),
        ("shared_prefix", {"OMP_WAIT_POLICY": "active"}, ("active", None)),
        ("shared_prefix", {"GOMP_SPINCOUNT": "7"}, (None, "7")),
        ("simulated", {}, (None, None)),
    ],
)
def test_threads_of_a_local_engine_spin_only_briefly(
    engine: str, given: dict[str, str], then: tuple[str | None, str | None]
) -> None:
    """If an engine computes locally, its threads spin only briefly, unless the environment says otherwise."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    ran = subprocess.run(
        [sys.executable, "-c", CODE, engine], env=environment | given, capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout)
    assert (found["OMP_WAIT_POLICY"], found["GOMP_SPINCOUNT"]) == then
