"""All wanted files of a repository: asked for, fetched in threads, and found again without the hub."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from depqa_ray.errors import InputError
from depqa_ray.hub.cache import HubFile, Listing, RepositoryCache
from depqa_ray.hub.names import FetchProgress, OnProgress, Repository, Snapshot, Wanted, no_revision, size_text
from depqa_ray.hub.network import Patience, ask_listing, is_offline, open_client
from depqa_ray.hub.refusals import Story, explain, no_space, not_here
from depqa_ray.hub.transfer import Transfer

_AT_ONCE: Final = 3
_TICK: Final = 0.5
"""Seconds between two reports of the progress."""


class NothingWantedError(InputError):
    """No file of the repository matches; ``names`` are those that there are."""

    names: tuple[str, ...] = ()


def fetch(repository: Repository, patterns: Sequence[str], on_progress: OnProgress | None = None) -> Snapshot:
    """Fetch the files that match ``patterns`` into the hub's cache. Raises InputError: what, where, what to do.

    If the hub cannot be reached, or need not be, the copy in the cache is used. If nothing matches, the error is
    NothingWantedError.
    """
    wanted = Wanted(tuple(patterns), (), lambda names: None)
    return fetch_wanted(repository, wanted, on_progress)


def fetch_wanted(repository: Repository, wanted: Wanted, on_progress: OnProgress | None = None) -> Snapshot:
    """As :func:`fetch`, for files that are wanted together."""
    repository.require_valid()
    return _Fetch(repository, wanted, on_progress or (lambda progress: None)).run()


@dataclass
class _Fetch:
    """One fetch of one repository; ``commit`` and ``files`` are known once the hub told what there is."""

    repository: Repository
    wanted: Wanted
    on_progress: OnProgress
    commit: str = ""
    files: list[HubFile] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cache = RepositoryCache.of(self.repository)

    def run(self) -> Snapshot:
        """The snapshot, with or without the hub's help."""
        repository = self.repository
        commit = repository.revision if repository.is_pinned else self.cache.commit_of(repository.revision)
        here = Snapshot(self.cache.snapshot(commit), commit)
        if repository.is_pinned and self._is_known_to_be_whole(commit):
            return here
        is_usable = bool(commit) and self._is_usable(commit)
        if not is_offline():
            return self._with_the_hub(here if is_usable else None)
        if not is_usable:
            raise self._not_here(commit)
        return here

    def _with_the_hub(self, here: Snapshot | None) -> Snapshot:
        """Ask the hub, and fetch what is missing; ``here`` is used if the hub gives no answer."""
        try:
            open_client()
            listing = ask_listing(self.repository, Patience(most=1 if here else 5))
        except Exception as error:
            refusal = self._explained(error)
            if here is None or refusal.what == no_revision(self.repository).what:
                raise refusal from error
            return replace(here, note=self._note(refusal, here.commit))
        self._bring(listing)
        return Snapshot(self.cache.snapshot(listing.commit), listing.commit)

    def _note(self, refusal: InputError, commit: str) -> str:
        return f"{refusal.what}; using the copy of {self.repository} from the cache, commit {commit[:7]}"

    def _not_here(self, commit: str) -> InputError:
        """The error about missing files while requests are forbidden. Raises that about files that never were."""
        listing = self.cache.listing(commit)
        if listing is not None:
            self._select(listing.names)
        return not_here(self._story())

    def _is_known_to_be_whole(self, commit: str) -> bool:
        """Whether all wanted files are here, as the hub listed them."""
        listing = self.cache.listing(commit)
        if listing is None:
            return False
        files = listing.named(self.wanted.among(listing.names))
        return bool(files) and all(self.cache.is_linked(file, commit) for file in files)

    def _is_usable(self, commit: str) -> bool:
        """Whether the wanted files are here, as far as can be known without the hub."""
        if self.cache.listing(commit) is not None:
            return self._is_known_to_be_whole(commit)
        try:
            self._select(self.cache.names(commit))
        except InputError:
            return False
        return not self.cache.lacks_shards(commit)

    def _select(self, names: list[str]) -> list[str]:
        """The wanted ones of a repository's names. Raises InputError if it is of no use."""
        self.wanted.check(names)
        chosen = self.wanted.among(names)
        if not chosen:
            error = NothingWantedError("the repository has no such files", str(self.repository))
            error.names = tuple(names)
            raise error
        return chosen

    def _bring(self, listing: Listing) -> None:
        """Have all wanted files of a commit here. Raises InputError."""
        self.commit, self.files = listing.commit, listing.named(self._select(listing.names))
        missing = [file for file in self.files if not self.cache.is_linked(file, self.commit)]
        try:
            if missing:
                self._require_space()
                self._transfer(missing)
                for file in missing:
                    self.cache.link(file, self.commit)
        except Exception as error:
            raise self._explained(error) from error
        self.cache.keep(self.repository.revision, listing)

    def _transfer(self, files: list[HubFile]) -> None:
        stop = threading.Event()
        transfer = Transfer(self.repository, self.commit, self.cache, stop)
        self._report()
        try:
            run_all(transfer.bring, files, self._report)
        finally:
            stop.set()
        self._report()

    def _report(self) -> None:
        story = self._story()
        self.on_progress(FetchProgress(self.repository.name, story.done, story.total))

    def _require_space(self) -> None:
        """Raise InputError unless the disk has room for what is missing of all files."""
        story = self._story()
        needed, free = story.total - story.done, shutil.disk_usage(_existing(self.cache.folder)).free
        if needed > free:
            raise no_space(story, f"{size_text(needed)} are needed, {size_text(free)} are free")

    def _story(self) -> Story:
        done = sum(self.cache.size_here(file, self.commit) for file in self.files)
        return Story(self.repository, self.cache.folder.parent, done, sum(file.size for file in self.files))

    def _explained(self, error: Exception) -> InputError:
        refusal = explain(error, self._story())
        if refusal is None:
            raise error
        return refusal


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def run_all(job: Callable[[HubFile], None], files: Sequence[HubFile], on_tick: Callable[[], None]) -> None:
    """Run a job for each file, three at a time, with a tick twice a second. Raises the first error at once.

    The threads are daemons: a process that is interrupted does not wait for a silent hub.
    """
    waiting: queue.SimpleQueue[HubFile] = queue.SimpleQueue()
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
    for file in files:
        waiting.put(file)
    for _ in range(min(_AT_ONCE, len(files))):
        threading.Thread(target=_work, args=(job, waiting, ended), name="hub-fetch", daemon=True).start()
    left = len(files)
    while left:
        try:
            error = ended.get(timeout=_TICK)
        except queue.Empty:
            on_tick()
            continue
        if error is not None:
            raise error
        left -= 1


def _work(
    job: Callable[[HubFile], None],
    waiting: queue.SimpleQueue[HubFile],
    ended: queue.SimpleQueue[Exception | None],
) -> None:
    """Run the job for waiting files until none is left or one fails."""
    while True:
        try:
            job(waiting.get_nowait())
        except queue.Empty:
            return
        except Exception as error:
            ended.put(error)
            return
        ended.put(None)
