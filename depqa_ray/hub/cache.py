"""The hub's cache on this machine, in the layout that huggingface_hub documents, so that both find the other's files.

A repository has a folder: ``blobs/DIGEST`` are the files, ``snapshots/COMMIT/NAME`` link to them, and ``refs/REVISION``
holds a branch's last known commit. Beside those we keep what the hub told about a commit's files, to know later without
the hub whether all are there.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from depqa_ray.errors import InputError
from depqa_ray.hub.names import Repository

_DIGEST: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_INDEX: Final = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on the hub. ``digest`` is its SHA-256 or, of a small file, git's id (SHA-1)."""

    name: str
    size: int
    digest: str

    def __post_init__(self) -> None:
        """Raise ValueError unless the names, which others chose, can become paths within the cache."""
        parts = self.name.split("/")
        if not _DIGEST.fullmatch(self.digest) or self.size < 0 or {"", ".", ".."} & {*parts} or "\0" in self.name:
            raise ValueError(f"not a file of a repository: {self.name!r}")


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a repository at a commit."""

    commit: str
    files: tuple[HubFile, ...]

    @property
    def names(self) -> list[str]:
        """The names of all files."""
        return [file.name for file in self.files]

    def named(self, names: list[str]) -> list[HubFile]:
        """The files of those names."""
        return [file for file in self.files if file.name in names]


@dataclass(frozen=True, slots=True)
class RepositoryCache:
    """A repository's ``folder`` in the cache, which need not exist."""

    folder: Path

    @classmethod
    def of(cls, repository: Repository) -> RepositoryCache:
        """The repository's folder in the cache that huggingface_hub uses now. Raises InputError if there is none."""
        from huggingface_hub import constants

        root = Path(constants.HF_HUB_CACHE)
        if root.parts[:1] == ("~",):  # without a home folder, it would be a folder of that name right here
            raise InputError("no home folder for the hub's cache", str(repository), "set HF_HOME to a folder of yours")
        return cls(root.absolute() / "--".join([f"{repository.kind}s", *repository.name.split("/")]))

    def snapshot(self, commit: str) -> Path:
        """The folder of a commit's files."""
        return self.folder / "snapshots" / commit

    def blob(self, file: HubFile) -> Path:
        """Where a file's content is."""
        return self.folder / "blobs" / file.digest

    def partial(self, file: HubFile) -> Path:
        """Where the first part of a file's content is while it is fetched, and after a run that was ended."""
        return self.folder / "blobs" / f"{file.digest}.depqa-ray.incomplete"

    def size_here(self, file: HubFile, commit: str) -> int:
        """How many bytes of a commit's file are here."""
        if self.is_linked(file, commit):
            return file.size
        sizes = (_size(self.blob(file)), _size(self.partial(file)))
        return min(max(sizes), file.size)

    def is_linked(self, file: HubFile, commit: str) -> bool:
        """Whether a commit's file is here as a whole."""
        path = self.snapshot(commit) / file.name
        return path.is_file() and _size(path) == file.size

    def link(self, file: HubFile, commit: str) -> None:
        """Put a file whose content is here into its commit's folder."""
        if self.is_linked(file, commit):
            return
        path, blob = self.snapshot(commit) / file.name, self.blob(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            path.symlink_to(os.path.relpath(blob, path.parent))
        except FileExistsError:  # another process was faster
            return
        except OSError:  # a file system without links
            blob.replace(path)

    def commit_of(self, revision: str) -> str:
        """A branch's or tag's last known commit; "" if there is none."""
        with suppress(OSError, ValueError):
            return (self.folder / "refs" / revision).read_text("ascii").strip()
        return ""

    def keep(self, revision: str, listing: Listing) -> None:
        """Remember a revision's commit and the commit's files."""
        with suppress(OSError):  # a cache that cannot be written, but holds all files
            if revision != listing.commit:
                _write(self.folder / "refs" / revision, listing.commit)
            _write(self._listing(listing.commit), json.dumps(asdict(listing)))

    def listing(self, commit: str) -> Listing | None:
        """What the hub told about a commit; None if that was not kept."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept: dict[str, Any] = json.loads(self._listing(commit).read_text("utf-8"))
            return Listing(commit, tuple(HubFile(**file) for file in kept["files"]))
        return None

    def _listing(self, commit: str) -> Path:
        return self.folder / ".depqa-ray" / f"{commit}.json"

    def names(self, commit: str) -> list[str]:
        """The names of a commit's files that are here."""
        folder = self.snapshot(commit)
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def lacks_shards(self, commit: str) -> bool:
        """Whether a model's index names files that are not here, as after a download that another program broke off."""
        folder = self.snapshot(commit)
        try:
            index: dict[str, Any] = json.loads((folder / _INDEX).read_text("utf-8"))
            return not all((folder / str(name)).is_file() for name in {*index["weight_map"].values()})
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _write(path: Path, text: str) -> None:
    """Write a file whole: no reader sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(path)
