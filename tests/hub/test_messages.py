"""Each failed fetch gives one line: what, where, what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from depqa_ray.errors import InputError
from depqa_ray.hub import FetchLog, Repository, fetch, fetch_model, is_on_hub, model_folder, split_revision
from depqa_ray.hub.repository import size_text
from tests.hub_repositories import add_files, model_files
from tests.hub_server import Fault, Hub, running_hub

NAME = "Qwen/Qwen3-4B"


@pytest.fixture(autouse=True)
def model(hub: Hub) -> None:
    add_files(hub.root, NAME, model_files())


def error_of(name: str = NAME) -> str:
    with pytest.raises(InputError) as error:
        fetch_model(name)
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    "name", ["a/b/c", "/no/such/folder", "./x", "", "a b", "-x", "../x", "a/..", "x\n@main", "@v1"]
)
def test_malformed_name_is_refused_without_request(hub: Hub, name: str) -> None:
    """If a name is neither a folder nor a possible repository, no request is made."""
    assert "no such folder, nor a name of the hub; give the path of a folder, or OWNER/NAME" in error_of(name)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "fault", "line"),
    [
        (
            "Qwen/Qwen3-4b",
            Fault(times=0),
            "Qwen/Qwen3-4b: the hub has no model of this name, or it is private; "
            "check the spelling; if it is private, set HF_TOKEN to a token that may read it",
        ),
        (
            f"{NAME}@v9",
            Fault(times=0),
            f"{NAME}: the hub has no revision 'v9' of it; give a branch, a tag or a whole commit behind @",
        ),
        (
            f"{NAME}@a b",
            Fault(times=0),
            f"{NAME}: the hub has no revision 'a b' of it; give a branch, a tag or a whole commit behind @",
        ),
        *(
            (
                NAME,
                Fault(match, status=status, code="GatedRepo"),
                f"{NAME}: the hub gives it only to those who accepted its terms; accept its terms at "
                f"https://huggingface.co/{NAME}, and set HF_TOKEN to a token of your account",
            )
            for match, status in (("/api/", 401), ("/api/", 403), ("/resolve/", 401), ("/resolve/", 403))
        ),
        (
            NAME,
            Fault("/api/", status=401, message="Invalid credentials in Authorization header"),
            f"{NAME}: the hub refuses access (401); set HF_TOKEN to a valid token that may read it, or unset it",
        ),
        (
            NAME,
            Fault("/api/", status=503),
            f"{NAME}: the hub at URL (HF_ENDPOINT) answers 503 Service Unavailable; try again later",
        ),
        (NAME, Fault("/api/", status=599), f"{NAME}: the hub at URL (HF_ENDPOINT) answers 599; try again later"),
        (
            NAME,
            Fault("/cdn/", status=429),
            f"{NAME}: the hub at URL (HF_ENDPOINT) answers 429 Too Many Requests; "
            "135 bytes of 200 kB are here; run it again to go on from there",
        ),
        (
            NAME,
            Fault("/cdn/.*model-00001", damage=500),
            f"{NAME}: model-00001-of-00002.safetensors was damaged in transit, twice; "
            "run it again; if it stays so, the hub's file is damaged or a proxy changes it",
        ),
    ],
)
def test_answer_of_the_hub_is_one_line(hub: Hub, name: str, fault: Fault, line: str) -> None:
    """If the hub refuses or sends a wrong file, one line says so."""
    hub.faults.append(fault)
    if "bytes of" in line:
        add_files(hub.root, NAME, {"tokenizer.json": b""})
        line = line.replace("135 bytes", error_of(name).split("; ")[1].split(" of ")[0])
    assert error_of(name) == line.replace("URL", hub.url)


def test_repeated_request_is_reported(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a request for a file is repeated, the progress says why."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 60)  # no other retry on a busy machine
    hub.faults.append(Fault("/cdn/.*model-0000", cut=10, times=1))
    lines: list[str] = []
    fetch_model(NAME, FetchLog(lines.append))
    (problem,) = (line for line in lines if line.endswith("; trying again"))
    assert problem.startswith(f"fetching {NAME}: no answer from the hub (")


def test_repeated_listing_is_reported(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody listens, each further attempt is reported before the error."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    lines: list[str] = []
    with pytest.raises(InputError):
        fetch_model(NAME, FetchLog(lines.append))
    assert [line.rpartition("; ")[2] for line in lines] == ["trying again"] * 2


def test_missing_page_names_what_to_check(hub: Hub) -> None:
    hub.faults.append(Fault("/api/", status=404))
    assert error_of() == (
        f"{NAME}: the hub at {hub.url} (HF_ENDPOINT) answers 404 Not Found; "
        "check the name, which is OWNER/NAME, and HF_ENDPOINT if it is set"
    )


def test_damaged_file_leaves_nothing_behind(hub: Hub) -> None:
    hub.faults.append(Fault("/cdn/.*model-00001", damage=500))
    error_of()
    hub.faults.clear()
    hub.requests.clear()
    fetch_model(NAME)
    assert hub.bodies("model-00001") == [""]


def test_body_cut_for_good_says_how_much_is_here(hub: Hub) -> None:
    """If the connection is cut repeatedly without a new byte, the line says how much is cached."""
    hub.faults.append(Fault("/cdn/.*model-00001", cut=30_000, times=1))
    hub.faults.append(Fault("/cdn/.*model-00001", cut=0))
    text = error_of()
    assert text.startswith(f"{NAME}: the connection to the hub broke (")
    assert text.endswith(" are here; run it again to go on from there")
    assert hub.bodies("model-00001") == ["", *["bytes=30000-"] * 5]


def test_unreachable_hub_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no hub listens at HF_ENDPOINT, the line names that address without its password."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://user:secret@127.0.0.1:9")
    text = error_of()
    assert text.startswith(f"{NAME}: the hub cannot be reached at http://127.0.0.1:9 (HF_ENDPOINT): ")
    assert text.endswith("; check the network; the cache has no whole copy of it")
    assert "Connection refused" in text
    assert "secret" not in text


def test_silent_hub_is_given_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the hub never answers, the run ends after a few time-outs."""
    hub.faults.append(Fault("/api/models", silent=True))
    assert "the hub cannot be reached at" in error_of()
    assert sum("/api/models" in request.path for request in hub.requests) == 2


@pytest.mark.parametrize("endpoint", ["", "huggingface.co", "http://[", "ftp://x"])
def test_malformed_endpoint_is_one_line(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    assert "(HF_ENDPOINT)" in error_of()


def test_server_that_is_no_hub_is_one_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the server is not a hub, for example a network's log-in page, one line says so."""
    hub.faults.append(Fault("/api/models", status=200, message="<html>"))
    assert error_of().endswith("is not a hub; check HF_ENDPOINT, and the proxy if there is one")


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (
            ["config.json", "tokenizer.json", "pytorch_model.bin", "model.gguf", "original/model.safetensors"],
            "no safetensors that transformers loads in the repository, only original/model.safetensors, .bin, .gguf; "
            "choose a model with safetensors files in the format of transformers",
        ),
        (
            ["README.md"],
            "no safetensors that transformers loads in the repository, nor any other weights; "
            "choose a model with safetensors files in the format of transformers",
        ),
        (
            ["model.safetensors", "tokenizer.json"],
            "no config.json in the repository; choose a model in the format of transformers",
        ),
        (
            ["model.safetensors", "config.json", "tokenizer_config.json"],
            "no tokenizer in the repository; choose a model in the format of transformers, with tokenizer.json or "
            "another vocabulary",
        ),
    ],
)
def test_repository_without_a_model_is_refused(hub: Hub, files: list[str], line: str) -> None:
    """If a repository has no complete model, nothing is fetched."""
    add_files(hub.root, "some/thing", dict.fromkeys(files, b"x"))
    assert error_of("some/thing") == f"some/thing: {line}"
    assert hub.bodies() == []


def test_space_is_checked_before_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk has no space for all missing files, nothing is fetched."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: Free(150_000))
    text = error_of()
    assert text.startswith(f"{NAME}: no space in ")
    assert text.endswith(
        ": 200 kB are needed, 150 kB are free; make room there, or set HF_HOME to a folder on a larger disk"
    )
    assert hub.bodies() == []


class Free(NamedTuple):
    free: int


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "no space in "),
        (errno.EDQUOT, "no space in "),
        (errno.EACCES, "cannot be written: Permission denied; set HF_HOME"),
        (errno.EROFS, "cannot be written: Read-only file system; set HF_HOME"),
    ],
)
def test_failed_write_is_one_line(monkeypatch: pytest.MonkeyPatch, number: int, what: str) -> None:
    """If the cache is not writable, the line names its folder and what to set."""

    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("depqa_ray.hub.download.Downloader._receive_once", fail)
    text = error_of()
    assert what in text
    assert "HF_HOME" in text


def test_missing_home_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no home folder, no folder named "~" is created, and the line says what to set."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "~/.cache/huggingface/hub")
    assert error_of() == f"{NAME}: no home folder for the hub's cache; set HF_HOME to a folder of yours"


def test_cache_below_a_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert f"the hub's cache {tmp_path}/file/hub cannot be written: Not a directory; set HF_HOME" in error_of()


@pytest.mark.parametrize("proxy", ["http://u:secret@127.0.0.1:9", "socks5://u:secret@127.0.0.1:9", "nonsense://x"])
def test_local_hub_bypasses_proxies(hub: Hub, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """If the hub is on this machine, one client without proxies is used."""
    from huggingface_hub import get_session

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    assert fetch_model(NAME).commit == hub.commit(NAME)
    client = get_session()
    assert fetch_model(NAME).commit == hub.commit(NAME)
    assert get_session() is client
    assert "NO_PROXY" not in os.environ


@pytest.mark.parametrize(
    ("variable", "proxy", "line"),
    [
        (
            "HTTPS_PROXY",
            "http://u:secret@127.0.0.1:9",
            f"{NAME}: the hub cannot be reached through the proxy 127.0.0.1:9 (HTTPS_PROXY): ",
        ),
        (
            "ALL_PROXY",
            "socks5://u:secret@127.0.0.1:9",
            f"{NAME}: the hub cannot be asked through the proxy 127.0.0.1:9 (ALL_PROXY): a SOCKS proxy needs the "
            "package socksio; pip install socksio, or correct HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or unset them",
        ),
        (
            "https_proxy",
            "gopher://u:secret@127.0.0.1:9",
            f"{NAME}: the hub cannot be asked through the proxy 127.0.0.1:9 (https_proxy): the proxy's address is not "
            "one; correct HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or unset them",
        ),
    ],
)
def test_proxy_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str, line: str) -> None:
    """If requests go through a proxy, the line names it without its password."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://huggingface.co")
    monkeypatch.setenv(variable, proxy)
    text = error_of()
    assert text.startswith(line)
    assert "secret" not in text


def test_token_is_sent_but_never_shown(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.faults.append(Fault("/api/models", status=401, code="GatedRepo"))
    assert "hf_secret" not in error_of()
    assert {request.token for request in hub.requests if "/api/models" in request.path} == {"hf_secret"}


def test_token_stays_with_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the hub redirects to another server, the token is not sent there."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with running_hub(hub.root) as other:
        hub.cdn_url = other.url
        fetch_model(NAME)
    assert len(other.bodies("safetensors")) == 2
    assert {request.token for request in other.requests} == {""}


@pytest.mark.parametrize("name", ["../../../evil", "/evil", "a/../../evil"])
def test_path_out_of_the_repository_is_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """If a hub lists a file outside its repository, nothing is written."""
    monkeypatch.setattr("tests.hub_server.StoredRepository.files", listing_with(name))
    assert "is not a hub" in error_of()
    assert not list(tmp_path.rglob("evil"))


def listing_with(name: str) -> Callable[[object], list[object]]:
    class Evil(NamedTuple):
        name: str

        def etag(self) -> str:
            return "0" * 40

        def blob(self) -> dict[str, object]:
            return {"size": 1, "blobId": "0" * 40}

    return lambda repository: [Evil(name)]


def test_folder_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a folder has the model's name, with @ or without, the folder is used."""
    monkeypatch.chdir(tmp_path)
    for name in ("Qwen/Qwen3-4B", "mine@home"):
        assert is_on_hub(name)
        Path(name).mkdir(parents=True)
        assert not is_on_hub(name)
        assert model_folder(name) == Path(name)
    assert not is_on_hub("embedded")
    assert is_on_hub("x" * 5000)
    assert is_on_hub("Qwen/Qwen3-4B@main")


def test_name_and_revision_are_split() -> None:
    assert split_revision("Qwen/Qwen3-4B@v1") == ("Qwen/Qwen3-4B", "v1")
    assert split_revision("Qwen/Qwen3-4B") == ("Qwen/Qwen3-4B", "")


def test_gated_data_set_has_its_own_page(hub: Hub) -> None:
    hub.faults.append(Fault(status=403, code="GatedRepo"))
    with pytest.raises(InputError, match=r"https://huggingface\.co/datasets/a/b,"):
        fetch(Repository("dataset", "a/b"), ["*"])


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (8_044_982_272, "8.04 GB"), (2e12, "2 TB")]
)
def test_sizes_are_short(size: float, text: str) -> None:
    assert size_text(size) == text


def test_error_in_a_new_process(hub: Hub) -> None:
    """In a new process, HF_ENDPOINT is used and the error is the same line."""
    code = "from depqa_ray.hub import fetch_model; fetch_model('Qwen/none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("depqa_ray.errors.InputError: Qwen/none: the hub has no model")
    assert any(request.path == "/api/models/Qwen/none/revision/main" for request in hub.requests)
