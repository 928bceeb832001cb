"""Runs the program in a process of its own, as its users do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


def depqa_ray(
    *arguments: str | Path, cwd: Path, environment: Mapping[str, str] | None = None, seconds: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run the console script's code in ``cwd``, which is not on its path, with the package of this checkout."""
    # As in a console script, the current folder is not on the path.
    start = (
        "import sys; sys.path[:] = filter(None, sys.path); from depqa_ray.cli.commands import main; sys.exit(main())"
    )
    known = {name: value for name, value in os.environ.items() if not name.startswith(("DEPQA_", "RAY_ADDRESS"))}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-c", start, *map(str, arguments)],
        cwd=cwd,
        env={**known, "PYTHONPATH": path, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
