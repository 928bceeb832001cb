"""What went wrong with a fetch, in one line for the user. Tokens, passwords and addresses' queries stay out of it."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from depqa_ray.errors import InputError
from depqa_ray.hub.names import Repository, no_revision, printable, size_text
from depqa_ray.hub.network import NoClientError, NotAHubError, address, is_transport_error, proxy_in_use, status_of
from depqa_ray.hub.transfer import DamagedError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class HubUnreachableError(InputError):
    """The hub gives no answer, or none that a hub gives."""


@dataclass(frozen=True)
class Story:
    """What was fetched where when something went wrong; ``done`` of ``total`` bytes were here, 0 of 0 before that."""

    repository: Repository
    folder: Path
    done: int = 0
    total: int = 0

    @property
    def kept(self) -> str:
        """What a later run need not fetch again."""
        return f"{size_text(self.done)} of {size_text(self.total)} are here; run it again to go on from there"


def explain(error: Exception, story: Story) -> InputError | None:
    """The line for the user; None if the error is a programming error."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, DamagedError):
        fix = "run it again; if it stays so, the hub's file is damaged or a proxy changes it"
        return InputError(f"{printable(str(error))} was damaged in transit, twice", str(story.repository), fix)
    if isinstance(error, NoClientError | NotAHubError) or is_transport_error(error):
        return _unreachable(error, story)
    if status_of(error):
        return _answered(error, story)
    if isinstance(error, OSError):
        return _unwritable(error, story)
    return None


def _answered(error: Exception, story: Story) -> InputError:
    """The line about a status other than success."""
    from huggingface_hub import errors

    repository, status = story.repository, status_of(error)
    where = str(repository)
    if isinstance(error, errors.GatedRepoError):
        page = f"https://huggingface.co/{'datasets/' if repository.kind == 'dataset' else ''}{repository.name}"
        fix = f"accept its terms at {page}, and set HF_TOKEN to a token of your account"
        return InputError("the hub gives it only to those who accepted its terms", where, fix)
    if isinstance(error, errors.RepositoryNotFoundError):
        what = f"the hub has no {_WORDS[repository.kind]} of this name, or it is private"
        return InputError(what, where, "check the spelling; if it is private, set HF_TOKEN to a token that may read it")
    if isinstance(error, errors.RevisionNotFoundError):
        return no_revision(repository)
    if status in (401, 403):
        fix = "set HF_TOKEN to a valid token that may read it, or unset it"
        return InputError(f"the hub refuses access ({status})", where, fix)
    known = status in HTTPStatus.__members__.values()
    phrase = f" {HTTPStatus(status).phrase}" if known else ""
    fix = f"{story.kept}" if story.total else "try again later"
    return InputError(f"the hub answers {status}{phrase}", where, fix)


_WORDS: Final = {"model": "model", "dataset": "data set"}


def _unreachable(error: Exception, story: Story) -> InputError:
    """The line about a hub that gives no answer, no more of one, or an answer that no hub gives."""
    where, way = str(story.repository), _way()
    if isinstance(error, NoClientError):
        return HubUnreachableError(f"the hub cannot be asked{way}: {_client_reason(error)}", where, _client_fix(error))
    if isinstance(error, NotAHubError):
        return HubUnreachableError(
            f"what answers{way} is not a hub", where, "check HF_ENDPOINT, and the proxy if there is one"
        )
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if story.total:
        return InputError(f"the connection to the hub broke ({reason})", where, story.kept)
    fix = "check the network; files that are in the cache are used with HF_HUB_OFFLINE=1"
    return HubUnreachableError(f"the hub cannot be reached{way}: {reason}", where, fix)


def _client_reason(error: NoClientError) -> str:
    """Why there is no client; a message about a proxy may hold its password, so it is not shown."""
    if isinstance(error.__cause__, ImportError):
        return "a SOCKS proxy needs the package socksio"
    return "the proxy's address is not one" if proxy_in_use() else str(error)[:200]


def _client_fix(error: NoClientError) -> str:
    fix = "correct HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or unset them"
    return f"pip install socksio, or {fix}" if isinstance(error.__cause__, ImportError) else fix


def _way() -> str:
    """How the hub is asked, where that is not the usual way."""
    hub, proxy = address(), proxy_in_use()
    shown = f"{hub.scheme}://{hub.netloc}" if hub.netloc else f"'{printable(hub.path)}'"
    place = "" if hub.hostname == "huggingface.co" else f" at {shown} (HF_ENDPOINT)"
    return f"{place} through the proxy {proxy}" if proxy else place


def _unwritable(error: OSError, story: Story) -> InputError:
    """The line about a cache that cannot be written."""
    fix = "set HF_HOME to a folder of yours that can be written"
    if error.errno in _FULL:
        left = size_text(max(story.total - story.done, 0))
        return no_space(story, f"the disk is full, {left} are still to come")
    reason = error.strerror or str(error)
    return InputError(f"the hub's cache {story.folder} cannot be written: {reason}", str(story.repository), fix)


def no_space(story: Story, what: str) -> InputError:
    """The error about a disk without space for the rest."""
    fix = "make room there, or set HF_HOME to a folder on a larger disk"
    return InputError(f"no space in {story.folder}: {what}", str(story.repository), fix)


def not_here(story: Story) -> InputError:
    """The error about files that are not in the cache while requests are forbidden."""
    what = f"not whole in the cache {story.folder}, and HF_HUB_OFFLINE forbids to fetch it"
    return InputError(what, str(story.repository), "unset HF_HUB_OFFLINE, or set HF_HOME to the cache that has it")
