"""What an engine is: prompts in, completions out, in groups, as they come.

The contract, which one test suite checks for every engine:

- each prompt gets exactly one completion, whatever is sent beside it and in whatever order completions come;
- a prompt that cannot be answered gets a completion with an ``error`` and hurts no other;
- an engine that dies raises EngineError to everyone who waits, and to everyone who comes later: never silence;
- who stops listening gives up its prompts; an engine that is closed answers nothing more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from depqa_ray.core import Completion, Prompt
from depqa_ray.settings.types import DtypeName, EngineName


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine runs: for people and for the manifest. ``device`` is a hardware name such as "NVIDIA H200".

    ``can_reset_cache`` says that after ``reset_prefix_cache`` no prompt is helped by an earlier one.
    """

    engine: str
    model: str
    device: str
    dtype: str
    parameters: int = 0
    can_reset_cache: bool = True


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
class SamplingParams:
    """How tokens are chosen, and what ends an answer besides an end-of-sequence token and the prompt's limit.

    ``temperature`` 0 is greedy; otherwise tokens are drawn from the smallest set whose probability reaches ``top_p``
    (nucleus sampling, arXiv 1904.09751), each row by a generator of its own, seeded by ``seed`` and the prompt's id, so
    that no answer depends on its company. An answer ends before any of the ``stop`` strings and, with
    ``stop_at_json``, where its first JSON object closes. With ``fixed_length`` nothing but the limit ends it: for
    benchmarks.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    stop_at_json: bool = False
    fixed_length: bool = False


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """All that a replica needs to build its engine. Plain data, so that it can be sent to another machine.

    ``kv_gib`` is the memory for keys and values on a CPU; on a GPU it is ``gpu_memory_utilization`` (a share of the
    device's memory) less what the model takes. ``base_url`` is a server's address, "" where the environment says it; it
    may hold a password. ``request_timeout`` is in seconds.
    """

    engine: EngineName
    model_name: str
    dtype: DtypeName
    max_batch_size: int
    kv_gib: float
    gpu_memory_utilization: float
    sampling_params: SamplingParams = SamplingParams()
    faults: tuple[Fault, ...] = ()
    base_url: str = field(default="", repr=False)
    request_timeout: float = 180.0

    @property
    def kv_bytes(self) -> int:
        """``kv_gib`` in bytes."""
        return int(self.kv_gib * (1 << 30))


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """What an engine has counted since it was started; None where it does not know.

    ``computed_tokens`` are prompt tokens that went through the model, ``cached_tokens`` those whose keys and values
    were found; a prompt that is begun again is counted again. ``decode_steps`` are those in which no prompt was read,
    and ``decode_seconds`` is their time. ``out_of_memory`` counts the times that memory ran out and the work went on.
    """

    computed_tokens: int | None = None
    cached_tokens: int | None = None
    decode_steps: int | None = None
    decode_seconds: float | None = None
    out_of_memory: int = 0


class Engine(Protocol):
    """Answers prompts. One engine lives in one replica and serves any number of callers at the same time."""

    async def start(self) -> EngineInfo:
        """Load what there is to load and warm up. Raises EngineError where that cannot be done."""
        ...

    def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """Answer prompts: completions in groups, as they come, one for each prompt. Raises EngineError once dead."""
        ...

    def counts(self) -> EngineCounts:
        """What has been counted since the start."""
        ...

    async def reset_prefix_cache(self) -> None:
        """Drop what is kept of earlier prompts, so that a later one has to be read from its beginning.

        Meant for when nothing is under way. What is under way goes on, and what it uses, or all, may be kept for it.
        May raise EngineError once dead.
        """
        ...

    async def close(self) -> None:
        """Let go of everything. What is still waited for ends with EngineError. Closing twice is allowed."""
        ...
