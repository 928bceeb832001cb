"""A run's output on stderr while it runs: log messages and, on a terminal, a progress bar."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from depqa_ray.core import StepResult
from depqa_ray.engines.base import EngineInfo
from depqa_ray.hub import FetchProgress
from depqa_ray.runtime.recorder import Recorder, RunRecord, ready_text
from depqa_ray.scheduling.events import Role

if TYPE_CHECKING:
    from rich.console import Console

_log = logging.getLogger("depqa_ray")


_LOG_EVERY: Final = 5.0
"""Seconds between two lines about a download, if there is no terminal for a bar."""


@dataclass(slots=True)
class _Download:
    """A download: its first report, and when it and the last line came (seconds)."""

    first: FetchProgress
    started: float
    logged: float

    def text(self, progress: FetchProgress, now: float) -> str:
        """Bytes and share so far, and the rate since the first report."""
        from rich.filesize import decimal

        share = f" of {decimal(progress.total)} ({progress.done / progress.total:.0%})" if progress.total else ""
        seconds, fetched = now - self.started, progress.done - self.first.done
        rate = f", {decimal(int(fetched / seconds))}/s" if seconds > 0 and fetched > 0 else ""
        return f"fetching {progress.name}: {decimal(progress.done)}{share}{rate}"


class LiveProgress(Recorder):
    """A context manager that shows what a run does, live: a bar on a terminal, otherwise lines of the log.

    The total of questions is unknown: passages come as a stream.
    """

    def __init__(self, console: Console) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.completed:.0f} questions"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting")
        self._downloads: dict[str, _Download] = {}

    def __enter__(self) -> LiveProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @override
    def on_stage(self, text: str) -> None:
        self._bar.update(self._task, description=text)
        if self._bar.disable:
            _log.info("%s", text)

    @override
    def on_fetch(self, progress: FetchProgress) -> None:
        now = time.monotonic()
        ended = progress.done >= progress.total
        if progress.name not in self._downloads:
            if ended:  # all files were there
                return
            self._downloads[progress.name] = _Download(progress, now, now - _LOG_EVERY)
        download = self._downloads[progress.name]
        text = download.text(progress, now)
        self._bar.update(self._task, description=text)
        if ended or (self._bar.disable and now - download.logged >= _LOG_EVERY):
            download.logged = now
            _log.info("%s", text)
        if ended:
            del self._downloads[progress.name]

    @override
    def on_started(self, folder: Path) -> None:
        _log.info("run directory: %s", folder)

    @override
    def on_ready(self, replica: str, role: Role, info: EngineInfo) -> None:
        _log.info("%s", ready_text(replica, info))

    @override
    def record(self, record: RunRecord) -> None:
        if isinstance(record, StepResult):
            self._bar.update(self._task, advance=len(record.outcomes), description=record.strategy)

    @override
    def warn(self, text: str) -> None:
        _log.warning("%s", text)


def start_logging(level: str, console: Console) -> None:
    """Log to stderr from ``level`` up, without disturbing the progress bar; other libraries only from warning up."""
    from rich.logging import RichHandler

    handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False, highlighter=None)
    _log.handlers = [handler]
    _log.propagate = False
    _log.setLevel(level.upper())
