"""Machines that lack what others have: each runs, or says in one line what to set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from depqa_ray.results.store import RunStore

DEMO = ("demo", "--engine", "simulated", "--context-count", "1", "--strategies", "sequential,dependency_parallel")
NOWHERE = "/dev/null/nowhere"
"""A folder that nobody can create, not even root."""

pytestmark = pytest.mark.slow


def demo(folder: Path, *prefix: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the demo with simulated answers into ``folder``, in a process with other variables."""
    command = [*prefix, sys.executable, "-m", "depqa_ray", *DEMO, "--run-dir", str(folder)]
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_AUTH_TOKEN", "RAY_TMPDIR")}
    return subprocess.run(command, capture_output=True, text=True, env=environment | variables, timeout=120)


def test_run_needs_no_home_no_ps_no_proxy_and_few_files(tmp_path: Path) -> None:
    """A run needs neither a home folder nor ``ps``, asks no proxy on its own machine, and opens few files."""
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    limited = ("/bin/bash", "-c", 'ulimit -n 256; exec "$0" "$@"')

    found = demo(tmp_path / "r", *limited, HOME=NOWHERE, PATH=NOWHERE, ALL_PROXY="socks5://127.0.0.1:9", **proxies)

    assert found.returncode == 0, found.stderr
    assert "Averages over 1 passage" in found.stdout
    assert len(RunStore.open(tmp_path / "r").read().finished) == 2


@pytest.mark.parametrize(
    ("variable", "folder", "said"),
    [
        ("RAY_TMPDIR", "x" * 100, "set RAY_TMPDIR to a folder with a short path, such as /tmp"),
        ("TMPDIR", "x" * 100, "set RAY_TMPDIR to a folder with a short path, such as /tmp"),
        ("TMPDIR", NOWHERE, "set RAY_TMPDIR to a folder that can be written"),
    ],
)
def test_folder_that_ray_cannot_use_is_one_line(variable: str, folder: str, said: str, tmp_path: Path) -> None:
    """If Ray's folder has too long a path or cannot be written, the one line says what to set."""
    if folder != NOWHERE:
        (tmp_path / folder).mkdir()
    found = demo(tmp_path / "r", **{variable: str(tmp_path / folder)})
    assert (found.returncode, found.stdout) == (1, "")
    stage, error = found.stderr.splitlines()
    assert stage.strip() == "starting Ray"
    assert error.endswith(said)


def test_reader_that_leaves_in_the_middle_does_not_end_a_run(tmp_path: Path) -> None:
    """If both streams go into a pipe whose reader leaves after a line, the run ends as if it had stayed."""
    piped = ("/bin/bash", "-o", "pipefail", "-c", '"$0" "$@" 2>&1 | head -1')
    found = demo(tmp_path / "r", *piped)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("starting Ray")
    assert (tmp_path / "r" / "html" / "index.html").exists()
