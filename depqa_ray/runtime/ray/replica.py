"""A replica: one Ray actor with one engine, and no policy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import ray

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineInfo, EngineSpec
from depqa_ray.engines.factory import build_engine


@ray.remote(max_restarts=0, max_task_retries=0)
class Replica:
    """Passes the batches that it is sent to its engine, which merges them, and yields completions as they come.

    It is never restarted in place: Ray would lose the calls made meanwhile. The pool starts another one instead.
    """

    def __init__(self, spec: EngineSpec, name: str) -> None:
        self._engine = build_engine(spec, name)

    async def start(self) -> EngineInfo:
        """Load the engine. Raises EngineError if that fails."""
        return await self._engine.start()

    async def answer(self, prompts: tuple[Prompt, ...]) -> AsyncIterator[tuple[Completion, ...]]:
        """Completions in groups, one for each prompt. Raises EngineError if the engine is dead."""
        async for group in self._engine.submit(prompts):
            yield tuple(group)

    async def reset_prefix_cache(self) -> None:
        """Drop what the engine keeps of earlier prompts. Raises EngineError if it is dead."""
        await self._engine.reset_prefix_cache()

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()
