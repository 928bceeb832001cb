"""The messages between a worker and its owner: one JSON object a line, requests in, replies out.

=========  ==========================================================  ========================
``do``     with                                                        reply
=========  ==========================================================  ========================
start      ``engine``, ``spec``, ``page``, ``step``                    :class:`StartReply`
run        ``groups`` of prompts, ``stagger`` seconds between them     :class:`RunReply`
build      ``config``, ``folder``, ``dtype``, ``seed``                 nothing
probe      ``model``, ``dtype``, ``prompts``                           :class:`ProbeReply`
=========  ==========================================================  ========================

A reply with ``error`` (one line) replaces any of them. Closing its standard input ends a worker. Records are sent as
``asdict`` gives them; the functions ``*_from_json`` read them back.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from depqa_ray.benchmark.roofline import Ceilings, ModelShape
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec


@dataclass(frozen=True, slots=True)
class StartReply:
    """The engine that started, the versions of the packages in its interpreter, and the interpreter's own."""

    info: EngineInfo
    versions: dict[str, str]
    python: str


@dataclass(frozen=True, slots=True)
class RunReply:
    """Completions, seconds from the first submission to the last completion, and what was counted meanwhile.

    ``peak_bytes`` are of the worker and its descendants, ``device_peak_bytes`` of the GPU; both since the start.
    """

    completions: tuple[Completion, ...]
    seconds: float
    counts: EngineCounts
    peak_bytes: int | None
    device_peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class ProbeReply:
    """A model's shape, the machine's ceilings, and the tokens of each prompt that was sent."""

    shape: ModelShape
    ceilings: Ceilings
    rows: tuple[tuple[int, ...], ...]


spec_from_json = TypeAdapter(EngineSpec).validate_python
prompts_from_json = TypeAdapter(list[Prompt]).validate_python
start_from_json = TypeAdapter(StartReply).validate_python
run_from_json = TypeAdapter(RunReply).validate_python
probe_from_json = TypeAdapter(ProbeReply).validate_python


def counted_between(before: EngineCounts, after: EngineCounts) -> EngineCounts:
    """The counts between two moments; None if the engine does not know."""
    old, new = asdict(before), asdict(after)
    difference: dict[str, Any] = {n: None if None in (old[n], new[n]) else new[n] - old[n] for n in new}
    return EngineCounts(**difference)
