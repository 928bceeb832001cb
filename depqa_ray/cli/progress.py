"""A run's output on stderr while it runs: log messages and, on a terminal, a progress bar."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import override

from depqa_ray.core import StepResult
from depqa_ray.engines.base import EngineInfo
from depqa_ray.report.text import one_line
from depqa_ray.runtime.recorder import Recorder, RunRecord, ready_text

if TYPE_CHECKING:
    from rich.console import Console

_log = logging.getLogger("depqa_ray")


class LiveProgress(Recorder):
    """A context manager that counts answered questions, live. The total is unknown: passages come as a stream."""

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
        self._task = self._bar.add_task("starting the replicas")

    def __enter__(self) -> LiveProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @override
    def on_started(self, folder: Path) -> None:
        _log.info("run directory: %s", folder)

    @override
    def on_ready(self, replica: str, info: EngineInfo) -> None:
        _log.info("%s", one_line(ready_text(replica, info)))

    @override
    def record(self, record: RunRecord) -> None:
        if isinstance(record, StepResult):
            self._bar.update(self._task, advance=len(record.outcomes), description=record.strategy)

    @override
    def warn(self, text: str) -> None:
        _log.info("%s", one_line(text))


def start_logging(level: str, console: Console) -> None:
    """Log to stderr from ``level`` up, without disturbing the progress bar; other libraries only from warning up."""
    from rich.logging import RichHandler

    handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False, highlighter=None)
    _log.handlers = [handler]
    _log.propagate = False
    _log.setLevel(level.upper())
