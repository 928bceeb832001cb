"""One file's way into the cache: resumed at the byte, by later runs too, and accepted only with the right digest."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from depqa_ray.hub.cache import HubFile, RepositoryCache
from depqa_ray.hub.names import Repository
from depqa_ray.hub.network import BrokenOffError, Patience, body

_BLOCK: Final = 1 << 20


class DamagedError(Exception):
    """A file arrived twice with another content than the hub names; the argument is its name."""


class StoppedError(Exception):
    """The fetch was ended because another of its files failed."""


@dataclass(frozen=True)
class Transfer:
    """Fetches files of one commit until ``stop`` is set."""

    repository: Repository
    commit: str
    cache: RepositoryCache
    stop: threading.Event

    def bring(self, file: HubFile) -> None:
        """Fetch a file's content into the cache, unless another process does so meanwhile. Raises DamagedError."""
        blob, partial = self.cache.blob(file), self.cache.partial(file)
        with self._alone_with(partial) as target:
            if blob.is_file() and blob.stat().st_size == file.size:
                partial.unlink()
                return
            for _ in range(2):
                self._receive(file, target)
                if digest(target, file) == file.digest:
                    partial.replace(blob)
                    return
                target.truncate(0)
            partial.unlink()
        raise DamagedError(file.name)

    @contextmanager
    def _alone_with(self, partial: Path) -> Iterator[BinaryIO]:
        """Open a partial file once no other process writes it."""
        partial.parent.mkdir(parents=True, exist_ok=True)
        while True:
            # In one step: another process may finish and rename the file at any moment.
            with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as target:
                self._lock(target)
                if _is_at(target, partial):
                    yield target
                    return

    def _lock(self, target: BinaryIO) -> None:
        while not self.stop.is_set():
            try:
                fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                self.stop.wait(0.2)
            except OSError:  # a file system without locks: two processes write the same bytes at the same places
                return
        raise StoppedError

    def _receive(self, file: HubFile, target: BinaryIO) -> None:
        """Fetch what is missing of a file, whatever number of requests that takes."""
        patience = Patience(stop=self.stop)
        done = target.seek(0, os.SEEK_END)
        while done < file.size:
            try:
                self._receive_once(file, target, done)
            except Exception as error:
                before, done = done, target.seek(0, os.SEEK_END)
                patience.wait_after(error, has_moved=done > before)
            else:
                done = target.seek(0, os.SEEK_END)

    def _receive_once(self, file: HubFile, target: BinaryIO, done: int) -> None:
        with body(self.repository, self.commit, file, done) as (start, blocks):
            target.seek(start)
            if start < done:
                target.truncate()
            for block in blocks:
                if self.stop.is_set():
                    raise StoppedError
                target.write(block)
                target.flush()  # what came is on the disk, whatever comes next
                if target.tell() > file.size:
                    return
        if target.tell() < file.size:
            raise BrokenOffError("the hub ended the file too early")


def _is_at(target: BinaryIO, path: Path) -> bool:
    """Whether a path still means the open file."""
    try:
        return os.path.samestat(os.fstat(target.fileno()), path.stat())
    except FileNotFoundError:
        return False


def digest(target: BinaryIO, file: HubFile) -> str:
    """The digest of an open file's content, of the kind that the hub gives for ``file``."""
    is_sha256 = len(file.digest) == 64
    known = hashlib.sha256() if is_sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    target.seek(0)
    while block := target.read(_BLOCK):
        known.update(block)
    return known.hexdigest()
