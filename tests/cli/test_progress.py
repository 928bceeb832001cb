"""What a run shows while it runs, if stderr is no terminal: whole lines that can be searched."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from rich.console import Console

from depqa_ray.cli.progress import LiveProgress, start_logging
from depqa_ray.core import Outcome, StepResult
from depqa_ray.engines.base import EngineInfo
from depqa_ray.hub import FetchProgress


@pytest.fixture
def shown() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log = logging.getLogger("depqa_ray")
    before = log.handlers, log.propagate, log.level
    yield stream
    log.handlers, log.propagate, log.level = before


def progress_on(stream: io.StringIO, *, terminal: bool = False) -> LiveProgress:
    console = Console(file=stream, force_terminal=terminal, width=80)
    start_logging("info", console)
    return LiveProgress(console)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_long_note_is_one_line(shown: io.StringIO) -> None:
    """If a note is longer than a terminal is wide, a log still has it in one line, without padding."""
    with progress_on(shown) as progress:
        progress.warn("word " * 40 + "end")
        progress.on_stage("starting Ray")
    assert lines(shown) == ["word " * 40 + "end", "starting Ray"]


def test_download_shows_bytes_share_and_end(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download is shown at its start, about every five seconds, and at its end; one with nothing to do is not."""
    clock = iter([0.0, 1.0, 6.0, 7.0, 8.0, 9.0])
    with progress_on(shown) as progress:
        monkeypatch.setattr("depqa_ray.hub.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
        for done in (100, 200, 600, 900, 1000):
            progress.on_fetch(FetchProgress("a/b", done, 1000))
        progress.on_fetch(FetchProgress("c/d", 5, 5))
        progress.on_fetch(FetchProgress("a/b", 0, 0, "no answer from the hub (cut)"))
    shares = [line.partition(" (")[2].partition(")")[0] for line in lines(shown)[:-1]]
    assert shares == ["10%", "60%", "100%"]
    assert lines(shown)[-1] == "fetching a/b: no answer from the hub (cut); trying again"


def test_answers_are_counted_now_and_then(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a run takes long, the number of answered questions is logged every half a minute."""
    with progress_on(shown) as progress:
        clock = iter([1e9, 1e9 + 1])
        monkeypatch.setattr("depqa_ray.cli.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
        for _ in range(2):
            progress.record(step())
    assert lines(shown) == ["2 questions so far"]


def test_replica_is_named_in_one_line(shown: io.StringIO) -> None:
    """If a model's name holds a line break, the line about its replica does not."""
    with progress_on(shown) as progress:
        progress.on_ready("replica-0", "answer", EngineInfo("transformers", "a\nb", "CPU", "float32", 26_912))
    assert lines(shown) == ["replica-0 is ready: a b, 0.0269M parameters, float32, on CPU"]


def step() -> StepResult:
    outcomes = tuple(Outcome(f"q{number}", "answered", "x") for number in range(2))
    return StepResult("independent", "p", "s", outcomes)
