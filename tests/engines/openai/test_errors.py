"""What a server says is wrong: error objects in replies of any status, and how a reply ended."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from depqa_ray.engines.openai.engine import OpenAIEngine
from depqa_ray.errors import EngineError, StartError
from tests.engines.calls import answers
from tests.engines.openai.helpers import GOOD, KEY, QUICK, ask, asks, is_warm_up, prompts, refused, spec, with_engine
from tests.engines.servers import Reply, completion, error, scripted


def broken_off(reason: str, **more: Any) -> dict[str, Any]:
    body = completion("half an ans", reason)
    body["choices"][0] |= more
    return body


@pytest.mark.parametrize(
    "body",
    [
        error(429, "Rate limited upstream"),
        error(502, "Provider returned error", metadata={"provider_name": "X"}),
        error(503, "Loading model", type="unavailable_error"),
        error("rate_limit_exceeded", "slow down"),
        error(None, "nobody knows"),
        {"error": "out of memory"},
        [error(429, "Resource exhausted")],
        {"error": True, "message": "out of memory"},
        {"message": "out of memory", "type": "server_error"},
        {"object": "error", "message": "engine is busy", "code": 500, "type": "InternalServerError"},
        broken_off("error", error={"code": 502, "message": "upstream closed"}),
        broken_off("abort"),
    ],
    ids=lambda body: str(body)[:40],
)
def test_passing_error_in_a_reply_is_repeated(body: dict[str, Any]) -> None:
    """If a reply of status 200 holds an error that may pass, the request is repeated."""
    with scripted(lambda asked, n: Reply(200, body) if asks(asked, "a") and n < 3 else GOOD) as server:
        found = ask(server.url, "a", "b")
    assert [c.text for c in found] == ['{"answer": "a"}'] * 2
    assert (server.times("Q a"), server.times("Q b")) == (3, 1)


@pytest.mark.parametrize(
    "body",
    [
        error(400, "context too long"),
        error("400", "context too long"),
        error("context_length_exceeded", "context too long"),
        error(None, "context too long", type="invalid_request_error"),
        error(403, "context too long", metadata={"reasons": ["violence"], "flagged_input": "P"}),
        {"object": "error", "message": "context too long", "code": 400, "type": "BadRequestError"},
    ],
    ids=lambda body: str(body)[:40],
)
def test_prompt_that_a_reply_refuses_fails_alone(body: dict[str, Any]) -> None:
    """If a reply of status 200 says that the prompt is at fault, it fails at once, alone, in the server's words."""
    with scripted(lambda asked, n: Reply(200, body) if asks(asked, "a") else GOOD) as server:
        bad, good = ask(server.url, "a", "b")
    assert str(bad.error).endswith(": context too long") and good.error is None
    assert (server.times("Q a"), server.times("none?")) == (1, 1)


def test_lasting_error_in_a_reply_is_that_error(caplog: pytest.LogCaptureFixture) -> None:
    """If a reply of status 200 says that an error lasts, it is told in its words, which hold no part of the key."""
    caplog.set_level(logging.DEBUG)
    with scripted(lambda asked, n: Reply(200, error(500, f"boom at {KEY} and {KEY[:10]}***"))) as server:
        message = refused(OpenAIEngine(spec(server.url), QUICK))
    assert message == f"the server at {server.url} answered 500: boom at *** and ***"
    assert len(server.asked) == 3 and KEY not in caplog.text


def test_key_that_a_reply_refuses_is_not_shown() -> None:
    with scripted(lambda asked, n: Reply(200, error(401, f"wrong key {KEY[:6]}..."))) as server:
        message = refused(OpenAIEngine(spec(server.url)))
    assert message.endswith("does not take the key (401): set OPENAI_API_KEY where the replicas run")


def test_field_error_without_an_error_is_none() -> None:
    """If a reply has an empty error beside its answer, it is an answer."""
    with scripted(lambda asked, n: Reply(200, completion("fine") | {"error": None})) as server:
        assert [c.text for c in ask(server.url, "a")] == ["fine"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, error("insufficient_quota", "You exceeded your current quota", type="insufficient_quota")),
        (429, error("billing_hard_limit_reached", "You exceeded your current quota")),
        (200, error("insufficient_quota", "You exceeded your current quota")),
        (402, error(402, "You exceeded your current quota")),
        (200, error(402, "You exceeded your current quota")),
        (200, [error("insufficient_quota", "You exceeded your current quota")]),
    ],
)
def test_used_up_quota_is_not_repeated(status: int, body: dict[str, Any]) -> None:
    """If the key has nothing left to spend, neither this replica nor another one asks again."""
    with scripted(lambda asked, n: Reply(status, body)) as server, pytest.raises(StartError) as caught:
        asyncio.run(OpenAIEngine(spec(server.url)).start())
    message = str(caught.value)
    assert "has nothing left for the key" in message and "You exceeded your current quota" in message
    assert "add credit or raise the limit there, or set another OPENAI_API_KEY" in message
    assert len(server.asked) == 1


def test_quota_used_up_within_a_run_breaks_the_engine() -> None:
    """If the quota is used up within a run, later prompts are not sent, and no other replica could start."""
    gone = Reply(429, error("insufficient_quota", "You exceeded your current quota"))

    async def use(engine: OpenAIEngine) -> None:
        for names in ("a", "b"):
            with pytest.raises(StartError, match="nothing left for the key"):
                await answers(engine, *prompts(names))

    with scripted(lambda asked, n: GOOD if is_warm_up(asked) else gone) as server:
        with_engine(OpenAIEngine(spec(server.url)), use)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("reason", "ended"),
    [
        ("stop", "eos"),
        ("eos", "eos"),
        ("eos_token", "eos"),
        ("", "eos"),
        (None, "eos"),
        ("end_turn", "eos"),
        ("STOP", "eos"),
        ("tool_calls", "eos"),
        ("function_call", "eos"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
    ],
)
def test_reasons_that_mean_an_end_are_ends(reason: str | None, ended: str) -> None:
    """If a server says in its own words that an answer ended, or says nothing, it ended."""
    with scripted(lambda asked, n: GOOD if is_warm_up(asked) else Reply(200, completion("{plain", reason))) as server:
        (found,) = ask(server.url, "a")
    assert (found.text, found.finish_reason, found.error) == ("{plain", ended, None)


@pytest.mark.parametrize(("field", "value", "ended"), [("stop_reason", "\n", "stop"), ("matched_stop", 7, "eos")])
def test_stop_string_that_the_server_names_is_the_reason(field: str, value: object, ended: str) -> None:
    with scripted(lambda asked, n: Reply(200, broken_off("stop", **{field: value}))) as server:
        assert [c.finish_reason for c in ask(server.url, "a")] == [ended]


def test_json_that_closed_is_the_reason() -> None:
    """If the text is cut behind its JSON object, the object's end is the reason, whatever the server says."""
    with scripted(lambda asked, n: Reply(200, completion('{"answer": "a"} and on', "length"))) as server:
        (found,) = ask(server.url, "a", stop_at_json=True)
    assert (found.text, found.finish_reason) == ('{"answer": "a"}', "json")


@pytest.mark.parametrize(
    ("text", "reason"), [("half", "content_filter"), (None, "tool_calls"), (None, None), ("half", f"odd {KEY}")]
)
def test_answer_that_did_not_end_fails_alone(text: str | None, reason: str | None) -> None:
    """If a filter or something unknown ended an answer, or there is none, its prompt fails, alone."""
    odd = Reply(200, completion(text, reason))
    with scripted(lambda asked, n: odd if asks(asked, "a") else GOOD) as server:
        bad, good = ask(server.url, "a", "b")
    assert "the server ended the answer by" in str(bad.error) and KEY not in str(bad.error)
    assert good.error is None


def test_error_of_a_busy_start_is_not_lasting() -> None:
    """If the server is not ready for long, the start fails, and another replica may try."""
    loading = Reply(503, error(503, "Loading model", type="unavailable_error"), headers=())
    with scripted(lambda asked, n: loading) as server, pytest.raises(EngineError, match="Loading model") as caught:
        asyncio.run(OpenAIEngine(spec(server.url, timeout=0.3), QUICK).start())
    assert not isinstance(caught.value, StartError) and len(server.asked) > 3
