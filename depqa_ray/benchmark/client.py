"""The owner's end of a worker: starts the process, sends requests, waits for replies, ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import depqa_ray
from depqa_ray.benchmark.machine import descendants
from depqa_ray.benchmark.protocol import RunReply, run_from_json
from depqa_ray.core import Prompt
from depqa_ray.errors import EngineError

_STDERR_SHOWN: Final = 400  # last characters of standard error that an error shows
_CLOSE_SECONDS: Final = 30.0  # then the worker is killed

# As -m would run it, but without the current folder on its path, where a file may be named like a library.
_WORKER: Final = (
    "import runpy, sys; sys.path[:] = filter(None, sys.path); "
    "runpy.run_module('depqa_ray.benchmark.worker', run_name='__main__')"
)


class WorkerProcess:
    """One worker; a context manager.

    - ``python`` is its interpreter; None = this one.
    - ``command`` replaces the worker's program in tests.

    Its libraries stay off the hub: models are fetched before.
    """

    def __init__(self, label: str, python: Path | None = None, *, command: Sequence[str] = ()) -> None:
        self.label = label
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  # __exit__ closes
        self._process = subprocess.Popen(
            command or [str(python or sys.executable), "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            env=_environment() | {"HF_HUB_OFFLINE": "1"},
        )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            assert self._process.stdin is not None
            with suppress(BrokenPipeError, subprocess.TimeoutExpired):  # it is killed next
                self._process.stdin.close()
                self._process.wait(_CLOSE_SECONDS)
        # Popen closes its pipes, then waits; BrokenPipeError: the worker is gone and reads no more.
        with self._stderr, suppress(BrokenPipeError), self._process:
            self._process.kill()

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its reply. Raises EngineError (one line) if it failed or the worker died."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise EngineError(self._death())
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise EngineError(f"{self.label}: {reply['error']}")
        return reply

    def run(self, groups: Sequence[Sequence[Prompt]], stagger: float = 0.0) -> RunReply:
        """Answer groups of prompts, with a caller for each; callers start ``stagger`` seconds apart."""
        sent = [[asdict(prompt) for prompt in group] for group in groups]
        return run_from_json(self.ask("run", groups=sent, stagger=stagger))

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the worker and its descendants meanwhile: some engines spin while they wait and slow others down."""
        processes = [self._process.pid, *descendants(self._process.pid)]
        _signal(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(processes, signal.SIGCONT)

    def stderr(self) -> str:
        """The text that the worker has written to standard error so far."""
        self._stderr.seek(0)
        return self._stderr.read()

    def _death(self) -> str:
        code = self._process.wait()
        end = " | ".join(line.strip() for line in self.stderr().splitlines() if line.strip())[-_STDERR_SHOWN:]
        return f"the process of {self.label} died with code {code}: {end or 'it printed nothing'}"


def _signal(processes: Sequence[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):  # it has ended; the next request reports that
            os.kill(process, number)


def _environment() -> dict[str, str]:
    """This process's environment, with the package's folder on the path of the worker's interpreter."""
    package = str(Path(depqa_ray.__file__).resolve().parents[1])
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != package]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([package, *others])}
