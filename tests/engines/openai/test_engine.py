"""The engine that asks a server, with servers that fail and with a real one."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest

from depqa_ray.answering.prompts import SYSTEM, question_part
from depqa_ray.core import FinishReason, Prompt
from depqa_ray.engines.base import EngineCounts, EngineSpec, SamplingParams
from depqa_ray.engines.local.chat import WARM_UP
from depqa_ray.engines.local.generation import cut_reply
from depqa_ray.engines.local.transformers import TransformersEngine
from depqa_ray.engines.openai.engine import OpenAIEngine
from depqa_ray.engines.openai.retries import Retries
from depqa_ray.errors import EngineError, StartError
from depqa_ray.settings.types import EMBEDDED
from tests.engines.calls import answers
from tests.engines.openai.helpers import GOOD, KEY, asks, prompts, refused, spec, with_engine
from tests.engines.servers import READER, Reply, completion, free_port, scripted, transformers_serve


def test_given_no_client_then_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    assert "pip install 'depqa-ray[openai]'" in refused(OpenAIEngine(spec("http://127.0.0.1:1/v1")))


def test_prompts_of_a_busy_server_are_sent_again() -> None:
    """If the server is busy, its prompts are sent again and answered."""

    def script(body: dict[str, Any], number: int) -> Reply:
        return Reply((429, 503)[number % 2], {"error": {"message": "later"}}) if number < 4 else GOOD

    with scripted(lambda body, n: GOOD if "none?" in str(body) else script(body, n)) as server:
        found = with_engine(OpenAIEngine(spec(server.url)), lambda engine: answers(engine, *prompts("a", "b")))
    assert [c.text for c in found] == ['{"answer": "a"}'] * 2
    assert (server.times("Q a"), server.times("Q b")) == (4, 4)


def test_failing_server_is_asked_a_bounded_number_of_times() -> None:
    """If the server always fails, the engine gives up after a fixed number of requests."""
    with scripted(lambda body, n: Reply(500, {"error": {"message": "boom"}})) as server:
        assert "boom" in refused(OpenAIEngine(spec(server.url)))
    assert len(server.asked) == 3


def test_prompt_that_breaks_the_server_fails_alone() -> None:
    """If a prompt breaks the server, only this prompt fails, after bounded retries."""

    def script(body: dict[str, Any], number: int) -> Reply:
        return Reply(500, {"error": {"message": "boom"}}) if asks(body, "bad") else GOOD

    with scripted(script) as server:
        engine = OpenAIEngine(spec(server.url), Retries(most=4))
        found = with_engine(engine, lambda engine: answers(engine, *prompts("a", "bad", "c")))
    assert [bool(c.error) for c in found] == [False, True, False]
    assert "boom" in str(found[1].error) and found[1].text == ""
    assert server.times("Q bad") == 5


@pytest.mark.parametrize("status", [400, 413, 422])
def test_refused_prompt_fails_alone_and_at_once(status: int) -> None:
    """If the server refuses a prompt, only this prompt fails, without retries."""

    def script(body: dict[str, Any], number: int) -> Reply:
        too_long = Reply(status, {"error": {"message": f"context length exceeded, said to {KEY}"}})
        return too_long if asks(body, "long") else GOOD

    with scripted(script) as server:
        found = with_engine(OpenAIEngine(spec(server.url)), lambda engine: answers(engine, *prompts("long", "b")))
    assert "context length exceeded" in str(found[0].error) and KEY not in str(found[0].error)
    assert found[1].error is None
    assert (server.times("Q long"), server.times("none?")) == (1, 1)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key_is_not_shown(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """If the server echoes a key that it refuses, neither the error nor the log shows the key."""
    caplog.set_level(logging.DEBUG)
    with scripted(lambda body, n: Reply(status, {"error": {"message": f"wrong key {KEY}, {KEY[:9]}..."}})) as server:
        message = refused(OpenAIEngine(spec(server.url)))
    assert message.endswith(f"does not take the key ({status}): set OPENAI_API_KEY where the replicas run")
    assert KEY[:9] not in message and KEY not in caplog.text
    assert server.keys == [f"Bearer {KEY}"]


def test_given_a_wrong_model_then_the_error_says_what_to_check() -> None:
    with scripted(lambda body, n: Reply(404, {"error": {"message": "no such model"}})) as server:
        assert "(404): check --model-name m and --openai-base-url" in refused(OpenAIEngine(spec(server.url)))


@pytest.mark.parametrize(("status", "lasting"), [(401, True), (404, True), (400, True), (429, False), (500, False)])
def test_refusal_that_would_repeat_ends_the_start(status: int, lasting: bool) -> None:
    """If key, model or prompt is refused at the start, no replica could do better; a busy server may recover."""
    script = Reply(status, {"error": {"message": "no"}})
    with scripted(lambda body, n: script) as server, pytest.raises(EngineError) as caught:
        asyncio.run(OpenAIEngine(spec(server.url, timeout=0.5), Retries(warm_up=0)).start())
    assert isinstance(caught.value, StartError) is lasting


def test_server_out_of_reach_ends_the_start() -> None:
    """If nothing answers at the address when the run starts, no other replica tries it again."""
    with pytest.raises(StartError, match="cannot be reached"):
        asyncio.run(OpenAIEngine(spec(f"http://127.0.0.1:{free_port()}/v1"), Retries(warm_up=0)).start())


def test_withdrawn_key_fails_all_callers() -> None:
    """If a key is withdrawn, running and later callers get EngineError."""

    def script(body: dict[str, Any], number: int) -> Reply:
        return GOOD if "none?" in str(body) and number == 1 else Reply(401, {"error": {"message": KEY}})

    async def use(engine: OpenAIEngine) -> None:
        for asked in (prompts("a", "b"), prompts("later")):
            with pytest.raises(EngineError, match="does not take the key"):
                await answers(engine, *asked)

    with scripted(script) as server:
        with_engine(OpenAIEngine(spec(server.url)), use)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<html>welcome</html>", "it is no JSON"),
        ({}, "it has no counts of tokens"),
        ({"choices": []}, "it has no counts of tokens"),
        ({"detail": "Not here"}, "it has no counts of tokens, usage, but says: Not here"),
        (completion("a") | {"usage": {"prompt_tokens": 7}}, "usage, have no number completion_tokens"),
        (completion(["a"]), "its content is no text"),
        ([1, 2], "is no chat completion"),
        (completion("a") | {"choices": []}, "is no chat completion"),
        (completion("a") | {"choices": [{"finish_reason": "stop"}]}, "is no chat completion"),
        (completion("a") | {"usage": {"prompt_tokens": None}}, "is no chat completion"),
        (completion("a", "content_filter"), "ended the answer by 'content_filter'"),
    ],
)
def test_unexpected_reply_is_reported(body: Any, message: str) -> None:
    """If the server sends something unexpected, the error says what is wrong."""
    with scripted(lambda asked, n: Reply(200, body)) as server:
        assert message in refused(OpenAIEngine(spec(server.url)))


def test_prompt_that_hangs_fails_at_the_timeout() -> None:
    """If the server hangs on a prompt, this prompt fails at the timeout and the others are answered."""
    script = lambda body, n: GOOD._replace(seconds=5.0 if asks(body, "slow") else 0.0)  # noqa: E731
    with scripted(script) as server:
        engine = OpenAIEngine(spec(server.url, timeout=1.5))
        slow, other = with_engine(engine, lambda engine: answers(engine, *prompts("slow", "b")))
    assert "gave no answer within 1.5 s (--request-timeout)" in str(slow.error)
    assert other.error is None


def test_key_is_stripped_and_an_unsendable_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a key ends with a line end, it is stripped; if it cannot be sent, the error says so."""
    with scripted(lambda body, n: GOOD) as server:
        monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
        asyncio.run(OpenAIEngine(spec(server.url)).start())
        assert server.keys == [f"Bearer {KEY}"]
        monkeypatch.setenv("OPENAI_API_KEY", "schlüssel")
        assert "OPENAI_API_KEY holds characters" in refused(OpenAIEngine(spec(server.url)))


def test_prompts_beyond_the_batch_size_wait() -> None:
    """If there are more prompts than the batch size, the rest waits."""
    with scripted(lambda body, n: GOOD._replace(seconds=0.02)) as server:
        found = with_engine(
            OpenAIEngine(spec(server.url, batch=3)), lambda engine: answers(engine, *prompts(*"abcdefghij"))
        )
    assert len(found) == 10 and server.most == 3


def test_unsent_prompts_of_a_leaving_caller_are_dropped() -> None:
    """If a caller leaves, its unsent prompts are never sent."""

    async def use(engine: OpenAIEngine) -> None:
        leaving = engine.submit(prompts(*"abcdefghij"))
        await anext(aiter(leaving))
        await leaving.aclose()  # type: ignore[attr-defined]
        (stays,) = await answers(engine, *prompts("stays"))
        assert stays.error is None

    with scripted(lambda body, n: GOOD) as server:
        with_engine(OpenAIEngine(spec(server.url, batch=1)), use)
    assert len(server.asked) <= 5


def test_request_holds_the_sampling_params_that_matter() -> None:
    """A request holds the sampling parameters that the server has to know."""
    with scripted(lambda body, n: GOOD) as server:
        plain, drawn = spec(server.url), spec(server.url, temperature=0.5, top_p=0.9, seed=3, stop=tuple("vwxyz"))
        for made in (plain, drawn):
            with_engine(OpenAIEngine(made), lambda engine: answers(engine, *prompts("a")))
    greedy, sampled = server.asked[1], server.asked[3]
    assert greedy == {
        "model": "m",
        "messages": [{"role": "system", "content": "Answer."}, {"role": "user", "content": "P Q a"}],
        "max_tokens": 20,
        "temperature": 0.0,
    }
    assert (sampled["temperature"], sampled["top_p"], sampled["stop"]) == (0.5, 0.9, list("vwxy"))
    assert 0 <= sampled["seed"] < 2**31


def test_given_cached_tokens_in_the_usage_then_they_are_counted() -> None:
    def script(body: dict[str, Any], number: int) -> Reply:
        return Reply(200, completion("a", cached=4 if asks(body, "a") else None))

    async def use(engine: OpenAIEngine) -> tuple[EngineCounts, EngineCounts]:
        await answers(engine, *prompts("b"))
        before = engine.counts()
        await answers(engine, *prompts("a"))
        return before, engine.counts()

    with scripted(script) as server:
        before, after = with_engine(OpenAIEngine(spec(server.url)), use)
    assert before == EngineCounts()
    assert after == EngineCounts(computed_tokens=10, cached_tokens=4)


def test_given_a_prompt_that_is_no_text_then_it_alone_fails() -> None:
    with scripted(lambda body, n: GOOD) as server:
        bad, good = with_engine(OpenAIEngine(spec(server.url)), lambda engine: answers(engine, *prompts("\udcff", "b")))
    assert bad.error and good.error is None


def test_given_a_fixed_length_then_it_is_refused_at_the_start() -> None:
    assert "fixed length" in refused(OpenAIEngine(spec("http://127.0.0.1:1/v1", fixed_length=True)))


@pytest.mark.parametrize(
    ("text", "sampling_params", "ended"),
    [
        ('{"a": 1} and {"b": 2}', SamplingParams(stop_at_json=True), ('{"a": 1}', "json")),
        ('{"a": 1}', SamplingParams(stop_at_json=True), ('{"a": 1}', "json")),
        ('{"a": 1} and more', SamplingParams(), ('{"a": 1} and more', None)),
        ("<think>{}</think>{}x", SamplingParams(stop_at_json=True), ("<think>{}</think>{}", "json")),
        ("one STOP two", SamplingParams(stop=(" STOP",)), ("one", "stop")),
        ('{"a": "STOP"} STOP', SamplingParams(stop=(" STOP",), stop_at_json=True), ('{"a": "STOP"}', "json")),
        ("", SamplingParams(stop=("x",), stop_at_json=True), ("", None)),
    ],
)
def test_text_that_runs_on_is_cut_as_local_engines_end_it(
    text: str, sampling_params: SamplingParams, ended: tuple[str, FinishReason | None]
) -> None:
    """If a server's text runs on, it is cut where local engines end it."""
    assert cut_reply(text, sampling_params, thinking=False) == ended


@pytest.mark.slow
def test_served_reader_answers_as_the_local_one() -> None:
    """If a real server serves the embedded reader, its answers are those of the local reader."""
    passage = "Passage: Velcarn was founded by Mira Oston. Mira Oston was born in Harrowick.\n\n"
    asked = [
        Prompt(question, SYSTEM, passage, question_part(question), 40)
        for question in ("Who founded Velcarn?", "Where was Mira Oston born?")
    ]
    local = EngineSpec("transformers", EMBEDDED, "float32", 8, 1.0, 0.9, SamplingParams(stop_at_json=True))
    theirs = with_engine(TransformersEngine(local), lambda engine: answers(engine, *asked))
    with transformers_serve() as url:
        ours = with_engine(OpenAIEngine(spec(url, READER, stop_at_json=True)), lambda engine: answers(engine, *asked))
        assert "requested 'another'" in refused(OpenAIEngine(spec(url, "another")))
    assert [(c.text, c.prompt_tokens, c.finish_reason) for c in ours] == [
        (c.text, c.prompt_tokens, c.finish_reason) for c in theirs
    ]
    assert all(c.generated_tokens >= t.generated_tokens for c, t in zip(ours, theirs, strict=True))
    assert WARM_UP.id not in [c.prompt_id for c in ours]
