"""Repositories of the hub: valid names, snapshots, progress, and which files are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal, TypeAlias

from depqa_ray.errors import InputError

_NAME: Final = re.compile(r"(?:[A-Za-z0-9_][\w.-]{0,95}/)?[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_REVISION: Final = re.compile(r"(?!.*\.\.)[\w][\w./-]{0,200}", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a ``revision``: a branch, a tag or a commit."""

    kind: Literal["model", "dataset"]
    name: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.name if self.revision == "main" else f"{self.name}@{self.revision}"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, so that its files never change."""
        return bool(_COMMIT.fullmatch(self.revision))

    def require_valid(self) -> None:
        """Raise InputError if the name or the revision is impossible on the hub."""
        if not _NAME.fullmatch(self.name):
            fix = "give the path of a folder, or OWNER/NAME as on the hub"
            raise InputError("no such folder, nor a name of the hub", printable(self.name) or "''", fix)
        if not _REVISION.fullmatch(self.revision):
            raise no_revision(self)


def no_revision(repository: Repository) -> InputError:
    """The error about a revision that does not exist."""
    what = f"the hub has no revision '{printable(repository.revision)}' of it"
    return InputError(what, repository.name, "give a branch, a tag or a whole commit behind @")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository's files on this machine at one ``commit`` (40 hex digits).

    ``note`` is a sentence for the user, for example that the hub was out of reach. It may be empty.
    """

    folder: Path
    commit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """The bytes of a repository that are cached (``done``) and wanted (``total``), earlier ones included.

    ``problem`` says why a request is repeated; "" if none is.
    """

    name: str
    done: int
    total: int
    problem: str = ""


OnProgress: TypeAlias = Callable[[FetchProgress], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files are fetched: those that match one of ``patterns`` and none of ``ignored``; * matches "/" too.

    ``check`` gets the names of all files and the repository. It raises InputError if the repository is unusable.
    """

    patterns: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    check: Callable[[list[str], str], None] = lambda names, repository: None

    def matches(self, name: str) -> bool:
        """Whether the file of this name is wanted."""
        return matches(name, self.patterns) and not matches(name, self.ignored)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern matches the whole name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def split_revision(name: str) -> tuple[str, str]:
    """The name and the revision of ``NAME@REVISION``; the revision is "" if none is given."""
    name, _, revision = name.partition("@")
    return name, revision


def printable(name: str) -> str:
    """An untrusted name without control characters."""
    return name if name.isprintable() else repr(name)[1:-1]


def size_text(size: float) -> str:
    """A number of bytes with its unit: "1.2 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
