"""Files are fetched once, resumed at the byte, and used from the cache."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from depqa_ray.errors import InputError
from depqa_ray.hub import FetchProgress, Repository, Snapshot, fetch, fetch_model, model_folder
from depqa_ray.hub.cache import RepositoryCache
from tests.hub_repositories import add_files, model_files
from tests.hub_server import Fault, Hub

NAME = "Qwen/Qwen3-4B"
WANTED = {
    "config.json",
    "tokenizer.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
}


@pytest.fixture
def files(hub: Hub) -> dict[str, bytes]:
    """The files of the model on the hub."""
    files = model_files()
    add_files(hub.root, NAME, files)
    return files


def content(snapshot: Snapshot) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in snapshot.folder.iterdir()}


def request_count(hub: Hub) -> int:
    """The number of requests since the last call, without those of huggingface_hub about its caller."""
    count = sum(request.path != "/api/agent-harnesses" for request in hub.requests)
    hub.requests.clear()
    return count


def test_wanted_files_of_a_model_are_fetched(hub: Hub, files: dict[str, bytes]) -> None:
    """Safetensors, JSON and tokenizer files are fetched; pickles, code and other formats of the weights are not."""
    snapshot = fetch_model(NAME)
    assert snapshot == Snapshot(snapshot.folder, hub.commit(NAME))
    assert content(snapshot) == {name: files[name] for name in WANTED}
    assert not [request for request in hub.requests if request.path.endswith((".bin", ".py", ".md"))]


def test_other_programs_find_the_files(hub: Hub, files: dict[str, bytes]) -> None:
    """If we fetched a model, huggingface_hub finds its files and fetches only the others."""
    from huggingface_hub import hf_hub_download, snapshot_download

    folder = fetch_model(NAME).folder
    assert Path(hf_hub_download(NAME, "config.json", local_files_only=True)).parent == folder
    hub.requests.clear()
    assert Path(snapshot_download(NAME, cache_dir=folder.parents[2], endpoint=hub.url)) == folder
    assert not hub.bodies("/model-0000")


def test_files_of_other_programs_are_used(hub: Hub, files: dict[str, bytes]) -> None:
    """If huggingface_hub fetched a model, no content is requested."""
    from huggingface_hub import snapshot_download

    cache = RepositoryCache.of(Repository("model", NAME)).folder.parent
    folder = snapshot_download(NAME, cache_dir=cache, endpoint=hub.url)
    hub.requests.clear()
    assert str(fetch_model(NAME).folder) == folder
    assert not hub.bodies()


def test_warm_cache_needs_one_request(hub: Hub, files: dict[str, bytes]) -> None:
    """If all files are cached, only the branch's commit is requested."""
    first = fetch_model(NAME)
    hub.requests.clear()
    assert fetch_model(NAME) == first
    assert request_count(hub) == 1


def test_cached_commit_needs_no_request(hub: Hub, files: dict[str, bytes]) -> None:
    """If a commit's files are cached, no request is made."""
    first = fetch_model(NAME)
    hub.requests.clear()
    assert fetch_model(f"{NAME}@{first.commit}") == first
    assert model_folder(NAME, first.commit) == first.folder
    assert request_count(hub) == 0


def test_new_commit_fetches_only_what_changed(hub: Hub, files: dict[str, bytes]) -> None:
    first = fetch_model(NAME)
    add_files(hub.root, NAME, {"config.json": b'{"model_type": "qwen3", "new": 1}'})
    hub.requests.clear()
    second = fetch_model(NAME)
    assert second.commit == hub.commit(NAME) != first.commit
    assert len(hub.bodies()) == len(hub.bodies("config.json")) == 1


def test_offline_uses_the_cache(hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """In offline mode, cached files are used, missing files are an error, and no request is made."""
    first = fetch_model(NAME)
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fetch_model(NAME) == first
    with pytest.raises(InputError, match=r"^Qwen/other: not whole in the cache /.*, and HF_HUB_OFFLINE forbids"):
        fetch_model("Qwen/other")
    assert request_count(hub) == 0


@pytest.mark.parametrize("fault", [Fault("/api/", status=503), Fault("/api/", status=401, code="GatedRepo")])
def test_unreachable_hub_uses_the_cache(hub: Hub, files: dict[str, bytes], fault: Fault) -> None:
    """If the hub gives no answer, the cached copy is used after one attempt, and a note says so."""
    first = fetch_model(NAME)
    hub.requests.clear()
    hub.faults.append(fault)
    again = fetch_model(NAME)
    assert (again.folder, again.commit) == (first.folder, first.commit)
    assert again.note.startswith("the hub ")
    assert again.note.endswith(f"; using the copy of {NAME} from the cache, commit {first.commit[:7]}")
    assert request_count(hub) == 1


def test_cache_without_a_shard_is_not_whole(hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """If another program left a model without a shard, it is refused offline and completed online."""
    from huggingface_hub import snapshot_download

    cache = RepositoryCache.of(Repository("model", NAME)).folder.parent
    snapshot_download(NAME, cache_dir=cache, endpoint=hub.url, ignore_patterns="*00002-of*")
    with monkeypatch.context() as offline, pytest.raises(InputError, match="not whole in the cache"):
        offline.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        fetch_model(NAME)
    hub.requests.clear()
    assert {path.name for path in fetch_model(NAME).folder.iterdir()} > WANTED
    assert len(hub.bodies()) == len(hub.bodies("model-00002-of")) == 1


def test_truncated_file_of_the_cache_is_fetched_again(hub: Hub, files: dict[str, bytes]) -> None:
    """If a cached file's size is not the hub's, it is fetched again."""
    blob = (fetch_model(NAME).folder / "model-00002-of-00002.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:1000])
    assert content(fetch_model(NAME)) == {name: files[name] for name in WANTED}


def test_progress_counts_bytes_of_all_files(hub: Hub, files: dict[str, bytes]) -> None:
    """During a fetch, the cached bytes grow to the total."""
    seen: list[FetchProgress] = []
    hub.faults.append(Fault("safetensors$", rate=70_000))
    fetch_model(NAME, seen.append)
    total = sum(len(files[name]) for name in WANTED)
    assert {(progress.name, progress.total) for progress in seen} == {(NAME, total)}
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, total)
    assert len(set(done)) >= 3


def test_cut_connection_is_resumed_at_the_byte(hub: Hub, files: dict[str, bytes]) -> None:
    hub.faults.append(Fault("/cdn/.*model-00001", cut=30_000, times=2))
    assert content(fetch_model(NAME))["model-00001-of-00002.safetensors"] == files["model-00001-of-00002.safetensors"]
    assert hub.bodies("model-00001") == ["", "bytes=30000-", "bytes=60000-"]


def test_silent_connection_is_resumed_at_the_byte(hub: Hub, files: dict[str, bytes]) -> None:
    """If a body stalls, its rest is requested after the time-out."""
    hub.faults.append(Fault("/cdn/.*model-00002", stall=40_000, times=1))
    fetch_model(NAME)
    assert hub.bodies("model-00002") == ["", "bytes=40000-"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_hub_gets_another_request(hub: Hub, files: dict[str, bytes], status: int) -> None:
    """If the hub is busy, requests are repeated, for the listing and for content."""
    hub.faults += [Fault("/api/models", status=status, times=2), Fault("/cdn/", status=status, times=2)]
    assert content(fetch_model(NAME)) == {name: files[name] for name in WANTED}


def test_damaged_file_is_fetched_again(hub: Hub, files: dict[str, bytes]) -> None:
    """If the digest of a large or small file is wrong, the file is fetched again from its start."""
    hub.faults += [Fault("/cdn/.*model-00001", damage=500, times=1), Fault("/config.json", damage=0, times=2)]
    assert content(fetch_model(NAME)) == {name: files[name] for name in WANTED}
    assert hub.bodies("model-00001") == ["", ""]


FETCH = f"from depqa_ray.hub import fetch_model; print(fetch_model({NAME!r}).commit)"


def started() -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", FETCH], stdout=pipe, stderr=pipe, text=True)


def wait_for_bytes(least: int) -> None:
    blobs = RepositoryCache.of(Repository("model", NAME)).folder / "blobs"
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size for path in blobs.glob("*.incomplete")) < least:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_next_process_resumes_an_ended_one(hub: Hub, files: dict[str, bytes], how: signal.Signals) -> None:
    """If a process is ended during a download, it ends at once, and the next one fetches only the rest."""
    hub.faults.append(Fault("/cdn/.*model-0000", stall=50_000))
    first = started()
    wait_for_bytes(100_000)
    first.send_signal(how)
    first.communicate(timeout=30)
    hub.faults.clear()
    hub.requests.clear()
    assert content(fetch_model(NAME)) == {name: files[name] for name in WANTED}
    assert hub.bodies("model-0000") == ["bytes=50000-"] * 2


def test_second_process_waits_for_the_first(hub: Hub, files: dict[str, bytes]) -> None:
    """If another process fetches the same files, we wait, show its progress, and request no content."""
    hub.faults.append(Fault("/cdn/.*model-0000", rate=50_000))
    first = started()
    wait_for_bytes(1)
    seen: list[FetchProgress] = []
    assert content(fetch_model(NAME, seen.append)) == {name: files[name] for name in WANTED}
    assert len({progress.done for progress in seen}) >= 3
    assert hub.bodies("model-0000") == ["", ""]
    assert first.communicate(timeout=30)[0].strip() == hub.commit(NAME)


def test_threads_may_fetch_the_same_files(hub: Hub, files: dict[str, bytes]) -> None:
    """If threads fetch the same model, each gets all files, and each file is downloaded once."""
    found: list[Snapshot] = []
    threads = [threading.Thread(target=lambda: found.append(fetch_model(NAME))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [content(snapshot).keys() for snapshot in found] == [WANTED] * 3
    assert len(hub.bodies("model-0000")) == 2


def test_locks_are_not_needed(hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """If the cache's file system has no locks and no links, files are fetched as usual."""

    def refuse(*args: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    first = fetch_model(NAME)
    assert content(first) == {name: files[name] for name in WANTED}
    hub.requests.clear()
    assert fetch_model(f"{NAME}@{first.commit}") == first
    assert request_count(hub) == 0


def test_read_only_cache_is_used(hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """If all files are cached, the cache may be read-only."""
    first = fetch_model(NAME)

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("mkdir", "write_text", "replace", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    assert fetch_model(NAME) == first


def test_only_matching_files_are_fetched(hub: Hub, files: dict[str, bytes]) -> None:
    add_files(hub.root, "a/b", {"x/one.parquet": b"1", "x/two.parquet": b"2", "y/one.parquet": b"3"}, "datasets")
    snapshot = fetch(Repository("dataset", "a/b"), ["x/*one*"])
    assert snapshot.commit == hub.commit("a/b", "datasets")
    assert [path.name for path in snapshot.folder.rglob("*.parquet")] == ["one.parquet"]
