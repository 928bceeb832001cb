"""How long the hub is asked again."""

from __future__ import annotations

import threading

import pytest
from typing_extensions import override

from depqa_ray.hub.network import BrokenOffError, Patience


class Clock(threading.Event):
    """Notes the pauses instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    @override
    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return False


class AnswerError(Exception):
    """What huggingface_hub raises about a status, as far as we look at it."""

    def __init__(self, status: int, retry_after: str = "") -> None:
        super().__init__(status)
        self.response = self
        self.status_code, self.headers = status, {"Retry-After": retry_after} if retry_after else {}


class ReadTimeoutError(BrokenOffError):
    """A time-out, as the network libraries name theirs."""


def pauses(*errors: tuple[Exception, bool]) -> list[float | None]:
    clock = Clock()
    patience = Patience(stop=clock)
    for error, has_moved in errors:
        try:
            patience.wait_after(error, has_moved)
        except type(error):
            return [*clock.pauses, None]
    return clock.pauses


def test_pauses_grow_and_the_fifth_failure_ends() -> None:
    assert pauses(*[(BrokenOffError(), False)] * 9) == [0.5, 1, 2, 4, None]


def test_progress_begins_anew() -> None:
    """If bytes came since the last failure, the count begins anew."""
    failures = [(BrokenOffError(), False)] * 4
    assert pauses(*failures, (BrokenOffError(), True), *failures) == [0.5, 1, 2, 4, 0.5, 0.5, 1, 2, 4]


def test_third_time_out_ends() -> None:
    """A time-out has cost its wait already, so fewer of them end it."""
    assert pauses(*[(ReadTimeoutError(), False)] * 9) == [1, 4, None]


@pytest.mark.parametrize(("asked", "pause"), [("7", 7), ("9000", 60), ("0", 0.5), ("Wed, 21 Oct", 0.5)])
def test_hub_may_ask_for_a_longer_pause(asked: str, pause: float) -> None:
    assert pauses((AnswerError(429, asked), False)) == [pause]


@pytest.mark.parametrize("error", [AnswerError(404), AnswerError(403), OSError(28, "full"), ValueError()])
def test_error_that_stays_is_raised_at_once(error: Exception) -> None:
    assert pauses((error, False)) == [None]
