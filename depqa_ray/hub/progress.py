"""Writes the progress of fetches as lines of text."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from depqa_ray.hub.repository import FetchProgress, size_text

_EVERY: Final = 5.0


@dataclass(slots=True)
class _Fetch:
    """A fetch in progress: its first report, and the times of that and of the last line, in seconds."""

    first: FetchProgress
    started: float
    last_line: float


@dataclass(slots=True)
class FetchLog:
    """Passes the progress of fetches to ``on_line``: at first, every five seconds, and at the end.

    ``on_text`` gets the text of every report, for a display that changes in place. If all files of a fetch are cached,
    nothing is written. Fetches have different names.
    """

    on_line: Callable[[str], None]
    on_text: Callable[[str], None] = lambda text: None
    _running: dict[str, _Fetch] = field(default_factory=dict)

    def __call__(self, progress: FetchProgress) -> None:
        """Write a report if a line is due."""
        ended = progress.done >= progress.total
        if progress.problem:
            self.on_line(f"fetching {progress.name}: {progress.problem}; trying again")
            if not ended:
                return
        if ended and progress.name not in self._running:
            return
        now = time.monotonic()
        fetch = self._running.setdefault(progress.name, _Fetch(progress, now, now - _EVERY))
        text = _text(progress, fetch, now)
        self.on_text(text)
        if ended or now - fetch.last_line >= _EVERY:
            fetch.last_line = now
            self.on_line(text)
        if ended:
            del self._running[progress.name]


def _text(progress: FetchProgress, fetch: _Fetch, now: float) -> str:
    """The bytes and the share that are done, and the rate since the first report."""
    share = f" of {size_text(progress.total)} ({progress.done / progress.total:.0%})" if progress.total else ""
    seconds, fetched = now - fetch.started, progress.done - fetch.first.done
    rate = f", {size_text(fetched / seconds)}/s" if seconds > 0 and fetched > 0 else ""
    return f"fetching {progress.name}: {size_text(progress.done)}{share}{rate}"
