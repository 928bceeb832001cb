"""The driver's interface to replicas: a pool takes prompts and reports events. Ray or a virtual clock is behind it.

Events about replicas are the scheduler's own; the pool adds the completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineInfo
from depqa_ray.scheduling.events import ReplicaEvent, Role

REPLICA_NAMES: Final[dict[Role, str]] = {"answer": "replica", "edge": "edges"}
"""What a pool calls the replicas of a role, before their numbers."""


@dataclass(frozen=True, slots=True)
class CompletionsReceived:
    """A replica answered some of its prompts, at the same moment."""

    replica: str
    completions: tuple[Completion, ...]


PoolEvent: TypeAlias = ReplicaEvent | CompletionsReceived


class Pool(Protocol):
    """Replicas and what happens to them. Every wait inside has a deadline, so ``events`` always returns in the end."""

    @property
    def roles(self) -> frozenset[Role]:
        """The roles that the pool has replicas for."""

    def info(self, replica: str) -> EngineInfo:
        """Describe the engine of a replica that joined."""

    def send(self, replica: str, prompts: Sequence[Prompt]) -> None:
        """Hand prompts to a replica. Each is answered once, or the replica is lost; a lost replica ignores them."""

    async def events(self) -> list[PoolEvent]:
        """Return the events since the last call, in order; waits until there is one."""

    async def reset_prefix_cache(self) -> None:
        """Have every ready replica drop what it keeps of earlier prompts. One that cannot is lost."""

    def now(self) -> float:
        """Seconds on the pool's clock, which never goes back."""

    async def close(self) -> None:
        """End all replicas. Closing twice is allowed."""
