"""Connects callers to a compute thread: completions go back to each caller as they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from typing_extensions import override

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.local.memory import keep_freed_memory
from depqa_ray.engines.requests import Caller, Finished
from depqa_ray.errors import EngineError

Work = TypeVar("Work", contravariant=True)
Result = TypeVar("Result")


class BatchRunner(Protocol[Work]):
    """Computes batches, step by step, in the loop's thread."""

    def step(self, arrivals: Iterable[tuple[Work, Caller]], departed: set[Caller]) -> Finished:
        """Accept arrivals, drop the work of departed callers, compute a step; returns what has ended."""

    def busy(self) -> bool:
        """Whether there is work left."""

    def close(self) -> None:
        """Free the memory of the model. Nothing is called afterwards."""


def compute_thread() -> ThreadPoolExecutor:
    """The one thread in which an engine computes, loading included.

    OpenMP keeps one worker pool per calling thread. Two callers oversubscribe the cores, so workers block instead of
    spinning, and small operations take twice as long.
    """
    keep_freed_memory()
    return ThreadPoolExecutor(1, thread_name_prefix="compute")


class EngineLoop(Generic[Work]):
    """Steps a batch runner in ``thread`` while it is busy, and delivers completions to callers.

    - Each item of work is in ``_arrivals``, with the runner, or answered.
    - ``_broken``, once set, stays; all of ``_callers`` get it.
    - The runner belongs to the thread while a step runs.
    """

    def __init__(self, runner: BatchRunner[Work], thread: ThreadPoolExecutor) -> None:
        self._runner, self._thread = runner, thread
        self._arrivals: list[tuple[Work, Caller]] = []
        self._callers: set[Caller] = set()
        self._departed: set[Caller] = set()
        self._worker: asyncio.Task[None] | None = None
        self._broken: EngineError | None = None

    async def submit(self, work: Sequence[Work]) -> AsyncIterator[list[Completion]]:
        """Completions in groups, one for each item, as they end. If the caller stops iterating, the rest is dropped."""
        self._raise_if_broken()
        caller = Caller(waiting=len(work))
        self._callers.add(caller)
        self._arrivals += [(item, caller) for item in work]
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._run())
        try:
            async for group in caller.drain():
                yield group
        finally:
            self._callers.remove(caller)
            if caller.waiting:
                self._departed.add(caller)

    async def call(self, thread: Executor, work: Callable[[], Result]) -> Result:
        """Call ``work`` in a thread; in the loop's own, between steps. Raises EngineError if the loop is broken."""
        self._raise_if_broken()
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except asyncio.CancelledError:
            self._raise_if_broken()  # closing, not the caller, may have cancelled the work
            raise

    async def close(self) -> None:
        """End all waiting callers with EngineError, then the thread: a running step completes, its results are lost."""
        self._break(EngineError("the engine was closed"))
        if self._worker is not None:
            self._worker.cancel()
        with suppress(RuntimeError):  # closed before
            self._thread.submit(self._runner.close)
        self._thread.shutdown(wait=False)

    def _raise_if_broken(self) -> None:
        if self._broken:
            raise self._broken

    async def _run(self) -> None:
        # One turn of the event loop first, so that callers who come at the same moment share the first step.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        while (self._arrivals or self._departed or self._runner.busy()) and not self._broken:
            arrivals, self._arrivals = self._arrivals, []
            departed, self._departed = self._departed, set()
            try:
                finished = await loop.run_in_executor(self._thread, self._runner.step, arrivals, departed)
            except Exception as error:  # whatever broke the model: all waiting callers must get it
                self._break(error if isinstance(error, EngineError) else _failed(error))
                return
            _deliver(finished)

    def _break(self, error: EngineError) -> None:
        self._broken = self._broken or error
        for caller in self._callers:
            caller.groups.put_nowait(self._broken)


class StaticBatcher(BatchRunner[Prompt]):
    """Static batches for a model that generates one at a time: up to ``max_batch_size`` prompts, first come first.

    Prompts that arrive while a batch runs join the next one. ``generate`` returns a batch's completions, which may be
    none, in the order of its prompts. ``free`` frees the model.
    """

    def __init__(
        self,
        generate: Callable[[list[Prompt]], list[Completion]],
        max_batch_size: int,
        free: Callable[[], None] = lambda: None,
    ) -> None:
        self._generate, self._free = generate, free
        self._max_batch_size = max_batch_size
        self._waiting: list[tuple[Prompt, Caller]] = []

    @override
    def busy(self) -> bool:
        return bool(self._waiting)

    @override
    def step(self, arrivals: Iterable[tuple[Prompt, Caller]], departed: set[Caller]) -> Finished:
        self._waiting = [item for item in (*self._waiting, *arrivals) if item[1] not in departed]
        size = self._max_batch_size
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        completions = self._generate([prompt for prompt, _ in batch])
        return list(zip((caller for _, caller in batch), completions, strict=True))

    @override
    def close(self) -> None:
        self._free()


def _failed(error: Exception) -> EngineError:
    failed = EngineError(f"generation failed: {error!r}")
    failed.__cause__ = error
    return failed


def _deliver(finished: Finished) -> None:
    """Deliver each caller's completions as one group."""
    groups: dict[Caller, list[Completion]] = {}
    for caller, completion in finished:
        groups.setdefault(caller, []).append(completion)
    for caller, group in groups.items():
        caller.groups.put_nowait(group)
