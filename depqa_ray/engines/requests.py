"""Callers of an engine (one for each call of ``submit``), and a pool that answers each prompt in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from depqa_ray.core import Completion, Prompt
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


class RequestPool:
    """Answers each prompt in a task of its own, for engines that batch elsewhere.

    ``answer`` returns a prompt's completion. If it raises EngineError, all current and later callers raise it too.

    - ``_callers`` holds every waiting caller with the tasks that work for it.
    - ``_broken``, once set, stays.
    """

    def __init__(self, answer: Callable[[Prompt], Awaitable[Completion]]) -> None:
        self._answer = answer
        self._callers: dict[Caller, list[asyncio.Task[None]]] = {}
        self._broken: EngineError | None = None

    async def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """Yield each completion as it comes. A caller that stops iterating cancels its requests."""
        if self._broken:
            raise self._broken
        caller = Caller(waiting=len(prompts))
        self._callers[caller] = [asyncio.create_task(self._serve(prompt, caller)) for prompt in prompts]
        try:
            async for group in caller.drain():
                yield group
        finally:
            await _cancel(self._callers.pop(caller))

    async def close(self) -> None:
        """Cancel all requests. Their callers raise EngineError."""
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
