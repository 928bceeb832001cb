"""A simulated engine: it waits as long as a cost model says, answers "unknown", and can fail by script.

It ships with the package to try out schedules, and serves as the tests' fake. Every page and table made from its
figures says that they are simulated.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from typing import Final

from typing_extensions import override

from depqa_ray.core import UNKNOWN, Completion, Prompt
from depqa_ray.engines.base import EngineInfo, EngineSpec, Fault
from depqa_ray.engines.requests import RequestEngine
from depqa_ray.errors import EngineError, StartError

_PROMPT_TOKEN_SECONDS: Final = 20e-6  # the cost model
_GENERATED_TOKEN_SECONDS: Final = 2e-3
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")  # words and punctuation count as tokens


class SimulatedEngine(RequestEngine):
    """Answers each prompt after the time that its tokens cost. Rows do not slow each other down.

    ``_taken`` counts the prompts taken, which is what a fault's ``at`` refers to.
    """

    def __init__(self, spec: EngineSpec, replica: str = "") -> None:
        super().__init__()
        self._model_name = spec.model_name
        self._faults = [fault for fault in spec.faults if fault.replica in ("", replica)]
        self._taken = 0

    @override
    async def start(self) -> EngineInfo:
        return EngineInfo("simulated", self._model_name, "simulated", "none")

    @override
    async def _answer(self, prompt: Prompt) -> Completion:
        self._taken += 1
        asked = f"{prompt.system} {prompt.passage_text} {prompt.question_text}"
        fault = next((fault for fault in self._faults if fault.at in (0, self._taken) and fault.text in asked), None)
        text = json.dumps(dict.fromkeys(prompt.reply_keys, {} if prompt.form == "edges" else UNKNOWN))
        prompt_tokens = len(_TOKEN.findall(asked))
        generated = min(len(_TOKEN.findall(text)), prompt.max_new_tokens)
        seconds = prompt_tokens * _PROMPT_TOKEN_SECONDS + generated * _GENERATED_TOKEN_SECONDS
        await asyncio.sleep(seconds)
        if fault is not None:
            return await _strike(fault, prompt)
        return Completion(prompt.id, text, prompt_tokens, generated, "eos", seconds)


async def _strike(fault: Fault, prompt: Prompt) -> Completion:
    if fault.kind == "refuse":
        return Completion(prompt.id, error="refused by script")
    if fault.kind == "die":
        raise EngineError("died by script")
    if fault.kind == "die alike":
        raise StartError("died by script, as all would")
    if fault.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    hang: asyncio.Future[Completion] = asyncio.Future()
    return await hang
