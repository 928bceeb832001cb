"""Callers of an engine and what answers them: one call of ``submit`` each, and a task for each prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from depqa_ray.core import Completion, Prompt
from depqa_ray.errors import EngineError


@dataclass(slots=True, eq=False)
class Caller:
    """One call of ``submit``: the groups it has not taken yet, and how many prompts it still waits for."""

    groups: asyncio.Queue[list[Completion] | EngineError] = field(default_factory=asyncio.Queue)
    waiting: int = 0

    async def drain(self) -> AsyncIterator[list[Completion]]:
        """The groups as they come, until each prompt has its completion. Raises EngineError where one came instead."""
        while self.waiting:
            group = await self.groups.get()
            if isinstance(group, EngineError):
                raise group
            self.waiting -= len(group)
            yield group


Finished: TypeAlias = list[tuple[Caller, Completion]]
"""Completions, each with the caller that waits for it."""


class RequestTasks:
    """Has each prompt answered by a task of its own, for engines whose batches are made elsewhere.

    ``answer`` gives a prompt's completion, or raises EngineError: then everyone who waits hears of it, and everyone who
    comes later. Invariant: ``_callers`` holds everyone who waits, with the tasks that work for them; ``_broken``, once
    set, stays.
    """

    def __init__(self, answer: Callable[[Prompt], Awaitable[Completion]]) -> None:
        self._answer = answer
        self._callers: dict[Caller, list[asyncio.Task[None]]] = {}
        self._broken: EngineError | None = None

    async def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """Completions as they come, each by itself. Who stops iterating takes its requests back."""
        if self._broken:
            raise self._broken
        caller = Caller(waiting=len(prompts))
        self._callers[caller] = [asyncio.create_task(self._serve(prompt, caller)) for prompt in prompts]
        try:
            async for group in caller.drain():
                yield group
        finally:
            await _end(self._callers.pop(caller))

    async def close(self) -> None:
        """Take all requests back, and tell who waits."""
        self._break(EngineError("the engine was closed"))
        await _end([task for tasks in self._callers.values() for task in tasks])

    async def _serve(self, prompt: Prompt, caller: Caller) -> None:
        try:
            completion = await self._answer(prompt)
        except EngineError as error:
            self._break(error)
        except (
            Exception
        ) as error:  # who waits would wait forever; its kind only, since its words were not made for eyes
            self._break(EngineError(f"generation failed: {type(error).__name__}"))
        else:
            caller.groups.put_nowait([completion])

    def _break(self, error: EngineError) -> None:
        self._broken = self._broken or error
        for caller in self._callers:
            caller.groups.put_nowait(self._broken)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
