"""The process of one engine: ``python -m depqa_ray.benchmark.worker`` reads requests and writes replies.

Between requests it blocks on its standard input, so that an idle engine takes no processor time.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, TextIO, get_args

from depqa_ray.benchmark.machine import peak_bytes
from depqa_ray.benchmark.protocol import RunReply, StartReply, counted_between, prompts_from_json, spec_from_json
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import Engine
from depqa_ray.errors import DepqaError, EngineError
from depqa_ray.results.manifest import installed_versions
from depqa_ray.settings.types import EngineName


def main() -> None:
    """Serve requests until the owner closes standard input or is gone."""
    replies = _own_stdout()
    loop = asyncio.new_event_loop()
    worker = Worker()
    try:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                reply = loop.run_until_complete(worker.serve(request))
            except DepqaError as error:
                reply = {"error": str(error)}
            replies.write(json.dumps(reply) + "\n")
            replies.flush()
    finally:
        loop.run_until_complete(worker.close())


def _own_stdout() -> TextIO:
    """The real standard output, for replies only: from here on, what libraries print goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


class Worker:
    """Serves one owner. ``_engine`` is None until ``start``."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    async def serve(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a request. Raises DepqaError."""
        match request["do"]:
            case "start":
                self._engine = _build_engine(request)
                info = await self._engine.start()
                return asdict(StartReply(info, installed_versions(), platform.python_version()))
            case "run":
                groups = [prompts_from_json(group) for group in request["groups"]]
                return asdict(await self._run(groups, request["stagger"]))
            case "build":
                _build_model(request)
            case "probe":
                return _probe(request)
        return {}

    async def close(self) -> None:
        """Close the engine, if it was started."""
        if self._engine is not None:
            await self._engine.close()

    async def _run(self, groups: Sequence[Sequence[Prompt]], stagger: float) -> RunReply:
        assert self._engine is not None, "start comes first"
        before = self._engine.counts()
        started = time.perf_counter()
        answers = await asyncio.gather(*(self._ask(group, i * stagger) for i, group in enumerate(groups)))
        seconds = time.perf_counter() - started
        return RunReply(
            completions=tuple(chain.from_iterable(answers)),
            seconds=seconds,
            counts=counted_between(before, self._engine.counts()),
            peak_bytes=peak_bytes(os.getpid()),
            device_peak_bytes=_device_peak(),
        )

    async def _ask(self, prompts: Sequence[Prompt], delay: float) -> list[Completion]:
        assert self._engine is not None
        await asyncio.sleep(delay)
        return [completion async for group in self._engine.submit(prompts) for completion in group]


def _build_engine(request: Mapping[str, Any]) -> Engine:
    name, spec = request["engine"], spec_from_json(request["spec"])
    if name == "transformers_continuous":
        from depqa_ray.benchmark.peers.continuous import ContinuousEngine

        return ContinuousEngine(spec, request["page"], request["step"])
    if name not in get_args(EngineName):
        raise EngineError(f"there is no engine {name!r} in this version")
    from depqa_ray.engines.factory import build_engine

    return build_engine(spec)


def _build_model(request: Mapping[str, Any]) -> None:
    from depqa_ray.benchmark.random_weights import save_random_model

    save_random_model(Path(request["config"]), Path(request["folder"]), request["dtype"], request["seed"])


def _probe(request: Mapping[str, Any]) -> dict[str, Any]:
    from depqa_ray.benchmark.ceilings import measure_ceilings, model_shape, prompt_rows

    model, dtype = request["model"], request["dtype"]
    rows = prompt_rows(model, prompts_from_json(request["prompts"]))
    shape = model_shape(model, dtype)
    return {"shape": asdict(shape), "ceilings": asdict(measure_ceilings(model, dtype)), "rows": rows}


def _device_peak() -> int | None:
    """Peak bytes that torch has allocated on the GPU; None if there is no GPU, or this process has not loaded torch."""
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() or None if torch else None


if __name__ == "__main__":
    main()
