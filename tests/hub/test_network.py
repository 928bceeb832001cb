"""Failed requests are repeated, after pauses that grow."""

from __future__ import annotations

import threading

import pytest
from typing_extensions import override

from depqa_ray.hub.network import Backoff, TruncatedError


class Clock(threading.Event):
    """Records the pauses without waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    @override
    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return False


class AnswerError(Exception):
    """An error of huggingface_hub about a status."""

    def __init__(self, status: int, retry_after: str = "") -> None:
        super().__init__(status)
        self.response = self
        self.status_code, self.headers = status, {"Retry-After": retry_after} if retry_after else {}


class ReadTimeoutError(TruncatedError):
    """A time-out; the HTTP libraries use such names."""


def pauses(*errors: tuple[Exception, bool]) -> list[float | None]:
    clock = Clock()
    backoff = Backoff(stop=clock)
    for error, has_progress in errors:
        try:
            backoff.wait_after(error, has_progress)
        except type(error):
            return [*clock.pauses, None]
    return clock.pauses


def test_pauses_grow_and_the_fifth_failure_ends() -> None:
    assert pauses(*[(TruncatedError(), False)] * 9) == [0.5, 1, 2, 4, None]


def test_progress_restarts_the_count() -> None:
    """If bytes came since the last failure, the count restarts."""
    failures = [(TruncatedError(), False)] * 4
    assert pauses(*failures, (TruncatedError(), True), *failures) == [0.5, 1, 2, 4, 0.5, 0.5, 1, 2, 4]


def test_third_time_out_ends() -> None:
    """A time-out counts as two failures, because it has taken long already."""
    assert pauses(*[(ReadTimeoutError(), False)] * 9) == [1, 4, None]


@pytest.mark.parametrize(("asked", "pause"), [("7", 7), ("9000", 60), ("0", 0.5), ("Wed, 21 Oct", 0.5)])
def test_hub_may_ask_for_a_longer_pause(asked: str, pause: float) -> None:
    assert pauses((AnswerError(429, asked), False)) == [pause]


@pytest.mark.parametrize("error", [AnswerError(404), AnswerError(403), OSError(28, "full"), ValueError()])
def test_permanent_error_is_raised_at_once(error: Exception) -> None:
    assert pauses((error, False)) == [None]
