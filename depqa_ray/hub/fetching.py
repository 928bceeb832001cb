"""Fetches the wanted files of a repository, in threads, or finds them in the cache."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Final

from depqa_ray.errors import InputError
from depqa_ray.hub.cache import HubFile, Listing, RepositoryCache
from depqa_ray.hub.download import Downloader
from depqa_ray.hub.messages import FetchState, explain, no_space, not_in_cache
from depqa_ray.hub.network import Backoff, open_client, request_listing
from depqa_ray.hub.repository import FetchProgress, OnProgress, Repository, Snapshot, Wanted, size_text

_THREADS: Final = 3
_TICK: Final = 0.5
"""Seconds between two reports of the progress."""


class NothingWantedError(InputError):
    """No file of the repository matches; ``names`` are the files that it has."""

    names: tuple[str, ...] = ()


def fetch(repository: Repository, patterns: Sequence[str], on_progress: OnProgress | None = None) -> Snapshot:
    """Fetch the files that match ``patterns`` into the hub's cache.

    If the hub is out of reach, offline mode is set or the commit is cached, the cached copy is used. Raises InputError:
    what, where, what to do; NothingWantedError if no file matches.
    """
    return fetch_wanted(repository, Wanted(tuple(patterns)), on_progress)


def fetch_wanted(repository: Repository, wanted: Wanted, on_progress: OnProgress | None = None) -> Snapshot:
    """Fetch the files that ``wanted`` selects, as :func:`fetch` does."""
    repository.require_valid()
    return _Fetch(repository, wanted, on_progress or (lambda progress: None)).run()


@dataclass
class _Fetch:
    """One fetch of one repository.

    ``commit`` and ``files`` are set once the hub has listed the files. ``problems`` come from the download's threads.
    """

    repository: Repository
    wanted: Wanted
    on_progress: OnProgress
    commit: str = ""
    files: list[HubFile] = field(default_factory=list)
    problems: SimpleQueue[str] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        self.cache = RepositoryCache.of(self.repository)

    def run(self) -> Snapshot:
        """Return the snapshot, from the cache or from the hub."""
        from huggingface_hub import constants

        repository, cache, is_offline = self.repository, self.cache, constants.HF_HUB_OFFLINE
        commit = repository.revision if repository.is_pinned else cache.commit_of(repository.revision)
        listing = cache.listing(commit)
        is_cached = bool(commit) and self._is_complete(commit, listing)
        cached = Snapshot(cache.snapshot(commit), commit) if is_cached else None
        if cached and (is_offline or (repository.is_pinned and listing)):
            return cached
        if not is_offline:
            return self._fetch_from_hub(cached)
        if listing:
            self._select(listing.files)  # if the repository has no such files, offline mode is not the reason
        raise not_in_cache(self._state())

    def _is_complete(self, commit: str, listing: Listing | None) -> bool:
        """Whether the cache has all wanted files. Without a listing, the files themselves must look complete."""
        if listing:
            files = [file for file in listing.files if self.wanted.matches(file.name)]
            return bool(files) and all(self.cache.is_linked(file, commit) for file in files)
        names = self.cache.names(commit)
        with suppress(InputError):
            self.wanted.check(names, str(self.repository))
            return any(map(self.wanted.matches, names)) and not self.cache.lacks_shards(commit)
        return False

    def _fetch_from_hub(self, cached: Snapshot | None) -> Snapshot:
        """Request the listing, and download missing files. If there is no answer, ``cached`` is used."""
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            open_client()
            listing = request_listing(self.repository, Backoff(max_failures=1 if cached else 3, on_retry=self._report))
        except Exception as error:
            explained = self._explain(error)
            if cached is None or isinstance(error, RevisionNotFoundError):
                raise explained from error
            copy = f"using the copy of {self.repository} from the cache, commit {cached.commit[:7]}"
            return replace(cached, note=f"{explained.what}; {copy}")
        self._complete(listing)
        return Snapshot(self.cache.snapshot(listing.commit), listing.commit)

    def _select(self, files: Sequence[HubFile]) -> list[HubFile]:
        """The wanted files among a repository's. Raises InputError if the repository is unusable."""
        names = [file.name for file in files]
        self.wanted.check(names, str(self.repository))
        selected = [file for file in files if self.wanted.matches(file.name)]
        if not selected:
            error = NothingWantedError("the repository has no such files", str(self.repository))
            error.names = tuple(names)
            raise error
        return selected

    def _complete(self, listing: Listing) -> None:
        """Download and link the wanted files that are missing. Raises InputError."""
        self.commit, self.files = listing.commit, self._select(listing.files)
        missing = [file for file in self.files if not self.cache.is_linked(file, self.commit)]
        try:
            if missing:
                self._require_space()
                self._download(missing)
            for file in missing:  # only now: without a listing, a folder with some of the shards may look complete
                self.cache.link(file, self.commit)
        except InputError:
            raise
        except Exception as error:
            raise self._explain(error) from error
        self.cache.save(self.repository.revision, listing)

    def _require_space(self) -> None:
        """Raise InputError if the disk has no space for all missing bytes."""
        state = self._state()
        existing = next(path for path in (self.cache.folder, *self.cache.folder.parents) if path.is_dir())
        free = shutil.disk_usage(existing).free
        if state.missing > free:
            raise no_space(state, f"{size_text(state.missing)} are needed, {size_text(free)} are free")

    def _download(self, files: list[HubFile]) -> None:
        stop = threading.Event()
        downloader = Downloader(self.repository, self.commit, self.cache, stop, self.problems.put)
        self._report()
        try:
            _run_in_threads(downloader.download, files, self._report)
        finally:
            stop.set()

    def _report(self, problem: str = "") -> None:
        state = self._state()
        while not self.problems.empty():
            problem = self.problems.get()
        self.on_progress(FetchProgress(self.repository.name, state.done, state.total, problem))

    def _state(self) -> FetchState:
        done = sum(self.cache.cached_size(file, self.commit) for file in self.files)
        return FetchState(self.repository, self.cache.folder.parent, done, sum(file.size for file in self.files))

    def _explain(self, error: Exception) -> InputError:
        """The error for the user. Raises ``error`` if it is a programming error."""
        explained = explain(error, self._state())
        if explained is None:
            raise error
        return explained


def _run_in_threads(job: Callable[[HubFile], None], files: list[HubFile], on_tick: Callable[[], None]) -> None:
    """Run a job for each file, three at a time, and call ``on_tick`` twice a second. Raises the first error at once.

    The threads are daemons, so an interrupted process does not wait for a silent hub.
    """
    waiting = SimpleQueue[HubFile]()
    for file in files:
        waiting.put(file)

    def work(future: Future[None]) -> None:
        try:
            with suppress(Empty):
                while True:
                    job(waiting.get_nowait())
            future.set_result(None)
        except Exception as error:
            future.set_exception(error)

    running = {Future[None]() for _ in files[:_THREADS]}
    for future in running:
        threading.Thread(target=work, args=(future,), name="hub-download", daemon=True).start()
    while running:
        done, running = wait(running, _TICK, FIRST_EXCEPTION)
        for future in done:
            future.result()
        on_tick()
