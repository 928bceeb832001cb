"""The proxies that the environment sets (``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``), to name them.

Their values may hold passwords and never leave this module whole.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass


class Proxy(NamedTuple):
    """A proxy: its address without user and password, and their secret spellings."""

    address: str
    secrets: tuple[str, ...]


def is_here(url: str) -> bool:
    """Whether a URL's host is this machine: ``localhost``, a loopback address, or the address of all interfaces."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def proxy_of(url: str) -> Proxy | None:
    """The proxy through which HTTP clients reach a URL. Raises ValueError if it is no URL."""
    parts, proxies = urlsplit(url), getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or is_here(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    user, _, host = proxy.netloc.rpartition("@")
    password = user.partition(":")[2]
    return Proxy(f"{proxy.scheme}://{host}", tuple(filter(None, (user, password, unquote(password)))))


def proxy_variables(scheme: str = "") -> list[str]:
    """The names of the variables that set proxies, of those whose value begins with ``scheme``."""
    return sorted(
        name
        for name, value in os.environ.items()
        if name.lower().endswith("_proxy") and name.lower() != "no_proxy" and value.startswith(scheme or value)
    )
