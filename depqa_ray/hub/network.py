"""Requests to the hub, through huggingface_hub's client, and repeated where that may help."""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from depqa_ray.hub.cache import HubFile, Listing
from depqa_ray.hub.names import Repository

_PASSING: Final = {408, 425, 429, 500, 502, 503, 504}
"""The statuses after which the same request may succeed."""

_PAUSE = 0.5
"""Seconds after the first failure; each further pause is twice as long."""

_LONGEST_PAUSE: Final = 60.0


class NotAHubError(Exception):
    """The server answers, but not as a hub does."""


class NoClientError(Exception):
    """The client cannot be made: a proxy or a certificate of the environment cannot be used."""


class BrokenOffError(Exception):
    """A body ended before its file's end, without an error of the network library."""


def endpoint() -> str:
    """The hub's address."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def address() -> SplitResult:
    """The hub's address in parts, without user and password; what is no address is all path."""
    with suppress(ValueError):
        parts = urlsplit(endpoint())
        return parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return SplitResult("", "", endpoint().rpartition("@")[2], "", "")


def is_offline() -> bool:
    """Whether the user forbids requests to the hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def timeout() -> int:
    """How long the hub may be silent, in seconds."""
    from huggingface_hub import constants

    return int(constants.HF_HUB_DOWNLOAD_TIMEOUT)


_direct_lock: Final = threading.Lock()
_direct: object = None
"""The client that was made without proxies, if there is one."""


def open_client() -> None:
    """Make the client that the requests share. A hub on this machine is asked directly, whatever proxies are set.

    Raises NoClientError.
    """
    from huggingface_hub import get_session

    try:
        if getproxies_environment() and is_loopback(address().hostname or ""):
            _open_direct_client()
        else:
            get_session()
    except Exception as error:  # ImportError, ValueError, ssl.SSLError, OSError and the network library's own
        raise NoClientError(" ".join(str(error).split())) from error


def _open_direct_client() -> None:
    """Make the shared client one without proxies; if it is one, other threads may be using it, and it stays."""
    from huggingface_hub import close_session, get_session

    global _direct
    with _direct_lock, _environment(NO_PROXY="*", no_proxy="*"):
        if _direct is None or get_session() is not _direct:
            close_session()
            _direct = get_session()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def proxy_in_use() -> str:
    """The proxy between here and the hub, "HOST:PORT (VARIABLE)" without its password; "" if there is none."""
    hub, proxies = address(), getproxies_environment()
    host = hub.hostname or ""
    kind = hub.scheme if hub.scheme in proxies else "all"
    if kind not in proxies or is_loopback(host) or proxy_bypass(host):
        return ""
    variable = f"{kind}_proxy"
    shown = variable if os.environ.get(variable) else variable.upper()
    place = proxies[kind].rpartition("@")[2].rpartition("://")[2]
    return f"{place} ({shown})"


def is_transport_error(error: BaseException) -> bool:
    """Whether the network library says that a request got no whole answer."""
    from huggingface_hub.errors import HfHubHTTPError

    base = HfHubHTTPError.__bases__[0]  # HTTPError of httpx or httpx2: huggingface_hub changes between them
    return isinstance(error, BrokenOffError) or (isinstance(error, base) and not isinstance(error, HfHubHTTPError))


def status_of(error: BaseException) -> int:
    """The status that the hub answered with; 0 if it did not answer."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


@dataclass
class Patience:
    """Waits longer and longer between attempts, and gives up after ``most`` without progress.

    A time-out counts twice: it has cost its wait already.
    """

    most: int = 5
    stop: threading.Event = field(default_factory=threading.Event)
    failed: int = 0

    def wait_after(self, error: Exception, has_moved: bool = False) -> None:
        """Wait before the next attempt. Raises ``error`` if there is none, or if the next would fail as well."""
        if not is_transport_error(error) and status_of(error) not in _PASSING:
            raise error
        cost = 2 if "Timeout" in type(error).__name__ else 1
        self.failed = 0 if has_moved else self.failed + cost
        if self.failed >= self.most:
            raise error
        self.stop.wait(max(_PAUSE * 2 ** max(self.failed - 1, 0), _asked_pause(error)))


def _asked_pause(error: Exception) -> float:
    headers = getattr(getattr(error, "response", None), "headers", {})
    asked = str(headers.get("Retry-After", ""))
    return min(float(asked), _LONGEST_PAUSE) if asked.isdecimal() else 0.0


def ask_listing(repository: Repository, patience: Patience) -> Listing:
    """Ask the hub for a revision's commit and its files. Raises NotAHubError and huggingface_hub's errors."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    while True:
        try:
            info: Any = api.repo_info(
                repository.name,
                repo_type=repository.kind,
                revision=repository.revision,
                files_metadata=True,
                timeout=timeout(),
            )
            return Listing(info.sha, tuple(_file(sibling) for sibling in info.siblings or ()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # HTML, or other JSON
            if status_of(error):
                raise
            raise NotAHubError from error
        except Exception as error:
            patience.wait_after(error)


def _file(sibling: Any) -> HubFile:
    return HubFile(sibling.rfilename, sibling.size, sibling.lfs.sha256 if sibling.lfs else sibling.blob_id)


@contextmanager
def body(repository: Repository, commit: str, file: HubFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Ask for a file's content from the byte ``start`` on; yields where the answer starts, ``start`` or 0, and it."""
    from huggingface_hub import get_session, hf_hub_url, hf_raise_for_status
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # lazily exported

    url = hf_hub_url(repository.name, file.name, repo_type=repository.kind, revision=commit, endpoint=endpoint())
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", url, headers=headers, timeout=timeout()) as response:
        hf_raise_for_status(response)
        yield start if response.status_code == 206 else 0, response.iter_bytes()
