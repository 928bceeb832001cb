"""Which replicas the pool starts, with actors that are stand-ins: Ray does not run."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from depqa_ray.engines.base import EngineInfo, EngineSpec
from depqa_ray.errors import StartError
from depqa_ray.runtime.pool import PoolEvent
from depqa_ray.runtime.ray import pool as module
from depqa_ray.runtime.ray.pool import RayPool, ReplicaResources
from depqa_ray.scheduling.events import ReplicaJoined, ReplicaLost
from tests.runtime.ray.test_failures import raised

INFO = EngineInfo("simulated", "m", "simulated", "none")


class StandIn:
    """An actor class whose second actor cannot start, as on a node with a broken GPU."""

    def options(self, **_: object) -> StandIn:
        return self

    def remote(self, spec: EngineSpec, name: str, code: object) -> Any:
        async def start() -> EngineInfo:
            if name == "replica-1":
                await asyncio.sleep(0.01)  # the first is ready by then
                raise raised(StartError("no GPU"))
            return INFO

        async def close() -> None:
            return

        return SimpleNamespace(start=SimpleNamespace(remote=start), close=SimpleNamespace(remote=close))


def test_replica_that_cannot_load_beside_another_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """If one replica was ready, another that cannot load is replaced: only its node may be bad."""
    monkeypatch.setattr(module, "_REPLICA", StandIn())
    monkeypatch.setattr("ray.kill", lambda actor, no_restart: None)

    async def run() -> list[PoolEvent]:
        spec = EngineSpec("simulated", "m", "auto", 4, 1.0, 0.9)
        pool = RayPool(spec, ReplicaResources(2, 0.0, 0.1, start_timeout=60, answer_timeout=60))
        seen: list[PoolEvent] = []
        while len(seen) < 3:
            seen += await asyncio.wait_for(pool.events(), 5)
        await pool.close()
        return seen

    events = asyncio.run(run())
    assert events == [
        ReplicaJoined("replica-0"),
        ReplicaLost("replica-1", "no GPU"),
        ReplicaJoined("replica-2"),
    ]
