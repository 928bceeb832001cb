"""The pool of replicas as the driver sees it: send prompts, hear what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineInfo
from depqa_ray.scheduling.events import Role


@dataclass(frozen=True, slots=True)
class Joined:
    """A replica is ready for work."""

    replica: str
    info: EngineInfo
    role: Role = "answers"


@dataclass(frozen=True, slots=True)
class Answered:
    """A replica has answered prompts, at the same moment."""

    replica: str
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """A replica is gone. Nothing more is heard of it, not even of prompts that it may have answered."""

    replica: str
    reason: str


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No replica of a role is left and none is coming."""

    reason: str
    role: Role = "answers"


PoolEvent: TypeAlias = Joined | Answered | Lost | Exhausted


class Pool(Protocol):
    """Replicas and what happens to them. Every wait inside has a deadline, so ``events`` always answers in the end."""

    def send(self, replica: str, prompts: Sequence[Prompt]) -> None:
        """Hand prompts to a replica. Each is answered once, or the replica is lost; a lost replica ignores them."""
        ...

    async def events(self) -> list[PoolEvent]:
        """What has happened since the last call, in order; waits until there is something."""
        ...

    async def reset_prefix_cache(self) -> None:
        """Have every replica that is ready drop what it keeps of earlier prompts. One that cannot is lost."""
        ...

    def now(self) -> float:
        """Seconds on the pool's clock, which never goes back."""
        ...

    async def close(self) -> None:
        """End all replicas. Closing twice is allowed."""
        ...
