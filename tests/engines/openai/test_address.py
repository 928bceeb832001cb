"""Where the server is: addresses that are wrong, hold a password or lack /v1, and proxies before it."""

from __future__ import annotations

import asyncio
import logging
import sys

import pytest

from depqa_ray.engines.openai.engine import OpenAIEngine
from tests.engines.calls import answers
from tests.engines.openai.helpers import GOOD, KEY, ask, prompts, refused, spec, with_engine
from tests.engines.servers import Reply, error, free_port, scripted


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


NOT_FOUND = Reply(404, {"detail": "Not Found"})


@pytest.mark.parametrize(
    "elsewhere",
    [
        NOT_FOUND,
        Reply(405, "<html>405 Not Allowed</html>"),
        Reply(404, "404 page not found"),
        Reply(200, "<html>welcome</html>"),
        Reply(200, {"status": "ok"}),
        Reply(200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
    ],
    ids=["vLLM", "a web server", "Ollama", "a page", "no API", "LM Studio"],
)
@pytest.mark.parametrize("path", ["", "/", "/v1/chat/completions"])
def test_address_without_v1_is_tried_with_it(path: str, elsewhere: Reply) -> None:
    """If there are no chat completions at the address, it is tried with ``/v1``, and a note says so."""
    with scripted(lambda body, n: GOOD, elsewhere) as server:
        engine = OpenAIEngine(spec(server.url.removesuffix("/v1") + path))
        info = asyncio.run(engine.start())
    assert info.device == f"the server at {server.url}"
    given = (server.url.removesuffix("/v1") + path).rstrip("/")
    assert info.notes == (f"There are no chat completions at {given}: {server.url} is asked instead.",)
    assert len(server.asked) == 2


def test_blanks_around_an_address_do_not_count() -> None:
    with scripted(lambda asked, n: GOOD) as server:
        assert [c.text for c in ask(f" {server.url}\n", "a")] == ['{"answer": "a"}']


def test_address_that_is_right_is_asked_once() -> None:
    """If the model does not exist, or the address ends in ``/v1``, no other address is tried."""
    missing = Reply(404, error(404, "The model `m` does not exist.", type="NotFoundError"))
    with scripted(lambda body, n: missing) as server:
        for url in (server.url, server.url.removesuffix("/v1")):
            assert refused(OpenAIEngine(spec(url))).endswith("The model `m` does not exist.")
    with scripted(lambda body, n: NOT_FOUND) as bare:
        refused(OpenAIEngine(spec(bare.url)))
    assert (len(server.asked), len(bare.asked)) == (2, 1)


def test_both_addresses_are_named_if_neither_is_right() -> None:
    with scripted(lambda body, n: NOT_FOUND) as server:
        message = refused(OpenAIEngine(spec(server.url.removesuffix("/v1"))))
    assert f"{server.url.removesuffix('/v1')} has no such model or no such address (404)" in message
    assert message.endswith(f"Not Found; {server.url} was tried too")


def test_error_at_the_other_address_is_the_one_reported() -> None:
    """If the server with ``/v1`` wants a key, that is reported, since it is the right address."""
    with scripted(lambda body, n: Reply(401, error(None, "no")), NOT_FOUND) as server:
        message = refused(OpenAIEngine(spec(server.url.removesuffix("/v1"))))
    assert message.startswith(f"the server at {server.url} does not take the key (401)")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:8000/v1", "it begins with neither http:// nor https://"),
        ("http://ann:hidden@", "it names no host"),
        ("http://ann:hidden@host:port/v1", "its host or port cannot be read"),
        ("http://ann:hid/den@host/v1", "its host or port cannot be read"),
    ],
)
def test_error_says_what_is_wrong_with_the_address(url: str, why: str) -> None:
    """If the address is malformed, the error says why, without a password in it."""
    message = refused(OpenAIEngine(spec(url)))
    assert message == f"the server's address is not valid ({why}): --openai-base-url http://HOST:PORT/v1"


def test_reason_why_no_client_can_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the client cannot be made, the error says why, without the key and the password."""
    import openai

    def fail(**given: object) -> None:
        raise TypeError(f"unexpected keyword 'proxies' with {KEY}, {given['default_headers']}, hidden")

    monkeypatch.setattr(openai, "AsyncOpenAI", fail)
    message = refused(OpenAIEngine(spec("http://ann:hidden@127.0.0.1:9/v1")))
    assert message.startswith("no client can be made (TypeError: unexpected keyword 'proxies' with ***, ")
    assert not any(secret in message for secret in (KEY, "hidden", "YW5uOmhpZGRlbg"))


def test_header_that_cannot_be_sent_is_no_fault_of_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "Käse")
    with scripted(lambda body, n: GOOD) as server:
        assert "check OPENAI_ORG_ID" in refused(OpenAIEngine(spec(server.url)))
