"""The protocol between a worker and its owner, with the simulated engine and with programs that misbehave."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.benchmark.client import WorkerProcess
from depqa_ray.benchmark.machine import peak_bytes
from depqa_ray.benchmark.protocol import counted_between, spec_from_json
from depqa_ray.core import Prompt
from depqa_ray.engines.base import EngineCounts, EngineSpec, SamplingParams
from depqa_ray.errors import EngineError

PROMPTS = [Prompt(str(number), "Answer.", "Passage: none.\n\n", "Question: none?", 4) for number in range(3)]
SPEC = EngineSpec("simulated", "m", "float32", 2, 1.0, 0.9, SamplingParams(stop=("x",), fixed_length=True))


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    with WorkerProcess("the worker") as process:
        yield process


def start(worker: WorkerProcess, engine: str = "simulated") -> dict[str, Any]:
    return worker.ask("start", engine=engine, spec=asdict(SPEC), page=16, step=256)


def scripted(code: str) -> WorkerProcess:
    return WorkerProcess("shared_prefix", command=[sys.executable, "-c", code])


def test_engine_spec_survives_json() -> None:
    """If an engine's spec is sent as JSON, it arrives unchanged."""
    assert spec_from_json(asdict(SPEC)) == SPEC


def test_difference_of_counts_needs_both_values() -> None:
    """Counts are subtracted only if both values are known."""
    before, after = EngineCounts(3, None, 1, 0.5), EngineCounts(5, 2, 4, 2.0, 1)
    assert counted_between(before, after) == EngineCounts(2, None, 3, 1.5, 1)


def test_worker_answers_two_callers_and_reports_wall_time(worker: WorkerProcess) -> None:
    """If two callers send prompts, the worker answers all and reports the time of the wall clock."""
    assert start(worker)["info"]["engine"] == "simulated"
    for _ in range(2):
        reply = worker.run([PROMPTS[:2], PROMPTS[2:]], stagger=0.2)
        assert sorted(completion.prompt_id for completion in reply.completions) == ["0", "1", "2"]
        assert 0.2 <= reply.seconds < 30


def test_worker_survives_an_unknown_engine(worker: WorkerProcess) -> None:
    """If an engine is unknown, the worker reports it and goes on."""
    with pytest.raises(EngineError, match="the worker: there is no engine 'magic'"):
        start(worker, "magic")
    assert start(worker)["info"]["engine"] == "simulated"


def test_printing_libraries_do_not_break_replies() -> None:
    """If a library prints, the replies stay intact and the output is kept as stderr."""
    code = """
import json, os, sys
from depqa_ray.benchmark import worker
class Chatty(worker.Worker):
    async def serve(self, request):
        print("a library says hello"); os.write(1, b"and its C code too\\n")
        return {"heard": request["do"]}
worker.Worker = Chatty
worker.main()
"""
    with scripted(code) as worker:
        assert worker.ask("sing") == {"heard": "sing"}
        assert "and its C code too" in worker.stderr()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; input(); sys.exit('no memory\\nleft')", "shared_prefix died with code 1: no memory | left"),
        ("import os; input(); os.abort()", "shared_prefix died with code -6"),
        ("pass", "shared_prefix died with code 0: it printed nothing"),
    ],
)
def test_death_of_a_worker_is_one_line_with_its_last_output(code: str, said: str) -> None:
    """If a worker dies, the error is one line with the end of its output."""
    with scripted(code) as worker:
        with pytest.raises(EngineError) as caught:
            worker.run([PROMPTS])
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_worker_ends_if_its_owner_fails() -> None:
    """If the owner of a worker fails, the worker ends too."""
    with pytest.raises(RuntimeError), WorkerProcess("the worker") as worker:
        raise RuntimeError
    assert worker._process.poll() is not None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_of_a_missing_process_is_none() -> None:
    """A running process has a peak of memory; for a missing one it is None."""
    assert (peak_bytes(os.getpid()) or 0) > 1 << 20
    assert peak_bytes(1 << 30) is None


def test_stopped_worker_and_its_children_pause_and_resume() -> None:
    """If a worker is stopped, its children stop with it, and all resume afterwards."""
    code = "import subprocess, sys; c = subprocess.Popen(['sleep', '60']); print(c.pid, flush=True); input(); c.kill()"
    with scripted(code) as busy:
        child = int(busy._process.stdout.readline())  # type: ignore[union-attr]  # it is a pipe
        with busy.stopped():
            assert [state_of(process) for process in (busy._process.pid, child)] == ["T", "T"]
        assert [state_of(process) for process in (busy._process.pid, child)] == ["S", "S"]
        busy._process.stdin.write("\n")  # type: ignore[union-attr]
        busy._process.stdin.flush()  # type: ignore[union-attr]
        busy._process.wait(30)


def state_of(pid: int) -> str:
    """A process's state in /proc: T = stopped, S = sleeping."""
    deadline = time.monotonic() + 10
    while True:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state in "TS" or time.monotonic() > deadline:  # it may be about to sleep or to stop
            return state
        time.sleep(0.01)
