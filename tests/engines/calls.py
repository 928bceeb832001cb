"""Calls of an engine, as the tests of several engines make them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from depqa_ray.core import Completion, Prompt


async def answers(engine: Any, *prompts: Prompt) -> list[Completion]:
    """The completions of prompts, in their order."""
    found = [completion async for group in engine.submit(prompts) for completion in group]
    return sorted(found, key=lambda completion: [prompt.id for prompt in prompts].index(completion.prompt_id))


def with_engine(engine: Any, use: Callable[[Any], Awaitable[Any]], seconds: float | None = None) -> Any:
    """Start an engine, use it within a time and close it."""

    async def run() -> Any:
        await engine.start()
        try:
            return await use(engine)
        finally:
            await engine.close()

    return asyncio.run(asyncio.wait_for(run(), seconds))
