"""Fetches the files of models on every node that may hold a replica, before replicas start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Final

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from depqa_ray.errors import ClusterError, InputError
from depqa_ray.hub import FetchProgress, OnProgress, Snapshot, fetch_model
from depqa_ray.runtime.ray.failures import failure_of


@ray.remote(num_cpus=0, max_retries=0)
def _fetch_here(model_name: str) -> Iterator[FetchProgress | Snapshot]:
    """Fetch a model on this node: yields the progress, and at last the snapshot."""
    updates: SimpleQueue[FetchProgress | None] = SimpleQueue()
    with ThreadPoolExecutor(1) as thread:
        fetched = thread.submit(fetch_model, model_name, updates.put)
        fetched.add_done_callback(lambda _: updates.put(None))
        while (update := updates.get()) is not None:
            yield update
        yield fetched.result()


_FETCH: Final[Any] = _fetch_here
"""The task as Ray makes it: its ``options`` have no types."""


def fetch_on_nodes(
    model_names: Collection[str], *, gpus: bool, timeout: float, on_progress: OnProgress, warn: Callable[[str], None]
) -> Mapping[str, str]:
    """Fetch models of the hub on all nodes that have GPUs, or CPUs without ``gpus``. Returns each model's commit.

    Ends with an error if a node reports nothing for ``timeout`` seconds; the size of a model does not matter. Raises
    InputError if a model cannot be fetched, ClusterError if a node fails.
    """
    nodes = _node_ids("GPU" if gpus else "CPU")
    return {name: asyncio.run(_fetch_one(name, nodes, timeout, on_progress, warn)) for name in model_names}


async def _fetch_one(
    model_name: str, nodes: list[str], timeout: float, on_progress: OnProgress, warn: Callable[[str], None]
) -> str:
    label = model_name if len(nodes) == 1 else f"{model_name} on {len(nodes)} nodes"
    known: dict[str, FetchProgress] = {}

    def report(node: str, progress: FetchProgress) -> None:
        known[node] = progress
        done, total = (sum(getattr(of_node, field) for of_node in known.values()) for field in ("done", "total"))
        on_progress(FetchProgress(label, done, total, progress.problem))

    tasks = [asyncio.ensure_future(_fetch_on(node, model_name, timeout, report)) for node in nodes]
    try:
        snapshots = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    for note in {snapshot.note for snapshot in snapshots} - {""}:
        warn(note)
    commits = {snapshot.commit for snapshot in snapshots}
    if len(commits) > 1:
        raise ClusterError(f"{model_name} changed on the hub while nodes fetched it: run again, or give NAME@REVISION")
    return commits.pop()


async def _fetch_on(
    node: str, model_name: str, timeout: float, report: Callable[[str, FetchProgress], None]
) -> Snapshot:
    affinity = NodeAffinitySchedulingStrategy(node, soft=False)
    updates = _FETCH.options(num_returns="streaming", scheduling_strategy=affinity).remote(model_name)
    try:
        while True:
            update = await asyncio.wait_for(await asyncio.wait_for(anext(updates), timeout), timeout)
            if isinstance(update, Snapshot):
                return update
            report(node, update)
    except asyncio.TimeoutError:
        raise ClusterError(
            f"a node has not fetched any of {model_name} within {timeout:g} s (--start-timeout)"
        ) from None
    except RayError as error:
        failure = failure_of(error)
        if isinstance(failure.permanent, InputError):
            raise failure.permanent from None
        raise ClusterError(f"a node cannot fetch {model_name}: {failure.reason}") from None
    finally:
        ray.cancel(updates, force=False)


def _node_ids(resource: str) -> list[str]:
    """The living nodes that have some of a resource; all living ones if none has."""
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # it has no types
    having = [node for node in alive if node["Resources"].get(resource, 0.0) > 0]
    return [node["NodeID"] for node in having or alive]
