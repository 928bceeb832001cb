"""Which proxy a URL has, and which URLs are on this machine."""

from __future__ import annotations

import pytest

from depqa_ray.proxies import Proxy, is_here, proxy_of, proxy_variables, split_user


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("api.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("0.0.0.0", True),
        ("10.0.0.1", False),
        ("[2001:db8::1]", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
    ],
)
def test_loopback_hosts_are_on_this_machine(host: str, here: bool) -> None:
    assert is_here(f"http://{host}:8000/v1") is here


@pytest.mark.parametrize(
    ("variable", "value", "url", "address"),
    [
        ("http_proxy", "http://p:1", "http://host/v1", "http://p:1"),
        ("HTTP_PROXY", "p:1", "http://host/v1", "http://p:1"),
        ("HTTPS_PROXY", "http://p:1", "http://host/v1", None),
        ("HTTPS_PROXY", "http://p:1", "https://host/v1", "http://p:1"),
        ("ALL_PROXY", "socks5://p:1", "https://host/v1", "socks5://p:1"),
        ("ALL_PROXY", "socks5://p:1", "http://localhost/v1", None),
    ],
)
def test_proxy_of_a_url_is_that_of_its_scheme(
    variable: str, value: str, url: str, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    found = proxy_of(url)
    assert (found and found.address) == address


def test_hosts_of_no_proxy_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", "inner.example")
    assert proxy_of("http://a.inner.example/v1") is None
    assert proxy_of("http://outer.example/v1") is not None


def test_user_and_password_are_secrets_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://zoe:p%40ss@p:1")
    assert proxy_of("http://host/v1") == Proxy("http://p:1", ("zoe:p%40ss", "p%40ss", "p@ss"), "HTTP_PROXY")


def test_malformed_addresses_show_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a password contains "/" or "://", or a URL has no host, the password is still not shown."""
    assert split_user("http://u:a/b@p:1/path?key") == ("http://p:1", "u:a/b")
    assert split_user("http://u:a://b@p:1") == ("http://p:1", "u:a://b")
    assert split_user("http://u:a@[") == ("http://[", "u:a")
    monkeypatch.setenv("ALL_PROXY", "http://u:a@[")
    assert proxy_of("http://[") == Proxy("http://[", ("u:a", "a", "a"), "ALL_PROXY")


def test_variables_are_named_by_their_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://p:1")
    monkeypatch.setenv("http_proxy", "http://p:1")
    monkeypatch.setenv("NO_PROXY", "host")
    assert proxy_variables() == ["ALL_PROXY", "http_proxy"]
    assert proxy_variables("socks") == ["ALL_PROXY"]
