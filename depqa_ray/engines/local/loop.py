"""Callers on one side, what answers them on the other: a thread that computes, or a task for each prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.local.memory import keep_freed_memory
from depqa_ray.engines.requests import Caller, Finished
from depqa_ray.errors import EngineError

Work = TypeVar("Work")
Taken = TypeVar("Taken", contravariant=True)


class Stepper(Protocol[Taken]):
    """What computes, step by step, in the loop's thread."""

    def advance(self, arrivals: Sequence[tuple[Taken, Caller]], departed: set[Caller]) -> Finished:
        """Take in what came, let go of what those who left had asked, compute a step; returns what ended."""
        ...

    def busy(self) -> bool:
        """Whether there is anything left to compute."""
        ...


def compute_thread() -> ThreadPoolExecutor:
    """The one thread in which an engine computes, loading included.

    OpenMP keeps helpers for each thread that ever computed; with two such threads there are more than processors, so
    helpers sleep instead of waiting awake, and small operations take twice as long.
    """
    keep_freed_memory()
    return ThreadPoolExecutor(1, thread_name_prefix="compute")


class StepLoop(Generic[Work]):
    """Runs a stepper in ``thread`` for as long as it is busy, and tells callers what ended.

    Invariant: what a caller sent is in ``_arrivals``, with the stepper, or answered; ``_broken``, once set, stays, and
    all of ``_callers`` hear of it. The stepper belongs to the thread while a step runs.
    """

    def __init__(self, stepper: Stepper[Work], thread: ThreadPoolExecutor) -> None:
        self._stepper, self._thread = stepper, thread
        self._arrivals: list[tuple[Work, Caller]] = []
        self._callers: set[Caller] = set()
        self._departed: set[Caller] = set()
        self._worker: asyncio.Task[None] | None = None
        self._broken: EngineError | None = None

    async def submit(self, work: Sequence[Work]) -> AsyncIterator[list[Completion]]:
        """Completions in groups, as they end, one for each item. Who stops iterating gives up what has not ended."""
        self.require_whole()
        caller = Caller(waiting=len(work))
        self._callers.add(caller)
        self._arrivals += [(item, caller) for item in work]
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            async for group in caller.drain():
                yield group
        finally:
            self._callers.remove(caller)
            if caller.waiting:
                self._departed.add(caller)

    async def between_steps(self, work: Callable[[], None]) -> None:
        """Do ``work`` in the loop's thread, while no step runs. Raises EngineError where the loop is broken."""
        self.require_whole()
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except asyncio.CancelledError:
            self.require_whole()  # it may be closing, and not the caller leaving, that cancelled the work
            raise

    async def close(self) -> None:
        """End whoever still waits, and the thread. A step that is running runs to its end unheard."""
        self._break(EngineError("the engine was closed"))
        if self._worker is not None:
            self._worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def require_whole(self) -> None:
        """Raises the EngineError that broke the loop, if one has."""
        if self._broken:
            raise self._broken

    async def _work(self) -> None:
        # One turn of the event loop first, so that callers who come at the same moment share the first step.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        while (self._arrivals or self._departed or self._stepper.busy()) and not self._broken:
            arrivals, self._arrivals = self._arrivals, []
            departed, self._departed = self._departed, set()
            try:
                ended = await loop.run_in_executor(self._thread, self._stepper.advance, arrivals, departed)
            except Exception as error:  # whatever broke the model: everyone who waits has to hear of it
                self._break(error if isinstance(error, EngineError) else EngineError(f"generation failed: {error!r}"))
                return
            _deliver(ended)

    def _break(self, error: EngineError) -> None:
        self._broken = self._broken or error
        for caller in self._callers:
            caller.groups.put_nowait(self._broken)


class BatchMerger:
    """A stepper for a model that generates one batch at a time: up to ``max_batch_size`` prompts, in order of arrival.

    Prompts that arrive while a batch runs leave together in the next one. ``generate`` gives the completions of a
    batch in the order of its prompts.
    """

    def __init__(self, generate: Callable[[list[Prompt]], list[Completion]], max_batch_size: int) -> None:
        self._generate = generate
        self._max_batch_size = max_batch_size
        self._queue: list[tuple[Prompt, Caller]] = []

    def busy(self) -> bool:
        """See :class:`Stepper`."""
        return bool(self._queue)

    def advance(self, arrivals: Sequence[tuple[Prompt, Caller]], departed: set[Caller]) -> Finished:
        """See :class:`Stepper`. Raises EngineError where the completions are not those of the prompts."""
        self._queue = [item for item in (*self._queue, *arrivals) if item[1] not in departed]
        batch = self._queue[: self._max_batch_size]
        del self._queue[: self._max_batch_size]
        if not batch:
            return []
        completions = self._generate([prompt for prompt, _ in batch])
        if [prompt.id for prompt, _ in batch] != [completion.prompt_id for completion in completions]:
            raise EngineError("the model's completions do not match its prompts")
        return [(caller, completion) for (_, caller), completion in zip(batch, completions, strict=True)]


def _deliver(ended: Iterable[tuple[Caller, Completion]]) -> None:
    """Hand each caller what ended for it, as one group."""
    groups: dict[Caller, list[Completion]] = {}
    for caller, completion in ended:
        groups.setdefault(caller, []).append(completion)
    for caller, group in groups.items():
        caller.groups.put_nowait(group)
