"""Repositories, what is fetched of them, and what their names may look like."""

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
        """Whether the revision is a commit, whose files never change."""
        return bool(_COMMIT.fullmatch(self.revision))

    def require_valid(self) -> None:
        """Raise InputError unless the name and the revision can exist on the hub."""
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

    ``note`` is a sentence for the user, such as that the hub was out of reach; "" if there is nothing to say.
    """

    folder: Path
    commit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How much of a repository is on this machine, in bytes; what was there before counts as ``done``."""

    name: str
    done: int
    total: int


OnProgress: TypeAlias = Callable[[FetchProgress], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files are fetched: those that match one of ``patterns`` and none of ``ignored``; * matches "/" too.

    ``check`` is given the names of all files of the repository and raises InputError if it is of no use.
    """

    patterns: tuple[str, ...]
    ignored: tuple[str, ...]
    check: Callable[[list[str]], None]

    def among(self, names: list[str]) -> list[str]:
        """The wanted ones of the names."""
        return [name for name in names if matches(name, self.patterns) and not matches(name, self.ignored)]


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns is the whole name's."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def split_revision(name: str) -> tuple[str, str]:
    """The name and the revision of ``NAME@REVISION``; the revision is "" if none is given."""
    name, _, revision = name.partition("@")
    return name, revision


def printable(name: str) -> str:
    """A name that others chose, without control characters."""
    return name if name.isprintable() else repr(name)[1:-1]


def size_text(size: float) -> str:
    """A number of bytes for people: "1.2 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
