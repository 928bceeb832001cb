"""A replica: one Ray actor with one engine, and no policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import ray

from depqa_ray.code_version import CodeVersion, code_version
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import Engine, EngineInfo, EngineSpec
from depqa_ray.engines.factory import build_engine
from depqa_ray.errors import StartError


@ray.remote(max_restarts=0, max_task_retries=0)
class Replica:
    """Passes the batches that it is sent to its engine, which merges them, and yields completions as they come.

    It is never restarted in place: Ray would lose the calls made meanwhile. The pool starts another one instead.
    """

    def __init__(self, spec: EngineSpec, name: str, driver: CodeVersion) -> None:
        self._spec, self._name, self._driver = spec, name, driver
        self._engine: Engine  # built by start, so that the code is compared first

    async def start(self) -> EngineInfo:
        """Load the engine. Raises EngineError if that fails, StartError if the driver runs other code."""
        code = code_version()
        require_same_code(code, self._driver, _node())
        self._engine = build_engine(self._spec, self._name)
        info = await self._engine.start()
        notes = _kernel_notes(code, self._driver) if info.device.startswith("CPU") else ()
        return replace(info, code=code, notes=(*info.notes, *notes))

    async def answer(self, prompts: tuple[Prompt, ...]) -> AsyncIterator[tuple[Completion, ...]]:
        """Completions in groups, one for each prompt. Raises EngineError if the engine is dead."""
        async for group in self._engine.submit(prompts):
            yield tuple(group)

    async def reset_prefix_cache(self) -> None:
        """Drop what the engine keeps of earlier prompts. Raises EngineError if it is dead."""
        await self._engine.reset_prefix_cache()

    async def close(self) -> None:
        """Close the engine. Fails if it was never built; the pool kills the process in any case."""
        await self._engine.close()


def require_same_code(own: CodeVersion, driver: CodeVersion, node: str) -> None:
    """Raise StartError if a replica's sources are not the driver's. Compiled kernels may differ: notes say so."""
    if (own.version, own.sources) != (driver.version, driver.sources):
        raise StartError(
            f"a replica on node {node} runs other code than the driver: depqa-ray {_spelled(own)}, "
            f"the driver's is {_spelled(driver)}; install the same depqa-ray on every node (pip install .), "
            "and start it from outside a checkout"
        )


def _kernel_notes(own: CodeVersion, driver: CodeVersion) -> tuple[str, ...]:
    """A note if the compiled kernel is not the driver's, of which there may be none."""
    if own.kernel == driver.kernel:
        return ()
    kernels = f"{own.kernel or 'none'} in {own.folder}, the driver's is {driver.kernel or 'none'} in {driver.folder}"
    return (f"The replica's compiled kernel is not the driver's: {kernels}.",)


def _node() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]  # Ray's own annotation is missing


def _spelled(code: CodeVersion) -> str:
    return f"{code.version or 'not installed'} ({code.sources}) in {code.folder}"
