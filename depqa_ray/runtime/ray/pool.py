"""The pool on Ray: starts replicas, listens to them, replaces the ones that are lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

import ray
from ray.exceptions import RayError
from typing_extensions import override

from depqa_ray.code_version import code_version
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineInfo, EngineSpec
from depqa_ray.errors import DepqaError, StartError
from depqa_ray.runtime.pool import REPLICA_NAMES, CompletionsReceived, Pool, PoolEvent
from depqa_ray.runtime.ray.failures import Failure, failure_of
from depqa_ray.runtime.ray.replica import Replica
from depqa_ray.runtime.replacements import ReplacementBudget
from depqa_ray.scheduling.events import ReplicaJoined, ReplicaLost, Role, RoleExhausted

_Work: TypeAlias = Callable[[], Awaitable[None]]  # not a coroutine yet: a task may be cancelled before it starts

_REPLICA: Final[Any] = Replica
"""The actor class as Ray makes it: its ``options`` and ``remote`` have no types."""

_NOT_READY: Final = "it was not ready within {} s; raise --start-timeout if loading takes longer"
_TIMED_OUT: Final = "it gave no answer for {} s (--step-timeout)"

CLOSE_TIMEOUT: Final = 10.0
"""Seconds that a replica may take to close its engine before it is killed."""

_DRAIN_TIMEOUT: Final = 2.0
"""Seconds in which what a lost replica yielded before has to arrive. It is on its way to this process already."""


@dataclass(frozen=True, slots=True)
class ReplicaResources:
    """How many replicas a role has, what each holds, and how long the pool waits for one (seconds)."""

    replicas: int
    gpus: float
    cpus: float
    start_timeout: float
    answer_timeout: float


@dataclass(slots=True)
class _ReplicaGroup:
    """The replicas of one role: what they run, how many were started so far, and how many are starting or living.

    ``is_failing``: one that was ready was lost for a reason that all share, so no other is started.
    """

    role: Role
    spec: EngineSpec
    resources: ReplicaResources
    budget: ReplacementBudget
    started: int = 0
    living: int = 0
    is_failing: bool = False


@dataclass(slots=True, eq=False)
class _ReplicaHandle:
    """A replica that is starting or living (``ready``), the tasks that listen to it, and its prompts by id."""

    name: str
    group: _ReplicaGroup
    actor: Any
    ready: bool = False
    prompts: dict[str, Prompt] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class RayPool(Pool):
    """Replicas as Ray actors: those that answer and, if ``edges`` is given, dedicated ones that are asked for edges.

    A replica that dies, breaks, or goes longer than ``answer_timeout`` without an answer to a batch is killed and
    reported as lost, after what it had yielded. Its name is never used again, so that nothing later can be taken for
    its own. If no replica of a role was ready yet, a failure that every other one would share ends the run: ``events``
    raises it. Otherwise the lost one is replaced, as far as the role's ``ReplacementBudget`` goes.

    Invariants:

    - ``_replicas`` has exactly the replicas that are starting or living, by name;
    - ``_infos`` has every replica that ever joined.
    """

    def __init__(
        self, spec: EngineSpec, resources: ReplicaResources, edges: tuple[EngineSpec, ReplicaResources] | None = None
    ) -> None:
        self._replicas: dict[str, _ReplicaHandle] = {}
        self._infos: dict[str, EngineInfo] = {}
        self._events: asyncio.Queue[PoolEvent | DepqaError] = asyncio.Queue()
        self._is_closed = False
        groups = [_group("answer", spec, resources)]
        if edges is not None:
            groups.append(_group("edge", *edges))
        self._roles = frozenset(group.role for group in groups)
        for group in groups:
            self._fill(group)

    def __repr__(self) -> str:
        return f"<RayPool replicas={list(self._replicas)}>"

    @property
    @override
    def roles(self) -> frozenset[Role]:
        return self._roles

    @override
    def info(self, replica: str) -> EngineInfo:
        return self._infos[replica]

    @override
    def send(self, replica: str, prompts: Sequence[Prompt]) -> None:
        handle = self._replicas.get(replica)
        if handle is not None:
            handle.prompts.update((prompt.id, prompt) for prompt in prompts)
            self._listen(handle, partial(self._collect_answers, handle, tuple(prompts)))

    @override
    async def events(self) -> list[PoolEvent]:
        """Raises StartError or InputError if no replica of a role can start."""
        found = [await self._events.get()]
        while not self._events.empty():
            found.append(self._events.get_nowait())
        events: list[PoolEvent] = []
        for event in found:
            if isinstance(event, DepqaError):
                raise event
            events.append(event)
        return events

    @override
    async def reset_prefix_cache(self) -> None:
        ready = [handle for handle in self._replicas.values() if handle.ready]
        await asyncio.gather(*(self._supervise(handle, partial(self._reset_one, handle)) for handle in ready))

    @override
    def now(self) -> float:
        return time.monotonic()

    @override
    async def close(self) -> None:
        self._is_closed = True
        handles, self._replicas = list(self._replicas.values()), {}
        for handle in handles:
            for task in handle.tasks:
                task.cancel()
        await asyncio.gather(*(_close_actor(handle.actor) for handle in handles))

    def _fill(self, group: _ReplicaGroup) -> None:
        """Start the replicas that a role lacks, unless too many were lost, or the role is failing."""
        ends = group.is_failing or self._is_closed
        while group.living < group.resources.replicas and not group.budget.spent and not ends:
            self._start_one(group)

    def _start_one(self, group: _ReplicaGroup) -> None:
        name = f"{REPLICA_NAMES[group.role]}-{group.started}"
        group.started += 1
        group.living += 1
        resources = group.resources
        actor = _REPLICA.options(num_gpus=resources.gpus, num_cpus=resources.cpus).remote(
            group.spec, name, code_version()
        )
        handle = self._replicas[name] = _ReplicaHandle(name, group, actor)
        self._listen(handle, partial(self._await_start, handle))

    def _listen(self, handle: _ReplicaHandle, work: _Work) -> None:
        task = asyncio.ensure_future(self._supervise(handle, work))
        handle.tasks.add(task)
        task.add_done_callback(handle.tasks.discard)

    async def _supervise(self, handle: _ReplicaHandle, work: _Work) -> None:
        """Run a task of a replica. If it fails, the replica is lost for that reason."""
        try:
            await work()
        except TimeoutError as error:
            # Loading takes as long on every replica. Later, it is this one that hangs.
            permanent = None if handle.ready else StartError(f"{handle.name}: {error}")
            await self._lose(handle, Failure(str(error), permanent, "timeout"))
        except RayError as error:
            await self._lose(handle, failure_of(error))

    async def _await_start(self, handle: _ReplicaHandle) -> None:
        timeout = handle.group.resources.start_timeout
        self._infos[handle.name] = await _within(timeout, handle.actor.start.remote(), _NOT_READY)
        handle.ready = handle.group.budget.was_ready = True
        self._events.put_nowait(ReplicaJoined(handle.name, handle.group.role))

    async def _reset_one(self, handle: _ReplicaHandle) -> None:
        timeout = handle.group.resources.answer_timeout
        await _within(timeout, handle.actor.reset_prefix_cache.remote(), _TIMED_OUT)

    async def _collect_answers(self, handle: _ReplicaHandle, prompts: tuple[Prompt, ...]) -> None:
        waiting, timeout = len(prompts), handle.group.resources.answer_timeout
        groups = handle.actor.answer.options(num_returns="streaming").remote(prompts)
        while waiting:
            try:
                reference = await _within(timeout, anext(groups), _TIMED_OUT)
            except StopAsyncIteration:
                raise TimeoutError(f"it ended a batch with {waiting} prompts unanswered") from None
            completions = await _within(timeout, reference, _TIMED_OUT)
            waiting -= len(completions)
            self._on_completions(handle, completions)

    def _on_completions(self, handle: _ReplicaHandle, completions: Sequence[Completion]) -> None:
        for completion in completions:
            handle.prompts.pop(completion.prompt_id, None)
        self._events.put_nowait(CompletionsReceived(handle.name, tuple(completions)))
        if any(completion.error is None for completion in completions):
            handle.group.budget.answered(self.now())
            self._fill(handle.group)

    async def _lose(self, handle: _ReplicaHandle, failure: Failure) -> None:
        if self._replicas.pop(handle.name, None) is None:
            return
        group = handle.group
        group.living -= 1
        ray.kill(handle.actor, no_restart=True)
        await _drain(handle.tasks - {asyncio.current_task()})
        if failure.permanent is not None and not group.budget.was_ready:
            self._events.put_nowait(_of_role(failure.permanent, group.role))
            return
        self._events.put_nowait(ReplicaLost(handle.name, failure.reason, failure.cause))
        blamed = () if failure.cause == "machine" else {prompt.passage_text for prompt in handle.prompts.values()}
        group.budget.lose(self.now(), blamed)
        # If one cannot load although another could, its node may be why.
        group.is_failing = group.is_failing or (failure.is_shared and handle.ready)
        self._fill(group)
        if not group.living:
            lost = f"{group.budget.text(self.now())}, the last one: {failure.reason}"
            self._events.put_nowait(RoleExhausted(failure.reason if failure.is_shared else lost, group.role))


def _group(role: Role, spec: EngineSpec, resources: ReplicaResources) -> _ReplicaGroup:
    return _ReplicaGroup(role, spec, resources, ReplacementBudget(resources.replicas))


async def _drain(tasks: Collection[asyncio.Task[None]]) -> None:
    """Let the tasks of a lost replica take what it yielded; they end where its streams do."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=_DRAIN_TIMEOUT)
        for task in late:
            task.cancel()


async def _within(seconds: float, work: Any, late: str) -> Any:
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise TimeoutError(late.format(f"{seconds:g}")) from None


async def _close_actor(actor: Any) -> None:
    """Ask the replica to close its engine, then end its process in any case."""
    with suppress(RayError, TimeoutError):  # it is killed below in any case
        await _within(CLOSE_TIMEOUT, actor.close.remote(), "it did not close within {} s")
    ray.kill(actor, no_restart=True)


def _of_role(error: DepqaError, role: Role) -> DepqaError:
    return error if role == "answer" else StartError(f"no replica can be asked for edges (--deps-engine): {error}")
