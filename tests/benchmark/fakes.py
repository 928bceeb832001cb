"""A fake worker: it answers in this process, by rule, and logs its requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from depqa_ray.benchmark.protocol import RunReply
from depqa_ray.benchmark.roofline import Ceilings, ModelShape
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo

SHAPE = ModelShape(2, 4, 2, 8, 1000, 500, 2)
CEILINGS = Ceilings(1e9, 1e6, "CPU", "float32", 1, ((1, 2, 3, 1e9),), (("sum", 1e6),))


def row_of(prompt: Prompt) -> tuple[int, ...]:
    return tuple(f"{prompt.system}{prompt.passage_text}{prompt.question_text}".encode())


def answered(prompt: Prompt) -> Completion:
    text = "x" * prompt.max_new_tokens
    return Completion(prompt.id, text, len(row_of(prompt)), prompt.max_new_tokens, first_token_seconds=0.5)


class FakeWorkers:
    """Replaces WorkerProcess.

    - ``rules``: how an engine answers, by its label.
    - ``log``: the requests, with the label of the engine.
    - ``stopped``: labels of the engines that are stopped now.
    - ``beside``: labels that were stopped while an engine ran last, by its label.
    """

    def __init__(self, rules: dict[str, Callable[[Prompt], Completion]]) -> None:
        self.rules = rules
        self.log: list[tuple[str, str]] = []
        self.stopped: set[str] = set()
        self.beside: dict[str, set[str]] = {}

    def __call__(self, label: str, python: Path | None = None) -> _Fake:
        return _Fake(self, label)


class _Fake:
    def __init__(self, owner: FakeWorkers, label: str) -> None:
        self.owner, self.label, self.engine = owner, label, ""

    def __enter__(self) -> _Fake:
        return self

    def __exit__(self, *_: object) -> None:
        self.owner.log.append((self.label, "ended"))

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self.owner.stopped.add(self.label)
        yield
        self.owner.stopped.remove(self.label)

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        self.owner.log.append((self.label, do))
        if do == "probe":
            rows = [row_of(Prompt(**prompt)) for prompt in fields["prompts"]]
            return {"shape": asdict(SHAPE), "ceilings": asdict(CEILINGS), "rows": rows}
        if do == "build":
            return {}
        info = EngineInfo(fields["engine"], "m", "CPU, 1 threads", "float32", 7)
        return {"info": asdict(info), "versions": {"torch": "9"}, "python": "3"}

    def run(self, groups: Sequence[Sequence[Prompt]], stagger: float = 0.0) -> RunReply:
        prompts = [prompt for group in groups for prompt in group]
        self.owner.log.append((self.label, prompts[0].system.partition(".")[0]))
        self.owner.beside[self.label] = set(self.owner.stopped)
        completions = tuple(self.owner.rules.get(self.label, answered)(prompt) for prompt in prompts)
        counts = EngineCounts(computed_tokens=100, cached_tokens=50, decode_steps=10, decode_seconds=0.02)
        seconds = 2.0 if self.label == "shared_prefix" else 4.0
        return RunReply(completions, seconds, counts, peak_bytes=1 << 30, device_peak_bytes=None)


def cut_short(prompt: Prompt) -> Completion:
    done = answered(prompt)
    return replace(done, text=done.text[:-1] + "y")
