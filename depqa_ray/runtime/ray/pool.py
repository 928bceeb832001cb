"""The pool on Ray: starts replicas, listens to them, replaces the ones that are lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from depqa_ray.core import Prompt
from depqa_ray.engines.base import EngineSpec
from depqa_ray.runtime.pool import Answered, Exhausted, Joined, Lost, PoolEvent
from depqa_ray.runtime.ray.replica import Replica
from depqa_ray.scheduling.events import Role

_NAMES: Final[dict[Role, str]] = {"answers": "replica", "edges": "edges"}

_REPLICA: Final[Any] = Replica
"""The actor class as Ray makes it: its ``options`` and ``remote`` have no types."""

REPLACEMENTS_PER_REPLICA: Final = 3
"""How many lost replicas a pool makes up for, for each one that it began with; bounded: the fault may be the spec's."""

_LATE: Final = "it gave no answer for {} s (--step-timeout)"

CLOSE_TIMEOUT: Final = 10.0
"""Seconds that a replica may take to let go of its engine before it is killed."""


@dataclass(frozen=True, slots=True)
class PoolShape:
    """How many replicas of a kind there are, what each holds, and how long the pool waits (seconds)."""

    replicas: int
    gpus: float
    cpus: float
    start_timeout: float
    answer_timeout: float


@dataclass(slots=True)
class _Kind:
    """The replicas of one role: what they run, and how many were started so far."""

    role: Role
    spec: EngineSpec
    shape: PoolShape
    started: int = 0


@dataclass(slots=True, eq=False)
class _Member:
    """A replica that is starting or living (``ready``), and the tasks that listen to it."""

    name: str
    kind: _Kind
    actor: Any
    ready: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class RayPool:
    """Replicas as Ray actors: those that answer and, where ``edges`` is given, others that are asked for edges.

    A replica that dies, breaks, or goes longer than ``answer_timeout`` without an answer to a batch is killed and
    reported as Lost; its name is not used again, so that nothing said later by or about it can be mistaken.
    Invariant: ``_members`` are the replicas starting or living; only members have tasks.
    """

    def __init__(self, spec: EngineSpec, shape: PoolShape, edges: tuple[EngineSpec, PoolShape] | None = None) -> None:
        self._members: dict[str, _Member] = {}
        self._happened: asyncio.Queue[PoolEvent] = asyncio.Queue()
        kinds = [_Kind("answers", spec, shape)]
        if edges is not None:
            kinds.append(_Kind("edges", *edges))
        for kind in kinds:
            for _ in range(kind.shape.replicas):
                self._start_one(kind)

    def __repr__(self) -> str:
        return f"<RayPool members={list(self._members)}>"

    def send(self, replica: str, prompts: Sequence[Prompt]) -> None:
        """See :class:`~depqa_ray.runtime.pool.Pool`."""
        member = self._members.get(replica)
        if member is not None:
            self._listen(member, self._answers(member, tuple(prompts)))

    async def events(self) -> list[PoolEvent]:
        """See :class:`~depqa_ray.runtime.pool.Pool`."""
        events = [await self._happened.get()]
        while not self._happened.empty():
            events.append(self._happened.get_nowait())
        return events

    async def reset_prefix_cache(self) -> None:
        """See :class:`~depqa_ray.runtime.pool.Pool`."""
        ready = [member for member in self._members.values() if member.ready]
        await asyncio.gather(*(self._guard(member, self._forget(member)) for member in ready))

    def now(self) -> float:
        """See :class:`~depqa_ray.runtime.pool.Pool`."""
        return time.monotonic()

    async def close(self) -> None:
        """See :class:`~depqa_ray.runtime.pool.Pool`."""
        members, self._members = list(self._members.values()), {}
        for member in members:
            for task in member.tasks:
                task.cancel()
        await asyncio.gather(*(_close_actor(member.actor) for member in members))

    def _start_one(self, kind: _Kind) -> None:
        name = f"{_NAMES[kind.role]}-{kind.started}"
        kind.started += 1
        actor = _REPLICA.options(num_gpus=kind.shape.gpus, num_cpus=kind.shape.cpus).remote(kind.spec, name)
        member = self._members[name] = _Member(name, kind, actor)
        self._listen(member, self._start(member))

    def _listen(self, member: _Member, work: Any) -> None:
        task = asyncio.ensure_future(self._guard(member, work))
        member.tasks.add(task)
        task.add_done_callback(member.tasks.discard)

    async def _guard(self, member: _Member, work: Any) -> None:
        """Run a task of a member; whatever goes wrong in it, the member is lost for that reason."""
        try:
            await work
        except TimeoutError as error:
            self._lose(member, str(error))
        except RayTaskError as error:
            self._lose(member, _first_line(error.cause if error.cause is not None else error))
        except RayActorError as error:
            self._lose(member, f"its process ended ({type(error).__name__})")
        except RayError as error:
            self._lose(member, _first_line(error))

    async def _start(self, member: _Member) -> None:
        start = member.actor.start.remote()
        info = await _within(member.kind.shape.start_timeout, start, "it was not ready within {} s (--start-timeout)")
        member.ready = True
        self._happened.put_nowait(Joined(member.name, info, member.kind.role))

    async def _forget(self, member: _Member) -> None:
        await _within(member.kind.shape.answer_timeout, member.actor.reset_prefix_cache.remote(), _LATE)

    async def _answers(self, member: _Member, prompts: tuple[Prompt, ...]) -> None:
        waiting, patience = len(prompts), member.kind.shape.answer_timeout
        groups = member.actor.answer.options(num_returns="streaming").remote(prompts)
        while waiting:
            try:
                reference = await _within(patience, anext(groups), _LATE)
            except StopAsyncIteration:
                raise TimeoutError(f"it ended a batch with {waiting} prompts unanswered") from None
            completions = await _within(patience, reference, _LATE)
            waiting -= len(completions)
            self._happened.put_nowait(Answered(member.name, completions))

    def _lose(self, member: _Member, reason: str) -> None:
        if self._members.pop(member.name, None) is None:
            return
        ray.kill(member.actor, no_restart=True)
        for task in member.tasks - {asyncio.current_task()}:
            task.cancel()
        self._happened.put_nowait(Lost(member.name, reason))
        kind = member.kind
        if kind.started < kind.shape.replicas * (1 + REPLACEMENTS_PER_REPLICA):
            self._start_one(kind)
        elif not any(other.kind is kind for other in self._members.values()):
            self._happened.put_nowait(Exhausted(reason, kind.role))


async def _within(seconds: float, work: Any, late: str) -> Any:
    try:
        return await asyncio.wait_for(_awaited(work), seconds)
    except asyncio.TimeoutError:
        raise TimeoutError(late.format(f"{seconds:g}")) from None


async def _awaited(work: Any) -> Any:
    return await work


async def _close_actor(actor: Any) -> None:
    """Ask the replica to let go, then end its process, whatever the answer."""
    with suppress(RayError, TimeoutError):  # it is ended below all the same
        await _within(CLOSE_TIMEOUT, actor.close.remote(), "it did not close within {} s")
    ray.kill(actor, no_restart=True)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
