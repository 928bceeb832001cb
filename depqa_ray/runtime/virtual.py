"""Replicas that exist only in a virtual clock: the driver runs over them without Ray; hours pass in milliseconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineInfo
from depqa_ray.runtime.pool import Answered, Exhausted, Joined, Lost, PoolEvent

_INFO: Final = EngineInfo("simulated", "virtual", "simulated", "none")


@dataclass(order=True, slots=True)
class _Due:
    at: float
    number: int
    event: PoolEvent = field(compare=False)


class VirtualPool:
    """A pool whose replicas answer each prompt after ``seconds(prompt)``, and are lost at the times given.

    ``losses`` maps replica names to the time of their loss; a lost one is replaced ``replace_after`` seconds later by
    one with a new name, ``replacements`` times in all. Rows do not slow each other down. Completions that are due at
    the same moment on the same replica come in one event. Invariant: time never goes back.
    """

    def __init__(
        self,
        replicas: int,
        seconds: Callable[[Prompt], float],
        answer: Callable[[Prompt], Completion],
        losses: dict[str, float] | None = None,
        replacements: int = 0,
        replace_after: float = 1.0,
    ) -> None:
        self._seconds, self._answer = seconds, answer
        self._losses = losses or {}
        self._replacements, self._replace_after = replacements, replace_after
        self._now = 0.0
        self._due: list[_Due] = []
        self._number = 0
        self._alive: set[str] = set()
        self._names = 0
        for _ in range(replicas):
            self._start_one(0.0)

    def send(self, replica: str, prompts: Sequence[Prompt]) -> None:
        """See :class:`~depqa_ray.runtime.pool.Pool`."""
        if replica not in self._alive:
            return
        groups: dict[float, list[Completion]] = {}
        for prompt in prompts:
            groups.setdefault(self._now + self._seconds(prompt), []).append(self._answer(prompt))
        for at, completions in groups.items():
            self._later(at, Answered(replica, tuple(completions)))

    async def events(self) -> list[PoolEvent]:
        """What happens next. Raises RuntimeError where nothing ever will: the driver waits for a lost cause."""
        while self._due:
            due = heapq.heappop(self._due)
            self._now = max(self._now, due.at)
            if events := self._happens(due.event):
                return events
        raise RuntimeError("nothing is due")

    async def reset_prefix_cache(self) -> None:
        """Nothing is kept."""

    def now(self) -> float:
        """See :class:`~depqa_ray.runtime.pool.Pool`."""
        return self._now

    async def close(self) -> None:
        """See :class:`~depqa_ray.runtime.pool.Pool`."""
        self._alive.clear()
        self._due.clear()

    def _happens(self, event: PoolEvent) -> list[PoolEvent]:
        match event:
            case Joined(replica, _):
                self._alive.add(replica)
            case Lost(replica, reason):
                return self._lose(replica, reason)
            case Answered(replica, _) if replica not in self._alive:
                return []
        return [event]

    def _lose(self, replica: str, reason: str) -> list[PoolEvent]:
        if replica not in self._alive:
            return []
        self._alive.discard(replica)
        events: list[PoolEvent] = [Lost(replica, reason)]
        if self._replacements:
            self._replacements -= 1
            self._start_one(self._now + self._replace_after)
        elif not self._alive and not any(isinstance(due.event, Joined) for due in self._due):
            events.append(Exhausted(reason))
        return events

    def _start_one(self, at: float) -> None:
        name = f"replica-{self._names}"
        self._names += 1
        self._later(at, Joined(name, _INFO))
        if name in self._losses:
            self._later(max(at, self._losses[name]), Lost(name, "lost by script"))

    def _later(self, at: float, event: PoolEvent) -> None:
        heapq.heappush(self._due, _Due(at, self._number, event))
        self._number += 1
