"""A run's output on stderr while it runs: log messages and, on a terminal, a progress bar."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from depqa_ray.core import StepResult
from depqa_ray.engines.base import EngineInfo
from depqa_ray.hub import FetchLog, FetchProgress
from depqa_ray.report.text import counted, one_line
from depqa_ray.runtime.recorder import Recorder, RunRecord, ready_text
from depqa_ray.scheduling.events import Role

if TYPE_CHECKING:
    from rich.console import Console

_log = logging.getLogger("depqa_ray")

_COUNT_EVERY: Final = 30.0
"""Seconds between two lines with the number of questions, if there is no terminal for a bar."""


class LiveProgress(Recorder):
    """A context manager that shows what a run does, live: a bar on a terminal, otherwise lines of the log.

    The total of questions is unknown: passages come as a stream. ``folder`` is the run directory, once it is there.
    """

    def __init__(self, console: Console) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            SpinnerColumn("line"),  # in ASCII, which every terminal shows
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("reading the data set")
        self.folder: Path | None = None
        self._questions, self._counted = 0, time.monotonic()
        self._fetches = FetchLog(self._log_unless_shown, self._describe)

    def __enter__(self) -> LiveProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _describe(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def _log_unless_shown(self, text: str) -> None:
        if self._bar.disable:
            _log.info("%s", text)

    @override
    def on_stage(self, text: str) -> None:
        self._describe(text)
        self._log_unless_shown(text)

    @override
    def on_fetch(self, progress: FetchProgress) -> None:
        self._fetches(progress)

    @override
    def on_started(self, folder: Path) -> None:
        self.folder = folder
        _log.info("run directory: %s", folder)

    @override
    def on_ready(self, replica: str, role: Role, info: EngineInfo) -> None:
        _log.info("%s", one_line(ready_text(replica, info)))

    @override
    def record(self, record: RunRecord) -> None:
        if not isinstance(record, StepResult):
            return
        self._questions += len(record.outcomes)
        questions = counted(self._questions, "question", "questions")
        self._describe(f"{record.strategy}: {questions}")
        now = time.monotonic()
        if now - self._counted >= _COUNT_EVERY:
            self._counted = now
            self._log_unless_shown(f"{questions} so far")

    @override
    def warn(self, text: str) -> None:
        _log.warning("%s", one_line(text))


def start_logging(level: str, console: Console) -> None:
    """Log to stderr from ``level`` up, without disturbing the progress bar; other libraries only from warning up."""
    from rich.logging import RichHandler

    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False, highlighter=None)
    else:  # whole lines, which can be searched
        handler = logging.StreamHandler(console.file)
    _log.handlers = [handler]
    _log.propagate = False
    _log.setLevel(level.upper())
