"""What the tests of several engines share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from depqa_ray.engines.native_attention import Kernel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    """The attention kernel, built from the source as it is now: what was installed may be older."""
    from depqa_ray.engines import native_attention

    folder = tmp_path_factory.mktemp("kernel")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(folder), "--build-temp", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = native_attention.load(folder / "depqa_ray" / "engines")
    if found is None:
        pytest.skip(f"no compiler for the attention kernel here: {built.stderr[-300:]}")
    return found
