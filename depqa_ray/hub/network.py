"""Requests to the hub through huggingface_hub's HTTP client, with retries."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from depqa_ray.hub.cache import HubFile, Listing
from depqa_ray.hub.repository import Repository
from depqa_ray.proxies import is_here

_RETRIED: Final = {408, 425, 429, 500, 502, 503, 504}
"""The statuses after which the same request may succeed."""

_PAUSE = 0.5
"""Seconds after the first failure; each further pause is twice as long."""

_LONGEST_PAUSE: Final = 60.0


class NotAHubError(Exception):
    """The server's answer is not one of a hub."""


class NoClientError(Exception):
    """The HTTP client cannot be made: a proxy or a certificate of the environment is unusable."""


class TruncatedError(Exception):
    """A body ended before the end of its file, without an error of the HTTP library."""


def endpoint() -> str:
    """The hub's address."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


_direct_lock: Final = threading.Lock()
_direct: object = None
"""The shared client without proxies; None before the first use."""


def open_client() -> None:
    """Make the client that all requests share. If the hub is on this machine, it bypasses proxies.

    Raises NoClientError.
    """
    from huggingface_hub import get_session

    try:
        if is_here(endpoint()):
            _open_direct_client()
        else:
            get_session()
    except Exception as error:  # ImportError, ValueError, ssl.SSLError, OSError, and those of the HTTP library
        raise NoClientError(" ".join(str(error).split())) from error


def _open_direct_client() -> None:
    """Replace the shared client by one without proxies, unless it is one: other threads may be using it."""
    from huggingface_hub import close_session, get_session

    global _direct
    with _direct_lock, _environment(NO_PROXY="*", no_proxy="*"):
        if _direct is None or get_session() is not _direct:
            close_session()
            _direct = get_session()


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


def is_transport_error(error: BaseException) -> bool:
    """Whether a request got no answer or only a part of one."""
    from huggingface_hub.errors import HfHubHTTPError

    base = HfHubHTTPError.__bases__[0]  # HTTPError of httpx or httpx2, by the version of huggingface_hub
    return isinstance(error, TruncatedError) or (isinstance(error, base) and not isinstance(error, HfHubHTTPError))


def status_of(error: BaseException) -> int:
    """The status of the hub's answer; 0 if there is no answer."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


@dataclass
class Backoff:
    """Exponential pauses between attempts, until ``max_failures`` in a row brought no new byte.

    A time-out counts as two failures, because it has taken long already. ``on_retry`` gets the reason of each pause.
    """

    max_failures: int = 5
    stop: threading.Event = field(default_factory=threading.Event)
    on_retry: Callable[[str], None] = lambda problem: None
    failures: int = 0

    def wait_after(self, error: Exception, has_progress: bool = False) -> None:
        """Wait before the next attempt. Raises ``error`` if a retry is pointless or there were too many failures."""
        if not is_transport_error(error) and status_of(error) not in _RETRIED:
            raise error
        cost = 2 if "Timeout" in type(error).__name__ else 1
        self.failures = 0 if has_progress else self.failures + cost
        if self.failures >= self.max_failures:
            raise error
        self.on_retry(f"no answer from the hub ({' '.join(str(error).split())[:100] or type(error).__name__})")
        self.stop.wait(max(_PAUSE * 2 ** max(self.failures - 1, 0), _retry_after(error)))


def _retry_after(error: Exception) -> float:
    headers = getattr(getattr(error, "response", None), "headers", {})
    seconds = str(headers.get("Retry-After", ""))
    return min(float(seconds), _LONGEST_PAUSE) if seconds.isdecimal() else 0.0


def request_listing(repository: Repository, backoff: Backoff) -> Listing:
    """Request a revision's commit and files. Raises NotAHubError and the errors of huggingface_hub."""
    from huggingface_hub import HfApi, constants

    name, kind, revision = repository.name, repository.kind, repository.revision
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    while True:
        try:
            info: Any = HfApi().repo_info(name, repo_type=kind, revision=revision, files_metadata=True, timeout=timeout)
            return Listing(info.sha, tuple(_file(sibling) for sibling in info.siblings or ()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # HTML, or other JSON
            if status_of(error):
                raise
            raise NotAHubError from error
        except Exception as error:
            backoff.wait_after(error)


def _file(sibling: Any) -> HubFile:
    return HubFile(sibling.rfilename, sibling.size, sibling.lfs.sha256 if sibling.lfs else sibling.blob_id)


@contextmanager
def stream_file(repository: Repository, commit: str, name: str, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Request a file from the byte ``start`` on. Yields where the answer starts, ``start`` or 0, and its blocks."""
    from huggingface_hub import constants, get_session, hf_hub_url, hf_raise_for_status
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # lazily exported

    url = hf_hub_url(repository.name, name, repo_type=repository.kind, revision=commit)
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        yield start if response.status_code == 206 else 0, response.iter_bytes()
