"""The engine that asks a server, with servers that fail and with a real one."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from depqa_ray.answering.prompts import SYSTEM, question_part
from depqa_ray.core import Prompt
from depqa_ray.engines.base import EngineCounts, EngineSpec, SamplingParams
from depqa_ray.engines.local.chat import WARM_UP
from depqa_ray.engines.local.transformers import TransformersEngine
from depqa_ray.engines.openai import OpenAIEngine, cut_answer
from depqa_ray.errors import EngineError, StartError
from depqa_ray.settings.types import EMBEDDED
from tests.engines import calls
from tests.engines.calls import answers
from tests.engines.servers import READER, Reply, completion, free_port, require_openai, scripted, transformers_serve

KEY = "sk-very-secret-0123456789"
GOOD = Reply(200, completion('{"answer": "a"}'))


@pytest.fixture(autouse=True)
def client_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    require_openai()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


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
        engine = OpenAIEngine(spec(server.url), retries=4)
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
        asyncio.run(OpenAIEngine(spec(server.url), retries=0).start())
    assert isinstance(caught.value, StartError) is lasting


def test_server_out_of_reach_ends_the_start() -> None:
    """If nothing answers at the address when the run starts, no other replica tries it again."""
    with pytest.raises(StartError, match="cannot be reached"):
        asyncio.run(OpenAIEngine(spec(f"http://127.0.0.1:{free_port()}/v1"), retries=0).start())


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


def test_unreachable_address_is_reported_without_password(caplog: pytest.LogCaptureFixture) -> None:
    """If no server is at the address, the error shows neither the user nor the password."""
    caplog.set_level(logging.DEBUG)
    message = refused(OpenAIEngine(spec(f"http://zoe:p%40ss@127.0.0.1:{free_port()}/v1")))
    assert "cannot be reached (" in message and message.endswith("check --openai-base-url, and that it runs")
    assert not any(secret in message + caplog.text for secret in ("zoe", "p%40ss", "p@ss"))


@pytest.mark.parametrize("url", ["nonsense", "ftp://ann:pass@host/v1", "http://", "http://host:port/v1"])
def test_malformed_address_error_shows_a_valid_one(url: str) -> None:
    """If the address is malformed, the error shows a valid one."""
    assert "--openai-base-url http://HOST:PORT/v1" in refused(OpenAIEngine(spec(url)))


def test_user_in_the_address_reaches_only_the_server() -> None:
    """If the address holds a user, only the server gets it, and no description shows it."""
    with scripted(lambda body, n: GOOD) as server:
        made = spec(server.url.replace("://", "://ann:pw@"))
        info = asyncio.run(OpenAIEngine(made).start())
    assert server.keys == ["Basic YW5uOnB3"]
    assert info.device == f"the server at {server.url}"
    assert "ann" not in repr(made)


def test_address_comes_from_the_environment_if_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the settings name no address, that of the environment is used."""
    with scripted(lambda body, n: GOOD) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.delenv("OPENAI_API_KEY")
        with_engine(OpenAIEngine(spec("")), lambda engine: answers(engine, *prompts("a")))
    assert len(server.asked) == 2


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
        ('{"a": 1} and {"b": 2}', SamplingParams(stop_at_json=True), ('{"a": 1}', True)),
        ('{"a": 1}', SamplingParams(stop_at_json=True), ('{"a": 1}', True)),
        ('{"a": 1} and more', SamplingParams(), ('{"a": 1} and more', False)),
        ("<think>{}</think>{}x", SamplingParams(stop_at_json=True), ("<think>{}</think>{}", True)),
        ("one STOP two", SamplingParams(stop=(" STOP",)), ("one", True)),
        ('{"a": "STOP"} STOP', SamplingParams(stop=(" STOP",), stop_at_json=True), ('{"a": "STOP"}', True)),
        ("", SamplingParams(stop=("x",), stop_at_json=True), ("", False)),
    ],
)
def test_text_that_runs_on_is_cut_as_local_engines_end_it(
    text: str, sampling_params: SamplingParams, ended: tuple[str, bool]
) -> None:
    """If a server's text runs on, it is cut where local engines end it."""
    assert cut_answer(text, sampling_params) == ended


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


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense://127.0.0.1:9"])
def test_server_on_this_machine_is_asked_directly(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If proxies are set, whatever they are, requests to this machine go around them."""
    for name in PROXIES:
        monkeypatch.setenv(name, proxy)
    with scripted(lambda body, n: GOOD) as server:
        for host in ("127.0.0.1", "localhost", "0.0.0.0"):
            url = server.url.replace("127.0.0.1", host)
            with_engine(OpenAIEngine(spec(url)), lambda engine: answers(engine, *prompts("a")))
    assert server.times("Q a") == 3


def test_dead_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If a proxy that applies is out of reach, the error names it, without its user and password."""
    caplog.set_level(logging.DEBUG)
    port = free_port()
    monkeypatch.setenv("http_proxy", f"http://zoe:p%40ss@127.0.0.1:{port}")
    message = refused(OpenAIEngine(spec("http://models.invalid:8000/v1")))
    assert message.startswith(
        f"the server at http://models.invalid:8000/v1 (through the proxy http://127.0.0.1:{port}) cannot be reached ("
    )
    assert message.endswith("and that it runs; NO_PROXY goes around the proxy")
    assert not any(secret in message + caplog.text for secret in ("zoe", "p%40ss", "p@ss"))


def test_refusal_of_a_proxy_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a proxy that applies answers with an error, the error names the proxy."""
    with scripted(lambda body, n: Reply(407, {"error": {"message": "who is ann:secret?"}})) as proxy:
        address = proxy.url.removesuffix("/v1")
        monkeypatch.setenv("HTTP_PROXY", address.replace("://", "://ann:secret@"))
        message = refused(OpenAIEngine(spec("http://models.invalid/v1")))
    assert f"(through the proxy {address}) answered 407" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("socks5://ann:secret@127.0.0.1:9", "ALL_PROXY: a SOCKS proxy needs a library: pip install socksio"),
        ("nonsense://ann:secret@127.0.0.1:9", "ALL_PROXY: no requests can be sent with these values"),
    ],
)
def test_unusable_proxy_is_one_line(value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no client can use a proxy that is set, the error names its variable and not its value."""
    monkeypatch.setitem(sys.modules, "socksio", None)
    for name in (*PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", value)
    message = refused(OpenAIEngine(spec("http://models.invalid/v1")))
    assert message.startswith(said)
    assert "secret" not in message
