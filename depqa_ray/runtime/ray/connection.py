"""The Ray cluster of a run: a running one, or Ray started on this machine for this run; and what replicas get of it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import ray
from ray.job_config import JobConfig
from typing_extensions import override

from depqa_ray.errors import ClusterError, InputError, SettingsError
from depqa_ray.files import check_output_folder
from depqa_ray.runtime.ray.pool import ReplicaResources
from depqa_ray.settings.load import Settings
from depqa_ray.settings.types import LOADING_ENGINES

_LOCAL_OBJECT_STORE: Final = 128 * 1024**2
"""Bytes. Prompts and completions are small; Ray's default takes a share of memory that a laptop would miss."""

_PRINT: Final[Any] = ray._private.worker.print_to_stdstream
_CONNECT_SECONDS: Final = 5.0
_ADDRESS_ADVICE: Final = "; start the cluster's head node, or correct or unset RAY_ADDRESS"


@contextmanager
def connected_ray() -> Iterator[None]:
    """Connect to the cluster of ``RAY_ADDRESS`` (which ``ray job submit`` sets), or start a local one.

    A connection that exists already is used and not closed. Raises ClusterError if Ray cannot be connected or started.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    _keep_stdout()
    try:
        if address:
            _require_reachable(address)
            ray.init(address=address, job_config=_job_config(), log_to_driver=False, logging_level=logging.ERROR)
        else:
            _start_local()
    except Exception as error:  # Ray raises many kinds of exceptions here, OSError and RuntimeError among them
        place = f"connect to Ray at {address}" if address else "start Ray on this machine"
        advice = _ADDRESS_ADVICE if address else _start_advice(error)
        raise ClusterError(f"cannot {place}: {' '.join(str(error).split())[:300]}{advice}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _keep_stdout() -> None:
    """Have Ray print its messages to stderr, where they cannot get into a table that is piped. No setting does this.

    Not that a process died: the pool says so, in one line.
    """
    ray._private.worker.print_to_stdstream = _print_to_stderr


def _print_to_stderr(data: dict[str, Any], ignore_prefix: bool) -> None:
    lines = [line for line in data["lines"] if not str(line).startswith("A worker died")]
    if lines:
        _PRINT({**data, "lines": lines, "is_err": True}, ignore_prefix)


def _require_reachable(address: str) -> None:
    """Raise OSError if nothing listens at an address with a port: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()


class _NoFolders(list[str]):
    """Takes none of the folders that Ray adds to the path of a job's workers.

    Ray puts the driver's current folder first, unless the job has a working directory. Replicas would import a source
    tree that is not installed, or a file of the user's that is named like a library. Ray has no setting for this.
    """

    @override
    def extend(self, folders: Iterable[str], /) -> None:
        return


def _job_config() -> Any:
    config = JobConfig()
    config._py_driver_sys_path = _NoFolders()
    return config


def _start_local() -> None:
    # A run works offline and alone: no usage report, no dashboard, no idle workers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    _ensure_token()
    ray.init(
        address="local",
        job_config=_job_config(),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_LOCAL_OBJECT_STORE,
        _system_config={"enable_worker_prestart": False, "prestart_worker_first_driver": False},
    )


def _start_advice(error: Exception) -> str:
    """What to set where Ray's own folder is the problem: its sockets are in there, and their paths are limited."""
    if "AF_UNIX" in str(error):
        return "; set RAY_TMPDIR to a folder with a short path, such as /tmp"
    if isinstance(error, OSError):
        return "; set RAY_TMPDIR to a folder that can be written"
    if "timed out" in str(error):
        return "; the logs in ray/session_latest/logs say why, in RAY_TMPDIR, TMPDIR or /tmp"
    return ""


def _ensure_token() -> None:
    """Give the cluster a token of its own where Ray cannot keep one in the user's home folder."""
    try:
        check_output_folder(Path(os.environ["HOME"]) / ".ray", "HOME")
    except (KeyError, SettingsError):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def accelerators() -> tuple[str, ...]:
    """The kinds of accelerators in the connected cluster, such as "H200"; empty without any."""
    kind = "accelerator_type:"
    return tuple(sorted(name.removeprefix(kind) for name in _resources() if name.startswith(kind)))


def edge_resources(settings: Settings) -> ReplicaResources:
    """The resources of the one dedicated edge replica: a GPU of its own if it computes on one."""
    gpus = float(settings.deps_engine in LOADING_ENGINES and _resources().get("GPU", 0.0) >= 1)
    return ReplicaResources(1, gpus, 1.0 if gpus else 0.0, settings.start_timeout, settings.step_timeout)


def replica_resources(settings: Settings) -> ReplicaResources:
    """How many replicas the connected cluster gets, and what each holds.

    Raises InputError if the settings ask for more GPUs than the cluster has.
    """
    resources = _resources()
    all_gpus, all_cpus = resources.get("GPU", 0.0), resources.get("CPU", 1.0)
    if settings.deps_engine is not None and (edge_gpus := edge_resources(settings).gpus):
        if all_gpus < 1 + edge_gpus:
            raise InputError(
                "the model that is asked for edges needs a GPU of its own, and the cluster has one in all",
                "--deps-engine",
                "ask a server, or the model that answers",
            )
        all_gpus -= edge_gpus
    asked_gpus, asked_replicas = settings.gpus_per_replica, settings.replicas
    local = settings.engine != "openai"  # with a server, one replica sends all requests
    gpus = float(local and all_gpus >= 1) if asked_gpus == "auto" else asked_gpus
    # One at a time, passages stay with one replica; others would only load their models beside it.
    fitting = max(1, int(all_gpus / gpus)) if gpus and not settings.isolated else 1
    replicas = fitting if asked_replicas == "auto" else asked_replicas
    if gpus * replicas > all_gpus:
        held = f"{gpus:g} GPU{'s' * (gpus != 1)}"
        asked = f"a replica of {held} needs" if replicas == 1 else f"{replicas} replicas of {held} need"
        raise InputError(
            f"{asked} {gpus * replicas:g}, and the cluster has {all_gpus:g}",
            fix="lower --replicas or --gpus-per-replica",
        )
    return ReplicaResources(
        replicas=replicas,
        gpus=gpus,
        cpus=1.0 if gpus else _cpus_each(replicas, all_cpus),
        start_timeout=settings.start_timeout,
        answer_timeout=settings.step_timeout,
    )


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]  # Ray's own annotation is missing


def _cpus_each(replicas: int, all_cpus: float) -> float:
    """An equal share of the CPUs, whole if there are enough, and no more than the largest machine has."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own annotation is missing
    largest = max((node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]), default=all_cpus)
    share = min(all_cpus / replicas, largest)
    return float(int(share)) if share >= 1 else share
