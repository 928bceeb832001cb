"""What the tests of several engines share."""

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
    """The attention kernel, built from the source as it is now: what was installed may be older."""
    from depqa_ray.engines.cpu import attention as native_attention

    folder = tmp_path_factory.mktemp("kernel")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(folder), "--build-temp", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = native_attention.load(folder / "depqa_ray" / "engines" / "cpu")
    if found is None:
        pytest.skip(f"no compiler for the attention kernel here: {built.stderr[-300:]}")
    return found


@pytest.fixture(autouse=True)
def heard_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line keeps the package's log to itself; where a test of it ran before, caplog would hear little."""
    log = logging.getLogger("depqa_ray")
    monkeypatch.setattr(log, "propagate", True)
    log.setLevel(logging.NOTSET)
