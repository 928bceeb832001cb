"""The contract of engines: prompts in, completions out.

One test suite checks it for every engine:

- Each prompt gets exactly one completion. Completions come in groups, in any order.
- A completion does not depend on the prompts beside it, up to the rounding of the dtype.
- A prompt that cannot be answered gets a completion with an ``error``. The other prompts are not affected.
- If an engine dies, every running and every later call raises EngineError. No call waits forever.
- A caller that stops iterating cancels its prompts. A closed engine answers nothing more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from depqa_ray.code_version import CodeVersion
from depqa_ray.core import Completion, Prompt
from depqa_ray.settings.types import DeviceName, DtypeName, EngineName


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An engine's description of itself, for people and for the manifest.

    - ``engine``: the engine that runs; a fallback names itself.
    - ``model``: the model's name in the settings.
    - ``device``: a hardware name such as "NVIDIA H200", or a server's address.
    - ``parameters``: number of weights; 0 = unknown.
    - ``can_reset_cache``: whether, after ``reset_prefix_cache``, no prompt benefits from an earlier one.
    - ``notes``: sentences that a reader of the figures must see, such as why another engine runs.
    - ``code``: the code that the replica runs; None outside replicas.
    """

    engine: str
    model: str
    device: str
    dtype: str
    parameters: int = 0
    can_reset_cache: bool = True
    notes: tuple[str, ...] = ()
    code: CodeVersion | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A scripted fault of the simulated engine, for tests and drills.

    - ``kind``: "refuse" fails the prompt, "die" breaks the engine, "die alike" does so for a reason that all replicas
      share, "kill" ends the process, "hang" never answers.
    - ``at``: the prompt that it strikes, counted from 1 in the order of arrival; 0 = all.
    - ``replica``: name of the replica that it strikes; "" = any.
    - ``text``: strikes only prompts that hold this.
    """

    kind: Literal["refuse", "die", "die alike", "kill", "hang"]
    at: int = 0
    replica: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen and what ends an answer, besides an end-of-sequence token and the prompt's limit.

    - ``temperature``: 0 = greedy; > 0 = nucleus sampling (arXiv 1904.09751).
    - ``top_p``: tokens are drawn from the smallest set whose probability reaches it, in (0, 1].
    - ``seed``: with the prompt's id it seeds a generator for each row, so that batching does not change outputs.
    - ``stop``: an answer ends before any of these strings.
    - ``stop_at_json``: an answer ends where its first JSON object closes.
    - ``fixed_length``: only the limit ends an answer; for benchmarks.
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

    - ``model_name``: a folder, a hub id (``NAME`` or ``NAME@REVISION``), "embedded", or a server's name for its model.
    - ``dtype``: the type of the weights; "auto" = bfloat16 with hardware for it, else float32.
    - ``max_batch_size``: most prompts generated together; for a server, most requests at a time.
    - ``kv_gib``: memory for keys and values on a CPU, in GiB.
    - ``gpu_memory_utilization``: share of a GPU's memory for the model and its keys and values, in (0, 1].
    - ``base_url``: a server's address; "" = from the environment. It may hold a password, so ``repr`` omits it.
    - ``request_timeout``: most seconds for a server's reply.
    - ``revision``: the commit of a hub's model; "" = what its name says.
    - ``device``: where a local model computes; "auto" = on a GPU if the process sees one. If it is "cuda" and the
      process can use no GPU, the engine does not start.
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
    revision: str = ""
    device: DeviceName = "auto"

    @property
    def kv_bytes(self) -> int:
        """``kv_gib`` in bytes."""
        return int(self.kv_gib * (1 << 30))


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """An engine's counts since its start; None if it does not know.

    - ``computed_tokens``: prompt tokens that went through the model. A restarted prompt counts again.
    - ``cached_tokens``: prompt tokens whose keys and values were found in the cache.
    - ``decode_steps``: steps that read no prompt.
    - ``decode_seconds``: duration of those steps.
    - ``out_of_memory``: times that memory ran out and the work went on.
    """

    computed_tokens: int | None = None
    cached_tokens: int | None = None
    decode_steps: int | None = None
    decode_seconds: float | None = None
    out_of_memory: int = 0


class Engine(Protocol):
    """Answers prompts. One engine lives in one replica and serves any number of callers at the same time.

    The bodies given here suit an engine that counts nothing and has no cache of its own to reset.
    """

    async def start(self) -> EngineInfo:
        """Load the model and answer one prompt to warm up. Raises EngineError if that fails."""

    def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """Yield one completion a prompt, in groups, as they end. Raises EngineError if the engine is dead."""

    def counts(self) -> EngineCounts:
        """Return the counts since the start."""
        return EngineCounts()

    async def reset_prefix_cache(self) -> None:
        """Drop the keys and values of earlier prompts, so that later prompts are computed from their beginning.

        Call while idle. Running requests continue; the prefixes they use (or the whole cache) may survive.
        May raise EngineError if the engine is dead.
        """
        return

    async def close(self) -> None:
        """Free everything. Running calls end with EngineError. Closing twice is allowed."""
