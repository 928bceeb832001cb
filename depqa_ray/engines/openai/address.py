"""A server's address: what is wrong with it, the user and password in it, and where else the server may be."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

OPENAI: Final = "https://api.openai.com/v1"
"""Where the client goes without an address."""

_ENDPOINT: Final = "/chat/completions"
_VERSION: Final = re.compile(r"/v\d")


@dataclass(frozen=True, slots=True)
class Address:
    """A URL without user and password, the header that carries them, and their secret spellings.

    Left in the URL they would show up in request logs. ``url`` is "" for OpenAI's own address.
    """

    url: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


def read_address(text: str) -> Address:
    """Read an address. Raises ValueError with a reason that repeats nothing of it, since it may hold a password."""
    if not text:
        return Address()
    parts = _http_parts(text)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return Address(text)
    plain = b64encode(unquote(user).encode()).decode()
    password = user.partition(":")[2]
    secrets = tuple(part for part in (user, password, unquote(password), plain) if part)
    return Address(parts._replace(netloc=host).geturl(), {"Authorization": f"Basic {plain}"}, secrets)


def other_url(url: str) -> str:
    """Where a server may be that has no chat completions at a URL: with ``/v1``, without the endpoint; "" = nowhere."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if path.endswith(_ENDPOINT):
        path = path.removesuffix(_ENDPOINT)
    elif _VERSION.search(path):
        return ""
    else:
        path += "/v1"
    return parts._replace(path=path).geturl()


def _http_parts(text: str) -> SplitResult:
    parts = _split(text)
    if parts is None:
        raise ValueError("its host or port cannot be read")
    if parts.scheme not in ("http", "https"):
        raise ValueError("it begins with neither http:// nor https://")
    if not parts.hostname:
        raise ValueError("it names no host")
    return parts


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises for what is no port
    except ValueError:  # its text repeats the address
        return None
    return parts
