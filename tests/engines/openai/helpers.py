"""Specs, prompts and runs of the engine that asks a server, for its tests."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineSpec, SamplingParams
from depqa_ray.engines.openai.engine import OpenAIEngine
from depqa_ray.engines.openai.retries import Retries
from depqa_ray.errors import EngineError
from tests.engines import calls
from tests.engines.servers import Reply, completion

QUICK = Retries(first_pause=0.01, longest_pause=0.02)
"""Pauses for tests in which the server does not ask for any."""

KEY = "sk-very-secret-0123456789"
GOOD = Reply(200, completion('{"answer": "a"}'))


def spec(url: str, model: str = "m", batch: int = 8, timeout: float = 60.0, **sampling_params: Any) -> EngineSpec:
    how = SamplingParams(**sampling_params)
    return EngineSpec("openai", model, "auto", batch, 1.0, 0.9, how, base_url=url, request_timeout=timeout)


def prompts(*names: str) -> list[Prompt]:
    return [Prompt(name, "Answer.", "P ", f"Q {name}", 20) for name in names]


def with_engine(engine: Any, use: Callable[[Any], Awaitable[Any]]) -> Any:
    return calls.with_engine(engine, use, 120)


def asks(body: dict[str, Any], name: str) -> bool:
    return bool(body["messages"][1]["content"].endswith(f"Q {name}"))


def refused(engine: OpenAIEngine) -> str:
    """Why the engine does not start: one line, and no key anywhere in the traceback."""
    with pytest.raises(EngineError) as caught:
        asyncio.run(asyncio.wait_for(engine.start(), 120))
    assert "\n" not in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def is_warm_up(body: dict[str, Any]) -> bool:
    return "none?" in body["messages"][1]["content"]


def ask(url: str, *names: str, retries: Retries = QUICK, **how: Any) -> list[Completion]:
    """The completions of prompts with these names."""
    made = OpenAIEngine(spec(url, **how), retries)
    return list(with_engine(made, lambda engine: calls.answers(engine, *prompts(*names))))
