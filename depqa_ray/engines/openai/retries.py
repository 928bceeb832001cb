"""When a request is sent again: growing pauses, the pauses that a server asks for, one pause for all after a 429."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, Generic, TypeVar

_Reason = TypeVar("_Reason")

_HOPELESS: Final = 3600.0
"""Seconds of a shared pause that no prompt waits for: not a limit on the rate, but a quota that is used up."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is repeated, and after what pauses.

    - ``most``: repetitions after a server error or a lost connection. A server that says that it is busy (429, 503) is
      asked until the request's time is over.
    - ``warm_up``: the same for the warm-up prompt: few, so that a wrong address is reported soon.
    - ``first_pause`` and ``longest_pause`` (seconds): a pause that the server does not ask for doubles each time.
    """

    most: int = 6
    warm_up: int = 2
    first_pause: float = 0.5
    longest_pause: float = 8.0

    def pause(self, number: int, asked: float | None) -> float:
        """Seconds before the repetition ``number``, from 1; ``asked`` is what the server asks for.

        A server that asks for tiny pauses again and again is not asked without end at that rate.
        """
        if asked is not None:
            return asked if number <= self.most else max(asked, self.longest_pause)
        grown = self.first_pause * 2.0 ** min(number - 1, 30)
        return float(min(grown, self.longest_pause) * random.uniform(0.75, 1.0))


def asked_pause(headers: Mapping[str, str]) -> float | None:
    """The pause in seconds that a reply's headers ask for: in milliseconds, in seconds, or until a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name, "")) * unit
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


class SharedPause(Generic[_Reason]):
    """The pause of all requests of an engine after one was told that they are too many."""

    def __init__(self) -> None:
        self._until = 0.0
        self._reason: _Reason | None = None

    def extend(self, seconds: float, reason: _Reason) -> None:
        """Let no request leave for some seconds from now."""
        if (until := time.monotonic() + seconds) > self._until:
            self._until, self._reason = until, reason

    async def wait(self, deadline: float) -> _Reason | None:
        """Wait for the end of the pause; returns its reason if ``deadline`` (of the monotonic clock) comes first."""
        while (now := time.monotonic()) < self._until:
            if now >= deadline or self._until - now > _HOPELESS:
                return self._reason
            await asyncio.sleep(min(self._until, deadline) - now)
        return self._reason if now >= deadline else None
