"""Models are fetched on every node that may hold a replica. The nodes here are of one machine, and share its cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_repositories import add_model
from tests.hub_server import running_hub
from tests.processes import ROOT

pytestmark = pytest.mark.slow

# A head without CPUs, a node with a GPU that Ray only believes in, and one without.
SCRIPT = """
import ray
from ray.cluster_utils import Cluster
from depqa_ray.runtime.ray.fetch import fetch_on_nodes

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80_000_000})
cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=80_000_000)
cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
cluster.connect()
for gpus in (False, True):
    seen = []
    commits = fetch_on_nodes({"a/model"}, gpus=gpus, timeout=60, on_progress=seen.append, warn=print)
    print("commit", commits["a/model"], "progress", sorted({progress.name for progress in seen}))
ray.shutdown()
cluster.shutdown()
"""


def test_each_node_that_may_hold_a_replica_fetches_the_model(tmp_path: Path) -> None:
    """If there are two nodes with CPUs, both fetch; the cache that they share gets each file once."""
    with running_hub(tmp_path / "hub") as hub:
        add_model(hub.root, "a/model")
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf"),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        for name in ("RAY_ADDRESS", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HTTP_PROXY", "http_proxy"):
            environment.pop(name, None)
        ended = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        both, one = (line for line in ended.stdout.splitlines() if line.startswith("commit "))
        assert both == f"commit {hub.commit('a/model')} progress ['a/model on 2 nodes']"
        assert one == f"commit {hub.commit('a/model')} progress []"
        assert len(hub.bodies("safetensors$")) == 2
        assert sum(request.path.startswith("/api/models/a/model") for request in hub.requests) == 3
