"""The proxies that the environment sets: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``.

Their values may contain passwords. Only addresses without them are shown.
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass


class Proxy(NamedTuple):
    """A proxy: its address without user and password, their secret spellings, and the variable that sets it."""

    address: str
    secrets: tuple[str, ...]
    variable: str


def is_here(url: str) -> bool:
    """Whether a URL's host is this machine: ``localhost``, a loopback address, or the address of all interfaces."""
    host = (_parts(url).hostname or "").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def proxy_of(url: str) -> Proxy | None:
    """The proxy through which HTTP clients reach a URL."""
    parts, proxies = _parts(url), getproxies()
    kind = parts.scheme if parts.scheme in proxies else "all"
    if kind not in proxies or is_here(url) or proxy_bypass(parts.hostname or ""):
        return None
    value, names = proxies[kind], (f"{kind}_proxy", f"{kind.upper()}_PROXY")
    address, user = split_user(value if "://" in value else f"http://{value}")
    password = user.partition(":")[2]
    variable = next((name for name in names if os.environ.get(name)), "system settings")
    return Proxy(address, tuple(filter(None, (user, password, unquote(password)))), variable)


def proxy_variables(scheme: str = "") -> list[str]:
    """The names of the variables that set proxies, of those whose value begins with ``scheme``."""
    return sorted(
        name
        for name, value in os.environ.items()
        if name.lower().endswith("_proxy") and name.lower() != "no_proxy" and value.startswith(scheme or value)
    )


def split_user(url: str) -> tuple[str, str]:
    """A URL's scheme, host and port, and its ``user:password``. The URL may be malformed."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    user, _, host = rest.rpartition("@")
    return scheme + separator + re.split(r"[/?#]", host, maxsplit=1)[0], user


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
