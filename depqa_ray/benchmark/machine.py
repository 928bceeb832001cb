"""This machine, and a process's memory and descendants. Reads /proc if the system has it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from depqa_ray.benchmark.schema import Machine

_PROC: Final = Path("/proc")
_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "LD_PRELOAD",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "VLLM_CPU_OMP_THREADS_BIND",
    "VLLM_CPU_KVCACHE_SPACE",
    "VLLM_ATTENTION_BACKEND",
    "VLLM_USE_FLASHINFER_SAMPLER",
)


def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(
        processor=_processor(),
        cpus=os.cpu_count() or 0,
        system=f"{platform.system()} {platform.machine()}",
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
    )


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.*)$", (_PROC / "cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()


def peak_bytes(pid: int) -> int | None:
    """The sum of a process's and its descendants' peaks of resident memory; None if the system does not report them.

    Shared memory and mapped files count in each process.
    """
    peaks = [_status(process).get("VmHWM") for process in (pid, *descendants(pid))]
    known = [int(peak.split()[0]) * 1024 for peak in peaks if peak]  # "123 kB"
    return sum(known) if known else None


def descendants(pid: int) -> Iterator[int]:
    """A process's children, their children, and so on."""
    statuses = ((int(folder.name), _status(int(folder.name))) for folder in _PROC.glob("[0-9]*"))
    parents = {process: int(status["PPid"]) for process, status in statuses if "PPid" in status}
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        children = [child for child, other in parents.items() if other == parent]
        yield from children
        waiting += children


def _status(pid: int) -> Mapping[str, str]:
    try:
        text = (_PROC / str(pid) / "status").read_text("utf-8", "replace")
    except OSError:  # the process has ended, or the system has no /proc
        return {}
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
