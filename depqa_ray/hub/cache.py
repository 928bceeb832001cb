"""The hub's cache on this machine, in the documented layout of huggingface_hub, so that both use the same files.

Each repository has a folder: ``blobs/DIGEST`` are the files, ``snapshots/COMMIT/NAME`` link to them, and
``refs/REVISION`` contains a branch's last known commit. ``.depqa-ray/COMMIT.json`` is the hub's list
of a commit's files. It tells offline whether all files are there.
"""

from __future__ import annotations

import json
import os
import re
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from depqa_ray.errors import InputError
from depqa_ray.files import replace_file
from depqa_ray.hub.repository import Repository

_DIGEST: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_INDEX: Final = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on the hub. ``digest`` is its SHA-256 or, for a small file, git's id (SHA-1)."""

    name: str
    size: int
    digest: str

    def __post_init__(self) -> None:
        """Raise ValueError if the name or digest, which are untrusted, cannot be a path within the cache."""
        parts = self.name.split("/")
        if not _DIGEST.fullmatch(self.digest) or self.size < 0 or {"", ".", ".."} & {*parts} or "\0" in self.name:
            raise ValueError(f"not a file of a repository: {self.name!r}")


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a repository at a commit."""

    commit: str
    files: tuple[HubFile, ...]


@dataclass(frozen=True, slots=True)
class RepositoryCache:
    """A repository's ``folder`` in the cache; it may be missing."""

    folder: Path

    @classmethod
    def of(cls, repository: Repository) -> RepositoryCache:
        """The repository's folder in huggingface_hub's cache. Raises InputError if there is no home folder."""
        from huggingface_hub import constants

        root = Path(constants.HF_HUB_CACHE)
        if root.parts[:1] == ("~",):  # not expanded: it would become a folder named "~" in the current folder
            raise InputError("no home folder for the hub's cache", str(repository), "set HF_HOME to a folder of yours")
        return cls(root.absolute() / "--".join([f"{repository.kind}s", *repository.name.split("/")]))

    def snapshot(self, commit: str) -> Path:
        """The folder of a commit's files."""
        return self.folder / "snapshots" / commit

    def blob(self, file: HubFile) -> Path:
        """The path of a file's content."""
        return self.folder / "blobs" / file.digest

    def partial(self, file: HubFile) -> Path:
        """The path of a download that is in progress or was interrupted."""
        return self.folder / "blobs" / f"{file.digest}.depqa-ray.incomplete"

    def cached_size(self, file: HubFile, commit: str) -> int:
        """How many bytes of a file are in the cache."""
        if self.has_content(file, commit):
            return file.size
        # The partial file first: another thread may rename it to the blob between the two.
        return min(max(_size(self.partial(file)), _size(self.blob(file)), 0), file.size)

    def has_content(self, file: HubFile, commit: str) -> bool:
        """Whether a file's content is complete, linked or not."""
        return self.is_linked(file, commit) or _size(self.blob(file)) == file.size

    def is_linked(self, file: HubFile, commit: str) -> bool:
        """Whether a file is complete in its commit's folder."""
        return _size(self.snapshot(commit) / file.name) == file.size

    def accept(self, file: HubFile, commit: str) -> None:
        """Make a complete partial file the file's blob."""
        try:
            self.partial(file).replace(self.blob(file))
        except FileNotFoundError:  # without locks, another process may have renamed it first
            if not self.has_content(file, commit):
                raise

    def link(self, file: HubFile, commit: str) -> None:
        """Link a file with content into its commit's folder, atomically: other processes may be reading there."""
        if self.is_linked(file, commit):
            return
        path, blob = self.snapshot(commit) / file.name, self.blob(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        draft.unlink(missing_ok=True)
        try:
            draft.symlink_to(os.path.relpath(blob, path.parent))
            draft.replace(path)
        except OSError:  # the file system has no links
            with suppress(FileNotFoundError):  # another process may have moved the blob first
                blob.replace(path)
            if not self.is_linked(file, commit):
                raise

    def commit_of(self, revision: str) -> str:
        """The last known commit of a branch or tag; "" if unknown."""
        with suppress(OSError, ValueError):
            return (self.folder / "refs" / revision).read_text("ascii").strip()
        return ""

    def save(self, revision: str, listing: Listing) -> None:
        """Save a revision's commit and the commit's files. A read-only cache is left as it is."""
        with suppress(OSError):
            if revision != listing.commit:
                replace_file(self.folder / "refs" / revision, listing.commit, durable=False)
            replace_file(self._listing(listing.commit), json.dumps(asdict(listing)), durable=False)

    def listing(self, commit: str) -> Listing | None:
        """The saved listing of a commit; None if there is none."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            saved: dict[str, Any] = json.loads(self._listing(commit).read_text("utf-8"))
            return Listing(commit, tuple(HubFile(**file) for file in saved["files"]))
        return None

    def _listing(self, commit: str) -> Path:
        return self.folder / ".depqa-ray" / f"{commit}.json"

    def names(self, commit: str) -> list[str]:
        """The names of the files in a commit's folder."""
        folder = self.snapshot(commit)
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def lacks_shards(self, commit: str) -> bool:
        """Whether a model's index names missing files. Another program's interrupted download leaves such a folder."""
        folder = self.snapshot(commit)
        try:
            index: dict[str, Any] = json.loads((folder / _INDEX).read_text("utf-8"))
            return not all((folder / str(name)).is_file() for name in {*index["weight_map"].values()})
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return True


def _size(path: Path) -> int:
    """A file's bytes; -1 if it is missing."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
