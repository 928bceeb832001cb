"""What a worker and its owner say to each other: one JSON object a line, requests in, replies out.

=========  ==========================================================  ===============================================
``do``     with                                                        reply
=========  ==========================================================  ===============================================
start      ``engine``, ``spec``, ``page``, ``step``                    ``info``, ``versions``, ``python``
run        ``groups`` of prompts, ``stagger`` seconds between them     ``completions``, ``seconds``, ``counts``, peaks
build      ``config``, ``folder``, ``dtype``, ``seed``                 nothing
probe      ``model``, ``dtype``, ``prompts``                           ``shape``, ``ceilings``, ``rows``
close                                                                  nothing; the worker ends
=========  ==========================================================  ===============================================

A reply with ``error`` (one line) takes the place of any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from depqa_ray.benchmark.model_shape import Ceilings, ModelShape
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec, SamplingParams


@dataclass(frozen=True, slots=True)
class RunReply:
    """What a run gave: ``seconds`` from the first submission to the last completion, and what was counted meanwhile.

    ``peak_bytes`` are of the worker and its children since they started, ``device_peak_bytes`` of the GPU.
    """

    completions: tuple[Completion, ...]
    seconds: float
    counts: EngineCounts
    peak_bytes: int | None
    device_peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class ProbeReply:
    """A model's shape, the machine's ceilings, and the tokens of the prompts that were sent."""

    shape: ModelShape
    ceilings: Ceilings
    rows: tuple[tuple[int, ...], ...]


def spec_from_json(data: Mapping[str, Any]) -> EngineSpec:
    """The spec that ``asdict`` wrote. Faults are not sent."""
    fields = {name: value for name, value in data.items() if name not in ("sampling_params", "faults")}
    sampling_params = dict(data["sampling_params"])
    return EngineSpec(
        **fields, sampling_params=SamplingParams(**sampling_params | {"stop": tuple(sampling_params["stop"])})
    )


def prompts_from_json(data: Sequence[Mapping[str, Any]]) -> list[Prompt]:
    """Prompts that ``asdict`` wrote."""
    return [Prompt(**item) for item in data]


def info_from_json(data: Mapping[str, Any]) -> EngineInfo:
    """The engine's description in a reply to ``start``."""
    return EngineInfo(**data)


def run_from_json(data: Mapping[str, Any]) -> RunReply:
    """The reply to ``run``."""
    return RunReply(
        completions=tuple(Completion(**item) for item in data["completions"]),
        seconds=data["seconds"],
        counts=EngineCounts(**data["counts"]),
        peak_bytes=data["peak_bytes"],
        device_peak_bytes=data["device_peak_bytes"],
    )


def probe_from_json(data: Mapping[str, Any]) -> ProbeReply:
    """The reply to ``probe``."""
    ceilings = dict(data["ceilings"])
    for name in ("products", "reads"):
        ceilings[name] = tuple(map(tuple, ceilings[name]))
    return ProbeReply(ModelShape(**data["shape"]), Ceilings(**ceilings), tuple(map(tuple, data["rows"])))


def counted_between(before: EngineCounts, after: EngineCounts) -> EngineCounts:
    """What was counted between two moments; None where the engine does not know."""
    old, new = asdict(before), asdict(after)
    difference: dict[str, Any] = {n: None if None in (old[n], new[n]) else new[n] - old[n] for n in new}
    return EngineCounts(**difference)
