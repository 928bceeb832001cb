"""Explains a failed fetch to the user in one line, without tokens, passwords or the queries of URLs."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from depqa_ray.errors import InputError
from depqa_ray.hub.download import DamagedError
from depqa_ray.hub.network import NoClientError, NotAHubError, endpoint, is_transport_error, status_of
from depqa_ray.hub.repository import Repository, no_revision, printable, size_text
from depqa_ray.proxies import proxy_of, split_user

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_HUB: Final = "https://huggingface.co"
_EMPTY: Final = "''"
_KINDS: Final = {"model": "model", "dataset": "data set"}


class HubUnreachableError(InputError):
    """The hub gives no answer, or the answer is not one of a hub."""


@dataclass(frozen=True)
class FetchState:
    """A fetch and its cache ``folder``: ``done`` of ``total`` bytes are cached, 0 of 0 before the files are listed."""

    repository: Repository
    folder: Path
    done: int = 0
    total: int = 0

    @property
    def missing(self) -> int:
        """The bytes that are not cached."""
        return self.total - self.done

    @property
    def resume(self) -> str:
        """The advice for an interrupted download."""
        return f"{size_text(self.done)} of {size_text(self.total)} are here; run it again to go on from there"


def explain(error: Exception, state: FetchState) -> InputError | None:
    """The error for the user; None if it is a programming error."""
    if isinstance(error, DamagedError):
        fix = "run it again; if it stays so, the hub's file is damaged or a proxy changes it"
        return InputError(f"{printable(str(error))} was damaged in transit, twice", str(state.repository), fix)
    if isinstance(error, NoClientError):
        return _no_client(error, state)
    if isinstance(error, NotAHubError):
        fix = "check HF_ENDPOINT, and the proxy if there is one"
        return HubUnreachableError(f"what answers{_route()} is not a hub", str(state.repository), fix)
    if is_transport_error(error):
        return _no_connection(error, state)
    if status_of(error):
        return _error_status(error, state)
    return _not_writable(error, state) if isinstance(error, OSError) else None


def _error_status(error: Exception, state: FetchState) -> InputError:
    from huggingface_hub import errors

    repository, status, where = state.repository, status_of(error), str(state.repository)
    if isinstance(error, errors.GatedRepoError):
        page = f"{_HUB}/{'datasets/' if repository.kind == 'dataset' else ''}{repository.name}"
        fix = f"accept its terms at {page}, and set HF_TOKEN to a token of your account"
        return InputError("the hub gives it only to those who accepted its terms", where, fix)
    if isinstance(error, errors.RepositoryNotFoundError):
        what = f"the hub has no {_KINDS[repository.kind]} of this name, or it is private"
        return InputError(what, where, "check the spelling; if it is private, set HF_TOKEN to a token that may read it")
    if isinstance(error, errors.RevisionNotFoundError):
        return no_revision(repository)
    if status in (401, 403):
        fix = "set HF_TOKEN to a valid token that may read it, or unset it"
        return InputError(f"the hub refuses access ({status})", where, fix)
    phrase = f" {HTTPStatus(status).phrase}" if status in HTTPStatus.__members__.values() else ""
    what, fix = f"the hub{_route()} answers {status}{phrase}", state.resume if state.total else "try again later"
    if status == HTTPStatus.NOT_FOUND:
        fix = "check the name, which is OWNER/NAME, and HF_ENDPOINT if it is set"
    return InputError(what, where, fix)


def _no_connection(error: Exception, state: FetchState) -> InputError:
    where, reason = str(state.repository), " ".join(str(error).split())[:200] or type(error).__name__
    if state.total:
        return InputError(f"the connection to the hub broke ({reason})", where, state.resume)
    fix = "check the network; the cache has no whole copy of it"
    return HubUnreachableError(f"the hub cannot be reached{_route()}: {reason}", where, fix)


def _no_client(error: NoClientError, state: FetchState) -> InputError:
    reason, fix = str(error)[:200], "correct HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or unset them"
    if isinstance(error.__cause__, ImportError):
        reason, fix = "a SOCKS proxy needs the package socksio", f"pip install socksio, or {fix}"
    elif proxy_of(endpoint()):
        reason = "the proxy's address is not one"  # the error's text may contain the password
    return HubUnreachableError(f"the hub cannot be asked{_route()}: {reason}", str(state.repository), fix)


def _route() -> str:
    """The hub's address and the proxy, if they are not the defaults."""
    address, proxy = split_user(endpoint())[0], proxy_of(endpoint())
    place = "" if address == _HUB else f" at {printable(address) or _EMPTY} (HF_ENDPOINT)"
    return f"{place} through the proxy {proxy.address.partition('://')[2]} ({proxy.variable})" if proxy else place


def _not_writable(error: OSError, state: FetchState) -> InputError:
    if error.errno in _FULL:
        return no_space(state, f"the disk is full, {size_text(max(state.missing, 0))} are still to come")
    fix = "set HF_HOME to a folder of yours that can be written"
    what = f"the hub's cache {state.folder} cannot be written: {error.strerror or error}"
    return InputError(what, str(state.repository), fix)


def no_space(state: FetchState, what: str) -> InputError:
    """The error about a disk without space for the missing bytes."""
    fix = "make room there, or set HF_HOME to a folder on a larger disk"
    return InputError(f"no space in {state.folder}: {what}", str(state.repository), fix)


def not_in_cache(state: FetchState) -> InputError:
    """The error about files that are missing in offline mode."""
    what = f"not whole in the cache {state.folder}, and HF_HUB_OFFLINE forbids to fetch it"
    return InputError(what, str(state.repository), "unset HF_HUB_OFFLINE, or set HF_HOME to the cache that has it")
