"""A run's output on stderr while it runs: log messages and, on a terminal, a progress bar."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import override

from depqa_ray.core import StepResult
from depqa_ray.engines.base import EngineInfo
from depqa_ray.hub import FetchLog, FetchProgress
from depqa_ray.report.text import one_line
from depqa_ray.runtime.recorder import Recorder, RunRecord, ready_text
from depqa_ray.scheduling.events import Role

if TYPE_CHECKING:
    from rich.console import Console

_log = logging.getLogger("depqa_ray")


class LiveProgress(Recorder):
    """A context manager that shows what a run does, live: a bar on a terminal, otherwise lines of the log.

    The total of questions is unknown: passages come as a stream.
    """

    def __init__(self, console: Console) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            SpinnerColumn("line"),  # in ASCII, which every terminal shows
            TextColumn("{task.description}"),
            TextColumn("{task.completed:.0f} questions"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("reading the data set")
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
        _log.info("run directory: %s", folder)

    @override
    def on_ready(self, replica: str, role: Role, info: EngineInfo) -> None:
        _log.info("%s", one_line(ready_text(replica, info)))

    @override
    def record(self, record: RunRecord) -> None:
        if isinstance(record, StepResult):
            self._bar.update(self._task, advance=len(record.outcomes), description=record.strategy)

    @override
    def warn(self, text: str) -> None:
        _log.warning("%s", one_line(text))


def start_logging(level: str, console: Console) -> None:
    """Log to stderr from ``level`` up, without disturbing the progress bar; other libraries only from warning up."""
    from rich.logging import RichHandler

    handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False, highlighter=None)
    _log.handlers = [handler]
    _log.propagate = False
    _log.setLevel(level.upper())
