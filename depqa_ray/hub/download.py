"""Downloads one file into the cache: resumed at the byte, by later runs too, and verified by its digest."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from depqa_ray.files import try_lock
from depqa_ray.hub.cache import HubFile, RepositoryCache
from depqa_ray.hub.network import Backoff, TruncatedError, stream_file
from depqa_ray.hub.repository import Repository

_BLOCK: Final = 1 << 20


class DamagedError(Exception):
    """A file's digest was wrong twice; the argument is the file's name."""


class StoppedError(Exception):
    """The download was stopped because another file failed."""


@dataclass(frozen=True)
class Downloader:
    """Downloads files of one commit until ``stop`` is set. ``on_retry`` gets the reason of each repeated request."""

    repository: Repository
    commit: str
    cache: RepositoryCache
    stop: threading.Event
    on_retry: Callable[[str], None]

    def download(self, file: HubFile) -> None:
        """Download a file's blob, unless another process does it meanwhile. Raises DamagedError, StoppedError."""
        partial = self.cache.partial(file)
        with self._lock_partial(partial) as target:
            if self.cache.has_content(file, self.commit):
                partial.unlink(missing_ok=True)
                return
            for _ in range(2):
                self._receive(file, target)
                if _digest(target, file) == file.digest:
                    self.cache.accept(file, self.commit)
                    return
                target.truncate(0)
            partial.unlink(missing_ok=True)
        raise DamagedError(file.name)

    @contextmanager
    def _lock_partial(self, partial: Path) -> Iterator[BinaryIO]:
        """Open a partial file and lock it. If it is renamed or deleted meanwhile, begin again."""
        partial.parent.mkdir(parents=True, exist_ok=True)
        while True:
            # One call that opens or creates: another process may rename the file at any moment.
            with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as target:
                while not self.stop.is_set() and not try_lock(target.fileno()):
                    self.stop.wait(0.2)
                if self.stop.is_set():
                    raise StoppedError
                if _is_at(target, partial):
                    yield target
                    return

    def _receive(self, file: HubFile, target: BinaryIO) -> None:
        """Request the rest of a file until it is complete."""
        backoff = Backoff(stop=self.stop, on_retry=self.on_retry)
        while (done := target.seek(0, os.SEEK_END)) < file.size:
            if self.stop.is_set():  # also after a pause, which ends at once then
                raise StoppedError
            try:
                self._receive_once(file, target, done)
            except Exception as error:
                backoff.wait_after(error, has_progress=target.seek(0, os.SEEK_END) > done)

    def _receive_once(self, file: HubFile, target: BinaryIO, done: int) -> None:
        with stream_file(self.repository, self.commit, file.name, done) as (start, blocks):
            target.seek(start)
            if start < done:
                target.truncate()
            for block in blocks:
                if self.stop.is_set():
                    raise StoppedError
                target.write(block)
                target.flush()  # a process that is killed loses no block
                if target.tell() > file.size:
                    return
        if target.tell() < file.size:
            raise TruncatedError("the hub ended the file too early")


def _is_at(target: BinaryIO, path: Path) -> bool:
    """Whether a path still names the open file."""
    try:
        return os.path.samestat(os.fstat(target.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _digest(target: BinaryIO, file: HubFile) -> str:
    """The digest of an open file's content: SHA-256 or git's SHA-1, as ``file.digest``."""
    is_sha256 = len(file.digest) == 64
    known = hashlib.sha256() if is_sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    target.seek(0)
    while block := target.read(_BLOCK):
        known.update(block)
    return known.hexdigest()
