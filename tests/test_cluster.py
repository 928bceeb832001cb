"""`ray job submit` to a running cluster, as cluster/README.md describes it, against a cluster of this machine's own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from depqa_ray.results.metrics import compute_results
from depqa_ray.results.store import RunStore

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """A cluster with token authentication; yields the environment that its users need."""
    dashboard = free_port()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    environment.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        start = ["ray", "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}", f"--temp-dir={folder}"]
        start += [f"--dashboard-port={dashboard}", "--object-store-memory=100000000"]
        # The agent's port is fixed by default, and another Ray on this machine may hold it.
        start += [f"--dashboard-agent-listen-port={free_port()}", f"--metrics-export-port={free_port()}"]
        head = subprocess.Popen(start, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 120
            # The head answers before its node's agent, which starts jobs, is there: only a job that ran proves both.
            while subprocess.run(
                ["ray", "job", "submit", "--", "true"], env=environment, capture_output=True
            ).returncode:
                assert head.poll() is None and time.monotonic() < deadline, "the cluster did not come up"
                time.sleep(0.5)
            yield environment
        finally:
            os.killpg(head.pid, signal.SIGTERM)
            try:
                head.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(head.pid, signal.SIGKILL)
                head.wait()


def submit(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "cluster" / "submit.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_submitted_job_runs_on_the_cluster(cluster: dict[str, str], tmp_path: Path) -> None:
    """If a job is submitted to a running cluster, it runs there and succeeds."""
    flags = ["--engine", "simulated", "--dataset", "embedded", "--context-count", "4", "--replicas", "2"]
    ended = submit(cluster, "run", *flags, "--run-dir", str(tmp_path / "run"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    summary = compute_results(RunStore.open(tmp_path / "run").read()).strategies["dependency_parallel"]
    assert summary.counts.answered == summary.counts.questions > 0
    assert "dependency_parallel" in ended.stdout


def test_submitted_job_with_bad_flags_fails_in_one_line(cluster: dict[str, str]) -> None:
    """If a submitted job has bad flags, it fails and its one-line error is shown."""
    ended = submit(cluster, "run", "--context-count", "many")
    assert ended.returncode != 0
    assert "--context-count" in ended.stdout + ended.stderr


def test_script_without_a_command_prints_its_usage() -> None:
    """If no command is given, the script prints its usage."""
    ended = submit(dict(os.environ))
    assert ended.returncode == 2
    assert "usage:" in ended.stderr
