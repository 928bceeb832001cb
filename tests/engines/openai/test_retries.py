"""When requests are sent again: pauses that a server asks for are kept to, by all requests, and end in time."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest

from depqa_ray.engines.openai.engine import OpenAIEngine
from depqa_ray.engines.openai.retries import Retries, asked_pause
from tests.engines.calls import answers
from tests.engines.openai.helpers import GOOD, QUICK, ask, asks, is_warm_up, prompts, spec, with_engine
from tests.engines.servers import Reply, error, scripted


def limited(*headers: tuple[str, str]) -> Reply:
    return Reply(429, error("rate_limit_exceeded", "slow down"), headers=headers)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "125"}, 125, 125),
        ({"retry-after": "0.5"}, 0.5, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1, 1),
        ({"retry-after": "Sat, 01 Jan 2000 00:00:00 GMT"}, 0, 0),
        ({"retry-after": "-3"}, 0, 0),
    ],
)
def test_pause_is_read_in_all_its_forms(headers: dict[str, str], low: float, high: float) -> None:
    """A pause in seconds, milliseconds or until a date is read."""
    found = asked_pause(headers)
    assert found is not None and low <= found <= high


def test_pause_until_a_date_is_read() -> None:
    pause = asked_pause({"retry-after": formatdate(time.time() + 300, usegmt=True)})
    assert pause is not None and 240 <= pause <= 301


@pytest.mark.parametrize("value", ["", "soon", "nan", "inf", "1e999", "Fri, 99 Foo 2020 00:00:00 GMT"])
def test_nonsense_asks_for_no_pause(value: str) -> None:
    assert asked_pause({"retry-after": value}) is None


def test_pauses_grow_and_keep_to_what_is_asked() -> None:
    """Pauses double up to the longest; a pause that the server asks for is never shortened."""
    retries = Retries(most=2, first_pause=1.0, longest_pause=8.0)
    grown = [retries.pause(number, None) for number in range(1, 9)]
    assert 0.75 <= grown[0] <= 1 and 1.5 <= grown[1] <= 2 and all(6 <= pause <= 8 for pause in grown[3:])
    assert [retries.pause(number, 0.01) for number in (1, 2, 3)] == [0.01, 0.01, 8.0]
    assert [retries.pause(number, 125.0) for number in (1, 9)] == [125.0, 125.0]


@pytest.mark.parametrize("status", [429, 503])
def test_pause_that_the_server_asks_for_is_kept_to(status: int) -> None:
    """If the server asks for a pause, the request is not repeated before its end."""
    busy = limited(("retry-after", "0.4"))._replace(status=status)
    with scripted(lambda body, n: busy if asks(body, "a") and n == 1 else GOOD) as server:
        (found,) = ask(server.url, "a")
    _, first, second = server.arrivals
    assert found.error is None and 0.4 <= second - first < 3


def test_long_pause_within_the_timeout_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the pause is longer than two minutes, where the client itself gives up, it is kept to all the same."""
    waited: list[float] = []
    pauses = {"125": 0.05}

    def short(headers: Any) -> float | None:  # the pause is shortened, the waiting is real
        text = headers.get("retry-after", "")
        waited.extend([float(text)] if text else [])
        return pauses.get(text)

    monkeypatch.setattr("depqa_ray.engines.openai.failures.asked_pause", short)
    with scripted(lambda body, n: limited(("retry-after", "125")) if asks(body, "a") and n == 1 else GOOD) as server:
        (found,) = ask(server.url, "a")
    assert found.error is None and waited == [125.0]


def test_pause_is_shared_by_all_requests() -> None:
    """If one request is told to wait, the others of the engine wait as well."""

    def script(body: dict[str, Any], n: int) -> Reply:
        return limited(("retry-after", "0.5")) if asks(body, "a") and n == 1 else GOOD._replace(seconds=0.1)

    async def use(engine: OpenAIEngine) -> None:
        assert [c.error for c in await answers(engine, *prompts(*"abcdefgh"))] == [None] * 8

    with scripted(script) as server:
        with_engine(OpenAIEngine(spec(server.url, batch=2), QUICK), use)
    told = next(at for at, body in zip(server.arrivals, server.asked, strict=True) if asks(body, "a"))
    between = [at - told for at in server.arrivals if 0.05 < at - told < 0.45]
    assert between == []


def test_rate_limit_ends_no_engine() -> None:
    """If the limit outlasts the timeout, prompts fail in its words, alone; once it ends, the engine answers."""
    reached = limited(("retry-after", "600"))

    async def use(engine: OpenAIEngine) -> tuple[float, list[Any], list[Any]]:
        began = time.monotonic()
        during = await answers(engine, *prompts("a", "b"))
        took = time.monotonic() - began
        engine._pause._until = 0.0  # the ten minutes are over
        return took, during, await answers(engine, *prompts("c"))

    with scripted(lambda body, n: GOOD if is_warm_up(body) or asks(body, "c") else reached) as server:
        engine = OpenAIEngine(spec(server.url, timeout=0.5), QUICK)
        took, during, after = with_engine(engine, use)
    for found in during:
        assert "gets too many requests (429; it asks for a pause of 600 s): lower --max-batch-size" in str(found.error)
        assert str(found.error).endswith("slow down")
    assert [c.error for c in after] == [None]
    assert 0.4 < took < 3 and server.times("none?") == 1


def test_limit_of_a_day_is_not_waited_for() -> None:
    """If a limit lasts longer than any run waits, prompts fail at once, without further requests."""
    with scripted(lambda body, n: GOOD if is_warm_up(body) else limited(("retry-after", "86400"))) as server:
        began = time.monotonic()
        found = ask(server.url, *"abcdef", batch=1)
    assert all("a pause of 86400 s" in str(c.error) for c in found)
    assert len(server.asked) == 2 and time.monotonic() - began < 10


def test_limit_without_a_pause_is_asked_at_a_bounded_rate() -> None:
    """If the server asks for tiny pauses, or none, and never relents, the requests are few and end in time."""
    for headers in ((), (("retry-after-ms", "1"),)):
        with scripted(lambda body, n, h=headers: GOOD if is_warm_up(body) else limited(*h)) as server:
            retries = Retries(most=3, first_pause=0.05, longest_pause=0.2)
            (found,) = ask(server.url, "a", retries=retries, timeout=1.0)
        assert "(429" in str(found.error) and len(server.asked) < 15


def test_limit_during_a_check_is_no_fault_of_the_server() -> None:
    """If a prompt breaks the server and the check meets a rate limit, only the prompt fails."""

    def script(body: dict[str, Any], n: int) -> Reply:
        if is_warm_up(body):
            return GOOD if n == 1 else limited()
        return Reply(500, error(500, "boom")) if asks(body, "bad") else GOOD

    with scripted(script) as server:
        bad, good = ask(server.url, "bad", "b", retries=Retries(most=1, first_pause=0.01), timeout=0.5)
    assert "boom" in str(bad.error) and good.error is None


def test_server_that_loads_its_model_is_waited_for() -> None:
    """If the server says that it is not ready, the start asks again until it is, as often as it takes."""
    loading = Reply(503, error(503, "Loading model", type="unavailable_error"), headers=())
    with scripted(lambda body, n: loading if n < 9 else GOOD) as server:
        (found,) = ask(server.url, "a")
    assert found.error is None and server.times("none?") == 9


def test_request_that_the_server_says_not_to_repeat_is_not() -> None:
    never = Reply(500, error(500, "boom"), headers=(("x-should-retry", "false"),))
    with scripted(lambda body, n: never if asks(body, "a") else GOOD) as server:
        (found,) = ask(server.url, "a")
    assert "boom" in str(found.error) and server.times("Q a") == 1
