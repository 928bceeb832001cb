"""The owner's side of a worker: starts the process, asks, waits for the reply, ends it."""

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
from depqa_ray.core import Prompt
from depqa_ray.errors import EngineError

MODULE: Final = "depqa_ray.benchmark.worker"
_STDERR_END: Final = 400  # characters of it that an error shows
_PATIENCE: Final = 30.0  # seconds to end in peace


class WorkerProcess:
    """One worker; a context manager.

    ``label`` names it in errors. ``offline`` keeps its libraries from asking a hub, which a model in a folder does not
    need. ``command`` is another program, in tests.
    """

    def __init__(
        self, label: str, python: Path | None = None, *, offline: bool = False, command: Sequence[str] = ()
    ) -> None:
        self.label = label
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  # __exit__ closes
        self._process = subprocess.Popen(
            command or [str(python or sys.executable), "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
            env=_environment() | ({"HF_HUB_OFFLINE": "1"} if offline else {}),
        )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._process.poll() is None:
            self._close()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            try:
                pipe.close()  # type: ignore[union-attr]  # both are pipes
            except BrokenPipeError:  # what was still to be written has no reader any more
                continue

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its reply. Raises EngineError: in one line, also where the worker has died."""
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

    def run(self, groups: Sequence[Sequence[Prompt]], stagger: float = 0.0) -> dict[str, Any]:
        """Have groups of prompts answered, a caller for each, ``stagger`` seconds after one another."""
        return self.ask("run", groups=[[asdict(prompt) for prompt in group] for group in groups], stagger=stagger)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the worker and all that it has started meanwhile: some engines wait awake, and so slow others down."""
        processes = [self._process.pid, *descendants(self._process.pid)]
        _signal(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(processes, signal.SIGCONT)

    def stderr(self) -> str:
        """All that the worker has said so far."""
        self._said.seek(0)
        return self._said.read()

    def _close(self) -> None:
        try:
            self.ask("close")
            self._process.wait(_PATIENCE)
        except (EngineError, subprocess.TimeoutExpired):  # it is killed next
            return

    def _death(self) -> str:
        code = self._process.wait()
        end = " | ".join(line.strip() for line in self.stderr().splitlines() if line.strip())[-_STDERR_END:]
        return f"the process of {self.label} died with code {code}: {end or 'it said nothing'}"


def _signal(processes: Sequence[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):  # it has ended meanwhile, which the next request will tell
            os.kill(process, number)


def _environment() -> dict[str, str]:
    """This process's own, with the package's folder on the path of whatever interpreter runs the worker."""
    package = str(Path(depqa_ray.__file__).resolve().parents[1])
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != package]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([package, *others])}
