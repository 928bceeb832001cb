"""What a run shows on the terminal while it goes: a progress bar where there is a terminal, and remarks."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_log = logging.getLogger("depqa_ray")


class LiveProgress:
    """Counts the questions answered, live. The number of passages is not known beforehand: they come as a stream.

    A :class:`~depqa_ray.runtime.run.Observer`; use as a context manager.
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
        self._task = self._bar.add_task("starting the replicas")

    def __enter__(self) -> LiveProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begun(self, folder: Path) -> None:
        """See Observer."""
        _log.info("run directory: %s", folder)

    def answered(self, strategy: str, questions: int) -> None:
        """See Observer."""
        self._bar.update(self._task, advance=questions, description=strategy)

    def remark(self, text: str) -> None:
        """See Observer."""
        _log.info("%s", text)


def start_logging(level: str, console: Console) -> None:
    """Log to stderr from ``level`` up, without disturbing the progress bar; other libraries only from warning up."""
    from rich.logging import RichHandler

    handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False, highlighter=None)
    _log.handlers = [handler]
    _log.propagate = False
    _log.setLevel(level.upper())
