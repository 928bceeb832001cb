"""The client of one server: its address, its key, and one request. What it says in errors holds no secrets.

The key comes from the environment of the process that sends requests, and is sent in requests only.
"""

from __future__ import annotations

import os
import re
import ssl
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from depqa_ray.engines.openai.address import OPENAI, Address, read_address
from depqa_ray.errors import StartError
from depqa_ray.proxies import Proxy, is_here, proxy_of, proxy_variables

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_CONNECT_SECONDS: Final = 5.0
_NO_KEY: Final = "none"  # the client requires a key; servers without keys ignore it
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_LONGEST_LINE: Final = 400
_LONG_SECRET: Final = 16
_SHOWN_PART: Final = 8  # servers that repeat a key in part show its beginning


class NotJsonError(ValueError):
    """A reply of status 200 is no JSON: a page, for example."""


class Received(NamedTuple):
    """What a server sent with status 200: its body as JSON, and its headers."""

    body: Any
    headers: Mapping[str, str]


class ServerClient:
    """Sends chat completions to one server.

    - ``name``: the server as descriptions name it; ``url``: its address without user and password.
    - ``way``: the server as errors name it: with the proxy that stands before it, which may be to blame.
    """

    def __init__(self, client: AsyncOpenAI, has_key: bool, secrets: tuple[str, ...], proxy: Proxy | None) -> None:
        self._client, self._secrets, self.proxy, self.has_key = client, secrets, proxy, has_key
        self.url = str(client.base_url).partition("?")[0].rstrip("/")
        self.name = f"the server at {self.url}"
        self.way = f"{self.name} (through the proxy {proxy.address})" if proxy else self.name

    def at(self, url: str) -> ServerClient:
        """The client of another address, with the same connections: closing one closes both."""
        return ServerClient(self._client.with_options(base_url=url), self.has_key, self._secrets, self.proxy)

    async def post(self, request: dict[str, Any]) -> Received:
        """Send one request, once. Raises what the client raises, and NotJsonError."""
        completions = self._client.with_options(max_retries=0).chat.completions
        response = (await completions.with_raw_response.create(**request)).http_response
        try:
            body = response.json()
        except ValueError:
            raise NotJsonError("it is no JSON") from None
        return Received(body, response.headers)

    def public(self, text: str) -> str:
        """One line without secrets."""
        return _public(text, (*self._secrets, *(self.proxy.secrets if self.proxy else ())))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def connect(base_url: str) -> ServerClient:
    """The client of the server at an address; "" = the environment's, or else OpenAI's.

    Raises StartError, with the reason, if none can be made.
    """
    try:
        import openai
    except ImportError as error:
        raise StartError("the openai client is not installed: pip install 'depqa-ray[openai]'") from error
    key = _key()
    address = _address((base_url or os.environ.get("OPENAI_BASE_URL", "")).strip())
    secrets = tuple(secret for secret in (key, *address.secrets) if secret != _NO_KEY)
    http_client, proxy = _http_client(address.url or OPENAI), proxy_of(address.url or OPENAI)
    client, why = None, ""
    try:
        client = openai.AsyncOpenAI(
            api_key=key,
            base_url=address.url or None,
            default_headers=address.headers,
            timeout=openai.Timeout(None, connect=_CONNECT_SECONDS),  # the engine bounds the request as a whole
            http_client=http_client,
        )
    except Exception as error:
        why = _public(f"{type(error).__name__}: {error}", (*secrets, *(proxy.secrets if proxy else ())))
    if client is None:  # raised here, without the error in its context, whose text may hold secrets
        raise StartError(f"no client can be made ({why}): check --openai-base-url and the OPENAI_... variables")
    return ServerClient(client, bool(secrets), secrets, proxy)


def _public(text: str, secrets: tuple[str, ...]) -> str:
    """One line without the secrets, and without what begins as a long one does."""
    for secret in secrets:
        text = text.replace(secret, "***")
    for secret in secrets:
        if len(secret) >= _LONG_SECRET:
            text = re.sub(rf"{re.escape(secret[:_SHOWN_PART])}[^\s\"',;]*", "***", text)
    return textwrap.shorten(text, _LONGEST_LINE)


def _key() -> str:
    """The key in the environment. Raises StartError if no request can carry it."""
    key = os.environ.get("OPENAI_API_KEY", "").strip() or _NO_KEY
    if not (key.isascii() and key.isprintable()):
        raise StartError("OPENAI_API_KEY holds characters that no request can carry: set it again")
    return key


def _address(text: str) -> Address:
    try:
        return read_address(text)
    except ValueError as error:
        why = str(error)
    raise StartError(f"the server's address is not valid ({why}): --openai-base-url http://HOST:PORT/v1")


def _http_client(url: str) -> Any:
    """The client for the server at a URL. It goes straight to a server on this machine: no proxy elsewhere reaches it.

    Raises StartError if the environment sets proxies or certificates that cannot be used.
    """
    import openai

    here = is_here(url)
    try:
        if here:  # of the environment, the certificates still count
            return openai.DefaultAsyncHttpxClient(trust_env=False, verify=ssl.create_default_context())
        return openai.DefaultAsyncHttpxClient()
    except ImportError:
        names = ", ".join(proxy_variables("socks"))
        raise StartError(f"{names}: a SOCKS proxy needs a library: pip install socksio, or unset it") from None
    except Exception as error:  # its text may hold the proxy's password
        why = type(error).__name__
    names = ", ".join([*([] if here else proxy_variables()), *(name for name in _CERTIFICATES if name in os.environ)])
    raise StartError(f"{names}: no requests can be sent with these values ({why}): check or unset them")
