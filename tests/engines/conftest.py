"""Fixtures of several engines' tests."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from depqa_ray.engines.cpu.attention import Kernel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    """The attention kernel, built from the present source: an installed one may be older."""
    from depqa_ray.engines.cpu.attention import load

    folder = tmp_path_factory.mktemp("kernel")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(folder), "--build-temp", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = load(folder / "depqa_ray" / "engines" / "cpu")
    if found is None:
        pytest.skip(f"no compiler for the attention kernel here: {built.stderr[-300:]}")
    return found


@pytest.fixture(autouse=True)
def propagated_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo the command line's logging setup, so that caplog sees the package's log after its tests."""
    log = logging.getLogger("depqa_ray")
    monkeypatch.setattr(log, "propagate", True)
    log.setLevel(logging.NOTSET)
