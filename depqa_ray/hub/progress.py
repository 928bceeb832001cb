"""The progress of fetches in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from depqa_ray.hub.names import FetchProgress, size_text

_EVERY: Final = 5.0


@dataclass(slots=True)
class _Fetch:
    """A fetch in progress: its first report, and when that and the last line came (seconds)."""

    first: FetchProgress
    started: float
    said: float


@dataclass(slots=True)
class FetchLog:
    """Turns reports on fetches into lines: ``on_line`` gets the first, one every five seconds, and the last.

    ``on_text``, if given, gets the text of every report, for a display that changes in place. A fetch whose files are
    all there says nothing. Fetches are told apart by name.
    """

    on_line: Callable[[str], None]
    on_text: Callable[[str], None] = lambda text: None
    _running: dict[str, _Fetch] = field(default_factory=dict)

    def __call__(self, progress: FetchProgress) -> None:
        """Take a report."""
        now, ended = time.monotonic(), progress.done >= progress.total
        if progress.name not in self._running and ended:
            return
        fetch = self._running.setdefault(progress.name, _Fetch(progress, now, now - _EVERY))
        text = _text(progress, fetch, now)
        self.on_text(text)
        if ended or now - fetch.said >= _EVERY:
            fetch.said = now
            self.on_line(text)
        if ended:
            del self._running[progress.name]


def _text(progress: FetchProgress, fetch: _Fetch, now: float) -> str:
    """Bytes and share so far, and the rate since the first report."""
    share = f" of {size_text(progress.total)} ({progress.done / progress.total:.0%})" if progress.total else ""
    seconds, fetched = now - fetch.started, progress.done - fetch.first.done
    rate = f", {size_text(fetched / seconds)}/s" if seconds > 0 and fetched > 0 else ""
    return f"fetching {progress.name}: {size_text(progress.done)}{share}{rate}"
