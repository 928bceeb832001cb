"""Replicas in a virtual clock: the driver runs over them without Ray, and hours pass in milliseconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from typing_extensions import override

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineInfo
from depqa_ray.runtime.pool import REPLICA_NAMES, CompletionsReceived, Pool, PoolEvent
from depqa_ray.scheduling.events import LossCause, ReplicaJoined, ReplicaLost, Role, RoleExhausted

_INFO: Final = EngineInfo("simulated", "virtual", "simulated", "none")


class VirtualPool(Pool):
    """A pool whose replicas answer each prompt after ``seconds(prompt)``, and are lost by script.

    ``losses`` maps replica names to the time of their loss, for ``loss_cause``. A prompt that ``breaks`` is true for
    breaks its replica when its answer is due. A lost replica is replaced ``replace_after`` seconds later by one with a
    new name, ``replacements`` times in all. Prompts do not slow each other down. Completions that are due at the same
    moment on the same replica come in one event. With ``edge_replicas``, these are asked for edges.

    Invariant: time never goes back.
    """

    def __init__(
        self,
        replicas: int,
        seconds: Callable[[Prompt], float],
        answer: Callable[[Prompt], Completion],
        losses: dict[str, float] | None = None,
        replacements: int = 0,
        replace_after: float = 1.0,
        *,
        loss_cause: LossCause = "crash",
        breaks: Callable[[Prompt], bool] = lambda prompt: False,
        edge_replicas: int = 0,
    ) -> None:
        self._seconds, self._answer, self._breaks = seconds, answer, breaks
        self._losses, self._loss_cause = losses or {}, loss_cause
        self._replacements, self._replace_after = replacements, replace_after
        self._now = 0.0
        self._due: list[tuple[float, int, PoolEvent]] = []  # a heap; the numbers keep the order of equal times
        self._event_numbers = count()
        self._replica_numbers: dict[Role, count[int]] = {"answer": count()}
        self._alive: dict[str, Role] = {}
        for _ in range(replicas):
            self._start_one("answer", 0.0)
        if edge_replicas:
            self._replica_numbers["edge"] = count()
            for _ in range(edge_replicas):
                self._start_one("edge", 0.0)

    @property
    @override
    def roles(self) -> frozenset[Role]:
        return frozenset(self._replica_numbers)

    @override
    def info(self, replica: str) -> EngineInfo:
        return _INFO

    @override
    def send(self, replica: str, prompts: Sequence[Prompt]) -> None:
        if replica not in self._alive:
            return
        groups: dict[float, list[Completion]] = {}
        for prompt in prompts:
            if self._breaks(prompt):
                self._later(self._now + self._seconds(prompt), ReplicaLost(replica, "broken by a prompt"))
                continue
            groups.setdefault(self._now + self._seconds(prompt), []).append(self._answer(prompt))
        for at, completions in groups.items():
            self._later(at, CompletionsReceived(replica, tuple(completions)))

    @override
    async def events(self) -> list[PoolEvent]:
        """Return the next events. Raises RuntimeError if there are none to come: the driver would wait forever."""
        while self._due:
            at, _, event = heapq.heappop(self._due)
            self._now = max(self._now, at)
            if events := self._happens(event):
                return events
        raise RuntimeError("nothing is due")

    @override
    async def reset_prefix_cache(self) -> None:
        """Nothing is kept."""

    @override
    def now(self) -> float:
        return self._now

    @override
    async def close(self) -> None:
        self._alive.clear()
        self._due.clear()

    def _happens(self, event: PoolEvent) -> list[PoolEvent]:
        match event:
            case ReplicaJoined(replica, role):
                self._alive[replica] = role
            case ReplicaLost():
                return self._lose(event)
            case CompletionsReceived(replica, _) if replica not in self._alive:
                return []
        return [event]

    def _lose(self, event: ReplicaLost) -> list[PoolEvent]:
        role = self._alive.pop(event.replica, None)
        if role is None:
            return []
        events: list[PoolEvent] = [event]
        if self._replacements:
            self._replacements -= 1
            self._start_one(role, self._now + self._replace_after)
        elif role not in self._alive.values() and not any(_joins(due, role) for _, _, due in self._due):
            events.append(RoleExhausted(event.reason, role))
        return events

    def _start_one(self, role: Role, at: float) -> None:
        name = f"{REPLICA_NAMES[role]}-{next(self._replica_numbers[role])}"
        self._later(at, ReplicaJoined(name, role))
        if name in self._losses:
            self._later(max(at, self._losses[name]), ReplicaLost(name, "lost by script", self._loss_cause))

    def _later(self, at: float, event: PoolEvent) -> None:
        heapq.heappush(self._due, (at, next(self._event_numbers), event))


def _joins(event: PoolEvent, role: Role) -> bool:
    return isinstance(event, ReplicaJoined) and event.role == role
