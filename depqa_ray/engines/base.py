"""What an engine is: prompts in, completions out, in groups, as they come.

The contract, which one test suite checks for every engine:

- each prompt gets exactly one completion, whatever is sent beside it and in whatever order completions come;
- a prompt that cannot be answered gets a completion with an ``error`` and hurts no other;
- an engine that dies raises EngineError to everyone who waits, and to everyone who comes later: never silence;
- who stops listening gives up its prompts; an engine that is closed answers nothing more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from depqa_ray.config import DtypeName, EngineName
from depqa_ray.models import Completion, Prompt


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine runs: for people and for the manifest. ``device`` is a hardware name such as "NVIDIA H200"."""

    engine: str
    model: str
    device: str
    dtype: str
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """A scripted fault of the simulated engine, for tests and drills.

    At the ``at``-th prompt (from 1) that the replica named ``replica`` ("" = any) takes: "refuse" fails that prompt,
    "die" breaks the engine, "kill" ends the process at once, "hang" never answers.
    """

    kind: str
    at: int
    replica: str = ""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """All that a replica needs to build its engine. Plain data, so that it can be sent to another machine."""

    engine: EngineName
    model_name: str
    dtype: DtypeName
    max_batch_size: int
    faults: tuple[Fault, ...] = ()
    kv_gib: float = 1.0


class Engine(Protocol):
    """Answers prompts. One engine lives in one replica and serves any number of callers at the same time."""

    async def start(self) -> EngineInfo:
        """Load what there is to load and warm up. Raises EngineError where that cannot be done."""
        ...

    def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """Answer prompts: completions in groups, as they come, one for each prompt. Raises EngineError once dead."""
        ...

    async def close(self) -> None:
        """Let go of everything. What is still waited for ends with EngineError. Closing twice is allowed."""
        ...
