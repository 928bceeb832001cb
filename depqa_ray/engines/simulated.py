"""An engine that only pretends: it waits as long as a cost model says and answers by rule. Faults can be scripted.

It ships with the package to try out schedules and to be the tests' fake. Its figures are simulated, and every page and
table made from them says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from depqa_ray.core import UNKNOWN, Completion, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec, Fault
from depqa_ray.errors import EngineError

_WORDS = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class CostModel:
    """Seconds that a prompt takes: reading it, then generating, token after token. Tokens are counted as words."""

    prompt_token: float = 20e-6
    generated_token: float = 2e-3

    def seconds(self, prompt_tokens: int, generated_tokens: int) -> float:
        """The time of one prompt."""
        return prompt_tokens * self.prompt_token + generated_tokens * self.generated_token


def answer_unknown(prompt: Prompt) -> str:
    """The JSON that was asked for, with "unknown" for every answer, or with no dependencies."""
    return json.dumps(dict.fromkeys(prompt.reply_keys, {} if prompt.form == "edges" else UNKNOWN))


class SimulatedEngine:
    """Answers each prompt after the time that ``cost`` gives it. Rows do not slow each other down.

    ``sleep`` is passed in so that tests need not wait. Invariant: ``_taken`` counts the prompts taken; a broken engine
    stays broken.
    """

    def __init__(
        self,
        spec: EngineSpec,
        replica: str = "",
        cost: CostModel = CostModel(),
        answer: Callable[[Prompt], str] = answer_unknown,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._model_name = spec.model_name
        self._faults = {fault.at: fault for fault in spec.faults if fault.replica in ("", replica)}
        self._cost, self._answer, self._sleep = cost, answer, sleep
        self._taken = 0
        self._broken: asyncio.Event = asyncio.Event()
        self._reason = ""

    async def start(self) -> EngineInfo:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return EngineInfo("simulated", self._model_name, "simulated", "none")

    async def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        self._require_whole()
        faults = [self._take() for _ in prompts]
        tasks = [asyncio.create_task(self._one(p, f)) for p, f in zip(prompts, faults, strict=True)]
        broken = asyncio.create_task(self._broken.wait())
        open_tasks = set(tasks)
        try:
            while open_tasks:
                done, _ = await asyncio.wait({*open_tasks, broken}, return_when=asyncio.FIRST_COMPLETED)
                self._require_whole()
                open_tasks -= done
                yield [task.result() for task in tasks if task in done]
        finally:
            for task in (*tasks, broken):
                task.cancel()

    def counts(self) -> EngineCounts:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return EngineCounts()

    async def reset_prefix_cache(self) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        self._break("the engine was closed")

    def _take(self) -> Fault | None:
        self._taken += 1
        return self._faults.get(self._taken)

    async def _one(self, prompt: Prompt, fault: Fault | None) -> Completion:
        text = self._answer(prompt)
        prompt_tokens = len(_WORDS.findall(f"{prompt.system} {prompt.passage_text} {prompt.question_text}"))
        generated = min(len(_WORDS.findall(text)), prompt.max_new_tokens)
        seconds = self._cost.seconds(prompt_tokens, generated)
        await self._sleep(seconds)
        if fault is not None and fault.kind == "refuse":
            return Completion(prompt.id, error="refused by script")
        if fault is not None:
            await self._strike(fault)
        return Completion(prompt.id, text, prompt_tokens, generated, "stop", seconds)

    async def _strike(self, fault: Fault) -> None:
        if fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.kind == "die":
            self._break("died by script")
        await asyncio.Event().wait()

    def _break(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._broken.set()

    def _require_whole(self) -> None:
        if self._broken.is_set():
            raise EngineError(self._reason)
