"""Merges what callers submit into batches for a model that generates one batch at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

from depqa_ray.errors import EngineError
from depqa_ray.models import Completion, Prompt

GenerateBatch: TypeAlias = Callable[[list[Prompt]], list[Completion]]
"""Blocking: the completions of a batch, in the order of its prompts."""


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


class BatchMerger:
    """Runs ``generate`` in one thread of its own, on batches of up to ``max_batch_size`` prompts, in order of arrival.

    Prompts that arrive while a batch runs leave together in the next one. Invariant: a prompt is in ``_queue``, in the
    running batch, or answered; ``_broken``, once set, stays.
    """

    def __init__(self, generate: GenerateBatch, max_batch_size: int) -> None:
        self._generate = generate
        self._max_batch_size = max_batch_size
        self._queue: list[tuple[Prompt, Caller]] = []
        self._running: list[tuple[Prompt, Caller]] = []
        self._worker: asyncio.Task[None] | None = None
        self._broken: EngineError | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generate")

    async def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """Completions in groups, as batches end. Who stops iterating gives up the prompts that have not started."""
        if self._broken:
            raise self._broken
        caller = Caller(waiting=len(prompts))
        self._queue += [(prompt, caller) for prompt in prompts]
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            async for group in caller.drain():
                yield group
        finally:
            self._queue = [(prompt, other) for prompt, other in self._queue if other is not caller]

    async def close(self) -> None:
        """End whoever still waits, and the thread. A batch that is running runs to its end unheard."""
        self._break(EngineError("the engine was closed"))
        if self._worker is not None:
            self._worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        # One turn of the event loop first, so that callers who come at the same moment share the first batch.
        await asyncio.sleep(0)
        while self._queue and not self._broken:
            self._running = self._queue[: self._max_batch_size]
            del self._queue[: self._max_batch_size]
            prompts = [prompt for prompt, _ in self._running]
            try:
                completions = await asyncio.get_running_loop().run_in_executor(self._thread, self._generate, prompts)
                _require_one_each(prompts, completions)
            except Exception as error:  # whatever broke the model: everyone who waits has to hear of it
                self._break(error if isinstance(error, EngineError) else EngineError(f"generation failed: {error!r}"))
                return
            running, self._running = self._running, []
            deliver((caller, completion) for (_, caller), completion in zip(running, completions, strict=True))

    def _break(self, error: EngineError) -> None:
        self._broken = self._broken or error
        for caller in {caller for _, caller in (*self._running, *self._queue)}:
            caller.groups.put_nowait(self._broken)
        self._running, self._queue = [], []


def deliver(ended: Iterable[tuple[Caller, Completion]]) -> None:
    """Hand each caller what ended for it, as one group."""
    groups: dict[Caller, list[Completion]] = {}
    for caller, completion in ended:
        groups.setdefault(caller, []).append(completion)
    for caller, group in groups.items():
        caller.groups.put_nowait(group)


def _require_one_each(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> None:
    if [prompt.id for prompt in prompts] != [completion.prompt_id for completion in completions]:
        raise EngineError("the model's completions do not match its prompts")
