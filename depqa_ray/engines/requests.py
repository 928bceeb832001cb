"""Callers of an engine (one for each call of ``submit``), and the engines that answer each prompt in its own task."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from typing_extensions import override

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import Engine
from depqa_ray.errors import EngineError


@dataclass(slots=True, eq=False)
class Caller:
    """One call of ``submit``: its queue of completed ``groups``, and the number of completions still ``waiting``."""

    groups: asyncio.Queue[list[Completion] | EngineError] = field(default_factory=asyncio.Queue)
    waiting: int = 0

    async def drain(self) -> AsyncIterator[list[Completion]]:
        """Yield groups until each prompt has its completion. If an EngineError is in the queue, raise it."""
        while self.waiting:
            group = await self.groups.get()
            if isinstance(group, EngineError):
                raise group
            self.waiting -= len(group)
            yield group


Finished: TypeAlias = list[tuple[Caller, Completion]]
"""Completions, each with the caller that waits for it."""


class RequestEngine(Engine):
    """Answers each prompt in a task of its own: the base of engines that batch elsewhere.

    - ``_callers`` holds every waiting caller with the tasks that work for it.
    - ``_broken``, once set, stays.
    """

    def __init__(self) -> None:
        self._callers: dict[Caller, list[asyncio.Task[None]]] = {}
        self._broken: EngineError | None = None

    @abstractmethod
    async def _answer(self, prompt: Prompt) -> Completion:
        """The prompt's completion. If it raises EngineError, all current and later callers raise it too."""

    @override
    async def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        if self._broken:
            raise self._broken
        caller = Caller(waiting=len(prompts))
        self._callers[caller] = [asyncio.create_task(self._serve(prompt, caller)) for prompt in prompts]
        try:
            async for group in caller.drain():
                yield group
        finally:
            await _cancel(self._callers.pop(caller))

    @override
    async def close(self) -> None:
        self._break(EngineError("the engine was closed"))
        await _cancel([task for tasks in self._callers.values() for task in tasks])

    async def _serve(self, prompt: Prompt, caller: Caller) -> None:
        try:
            completion = await self._answer(prompt)
        except EngineError as error:
            self._break(error)
        except Exception as error:  # else the caller waits forever; only its type, since its text may hold secrets
            self._break(EngineError(f"generation failed: {type(error).__name__}"))
        else:
            caller.groups.put_nowait([completion])

    def _break(self, error: EngineError) -> None:
        self._broken = self._broken or error
        for caller in self._callers:
            caller.groups.put_nowait(self._broken)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
