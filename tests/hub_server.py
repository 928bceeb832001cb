"""A small Hugging Face hub on 127.0.0.1 with injected faults, for tests of downloads.

In a test::

    with running_hub(tmp_path / "hub") as hub:
        add_model(hub.root, "Qwen/Qwen3-4B")  # tests.hub_repositories
        hub.faults.append(Fault(match=r"/cdn/.*safetensors", cut=1000, times=1))
        ...  # HF_ENDPOINT=hub.url
        assert hub.bodies("model-00001") == ["", "bytes=1000-"]

From the command line, with its requests printed::

    python -m tests.hub_server ROOT --port 8901 --fault '{"match": "safetensors", "rate": 20000}'

ROOT/models/OWNER/NAME and ROOT/datasets/OWNER/NAME are the repositories. Each has one commit, ``main``, named after its
content. Large files are redirected to a "CDN" as the hub does; small ones to the hub itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit


@dataclass(frozen=True)
class Fault:
    """A fault of the requests whose path matches ``match``.

    - ``status``: answer with it instead, with ``code`` and ``message`` in the hub's headers.
    - ``silent``: accept the request and send nothing for an hour.
    - ``cut``: close the connection after this many bytes of a body; ``stall``: send nothing more for an hour.
    - ``rate``: bytes of a body per second.
    - ``damage``: flip the bits of the file's byte at this place.
    - ``times``: the number of requests with this fault; None means all.
    """

    match: str = ""
    status: int = 0
    code: str = ""
    message: str = ""
    silent: bool = False
    cut: int | None = None
    stall: int | None = None
    rate: int | None = None
    damage: int | None = None
    times: int | None = None


_NO_FAULT = Fault()


@dataclass(frozen=True)
class Request:
    """A received request: ``range`` is its Range header, ``token`` its bearer token."""

    method: str
    path: str
    range: str
    token: str


@dataclass(frozen=True)
class StoredFile:
    """A file of a repository."""

    name: str
    path: Path

    @property
    def is_large(self) -> bool:
        return self.path.suffix in (".safetensors", ".bin", ".parquet") or self.path.name == "tokenizer.json"

    def etag(self) -> str:
        """The SHA-256 of a large file, git's id of a small one."""
        about = self.path.stat()
        return _digest(self.path, self.is_large, (about.st_size, about.st_mtime_ns))

    def blob(self) -> dict[str, Any]:
        """The file in the information about a repository."""
        size, etag = self.path.stat().st_size, self.etag()
        lfs = {"lfs": {"sha256": etag, "size": size, "pointerSize": 134}} if self.is_large else {}
        return {"size": size, "blobId": etag[:40], **lfs}

    def entry(self) -> dict[str, Any]:
        """The file in a repository's tree."""
        size, etag = self.path.stat().st_size, self.etag()
        lfs = {"lfs": {"oid": etag, "size": size, "pointerSize": 134}} if self.is_large else {}
        return {"type": "file", "path": self.name, "size": size, "oid": etag[:40], **lfs}


@cache
def _digest(path: Path, is_large: bool, version: tuple[int, int]) -> str:
    content = path.read_bytes()
    if is_large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class StoredRepository:
    """A repository's folder; ``kind`` is "models" or "datasets"."""

    kind: str
    name: str
    folder: Path

    def files(self) -> list[StoredFile]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [StoredFile(path.relative_to(self.folder).as_posix(), path) for path in paths]

    def file(self, name: str) -> StoredFile | None:
        return next((file for file in self.files() if file.name == name), None)

    def entries(self, under: str, is_recursive: bool) -> list[dict[str, Any]]:
        """The entries of a folder, "" or ending with "/". If ``is_recursive``, all files below it and no folders."""
        files = [file for file in self.files() if file.name.startswith(under)]
        if is_recursive:
            return [file.entry() for file in files]
        folders = {file.name[len(under) :].partition("/")[0] for file in files if "/" in file.name[len(under) :]}
        here = [file.entry() for file in files if "/" not in file.name[len(under) :]]
        return [{"type": "directory", "path": under + name, "size": 0, "oid": "0" * 40} for name in folders] + here

    def commit(self) -> str:
        """The commit's id: it changes with the content."""
        listed = [self.kind, self.name, *(f"{file.name} {file.etag()}" for file in self.files())]
        return hashlib.sha1("\n".join(listed).encode()).hexdigest()


@dataclass
class Hub:
    """A hub's state.

    ``faults`` may change while it runs; the first one that matches a request applies. ``cdn_url`` is another server for
    large files; it may be empty.
    """

    root: Path
    url: str = ""
    cdn_url: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    is_printing: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def commit(self, name: str, kind: str = "models") -> str:
        """The commit of a repository's ``main``."""
        return StoredRepository(kind, name, self.root / kind / name).commit()

    def bodies(self, match: str = "") -> list[str]:
        """The Range headers, in order, of the requests for files whose path matches ``match``."""
        sent = [request for request in self.requests if request.method == "GET" and re.match(_CONTENT, request.path)]
        return [request.range for request in sent if re.search(match, request.path)]

    def record(self, request: Request) -> Fault:
        """Record a request and return its fault."""
        with self.lock:
            self.requests.append(request)
            if self.is_printing:
                print(request.method, request.path, request.range, flush=True)
            for at, fault in enumerate(self.faults):
                if re.search(fault.match, request.path) and fault.times != 0:
                    if fault.times is not None:
                        self.faults[at] = replace(fault, times=fault.times - 1)
                    return fault
            return _NO_FAULT


_REPOSITORY = r"(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
_CONTENT = "/(?:cdn|api/resolve-cache)/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    fault = _NO_FAULT
    _routes: ClassVar[Mapping[str, str]] = {
        rf"{_CONTENT}{_REPOSITORY}/(?P<revision>[0-9a-f]+)/(?P<file>.+)": "_content",
        rf"/api/{_REPOSITORY}(?:/revision/(?P<revision>[^/]+))?": "_about",
        rf"/api/{_REPOSITORY}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?": "_tree",
        rf"/api/{_REPOSITORY}/paths-info/(?P<revision>[^/]+)": "_paths",
        r"/(?P<kind>datasets)/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)": "_resolve",
        r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)": "_resolve",
    }

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.fault = self.hub.record(Request(self.command, path, self.headers.get("Range") or "", token))
        with suppress(OSError):  # the client has disconnected
            if self.fault.silent:
                time.sleep(3600)
            elif self.fault.status:
                self._error(self.fault.status, self.fault.code, self.fault.message)
            else:
                self._route(path)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _route(self, path: str) -> None:
        for pattern, name in self._routes.items():
            if match := re.fullmatch(pattern, path):
                asked = match.groupdict()
                kind = asked.get("kind") or "models"
                folder = self.hub.root / kind / asked["name"]
                if (
                    ".." in path or not folder.is_dir()
                ):  # without a token, the hub also answers so for a private repository
                    return self._error(401, "RepoNotFound", "Invalid username or password.")
                repository = StoredRepository(kind, asked["name"], folder)
                if (asked.get("revision") or "main") not in ("main", repository.commit()):
                    return self._error(404, "RevisionNotFound", f"Invalid rev id: {asked['revision']}")
                return getattr(self, name)(repository, asked)  # type: ignore[no-any-return]
        return self._error(404, "", "Sorry, we can't find the page you are looking for.")

    def _about(self, repository: StoredRepository, asked: Mapping[str, Any]) -> None:
        with_blobs = "blobs" in parse_qs(urlsplit(self.path).query)
        siblings = [{"rfilename": file.name} | (file.blob() if with_blobs else {}) for file in repository.files()]
        fixed = {"private": False, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
        self._json({"_id": "0", "id": repository.name, "sha": repository.commit(), "siblings": siblings} | fixed)

    def _tree(self, repository: StoredRepository, asked: Mapping[str, Any]) -> None:
        is_recursive = parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower() in ("true", "1")
        under = f"{asked['folder']}/" if asked["folder"] else ""
        entries = repository.entries(under, is_recursive)
        if under and not entries:
            return self._error(404, "EntryNotFound", f"{under} does not exist")
        return self._json(entries)

    def _paths(self, repository: StoredRepository, asked: Mapping[str, Any]) -> None:
        is_json = "json" in self.headers.get("Content-Type", "")
        wanted = (json.loads(self.sent) if is_json else parse_qs(self.sent.decode()))["paths"]
        self._json([file.entry() for file in repository.files() if file.name in wanted])

    def _resolve(self, repository: StoredRepository, asked: Mapping[str, Any]) -> None:
        file, commit = repository.file(asked["file"]), repository.commit()
        if file is None:
            return self._error(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit})
        place = f"{repository.kind}/{repository.name}/{commit}/{quote(file.name)}"
        headers = {"X-Repo-Commit": commit, "X-Linked-Size": str(file.path.stat().st_size)}
        if file.is_large:
            headers |= {
                "Location": f"{self.hub.cdn_url or self.hub.url}/cdn/{place}",
                "X-Linked-Etag": f'"{file.etag()}"',
            }
            return self._reply(302, b"Found", headers)
        headers |= {"Location": f"/api/resolve-cache/{place}", "ETag": f'"{file.etag()}"'}
        return self._reply(307, b"Temporary Redirect", headers)

    def _content(self, repository: StoredRepository, asked: Mapping[str, Any]) -> None:
        file = repository.file(asked["file"])
        if file is None:
            return self._error(404, "EntryNotFound", "Entry not found")
        content, status = bytearray(file.path.read_bytes()), 200
        size = len(content)
        headers = {"X-Repo-Commit": asked["revision"], "ETag": f'"{file.etag()}"', "Accept-Ranges": "bytes"}
        if self.fault.damage is not None:
            content[self.fault.damage] ^= 0xFF
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(match[1]), int(match[2] or size - 1)
            if first >= size:
                return self._reply(416, b"", {"Content-Range": f"bytes */{size}"})
            content, status = content[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{first + len(content) - 1}/{size}"
        self._head(status, len(content), headers)
        if self.command == "GET":
            self._body(bytes(content))
        return None

    def _body(self, content: bytes) -> None:
        """Send a body with the request's fault."""
        fault = self.fault
        ends = [place for place in (fault.cut, fault.stall) if place is not None]
        end = min([len(content), *ends])
        step = max(1, fault.rate // 20) if fault.rate else len(content) or 1
        for start in range(0, end, step):
            self.wfile.write(content[start : min(end, start + step)])
            time.sleep(0.05 if fault.rate else 0)
        if fault.stall is not None:
            time.sleep(3600)
        if end < len(content):
            self.close_connection = True

    def _json(self, value: object) -> None:
        self._reply(200, json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8"})

    def _error(self, status: int, code: str, message: str, **more: str) -> None:
        about = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}) | more
        self._reply(status, json.dumps({"error": message}).encode(), about)

    def _reply(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self._head(status, len(content), headers)
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: int, size: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(size)}.items():
            self.send_header(name, value)
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about clients that have disconnected."""


def _serve(hub: Hub, port: int) -> ThreadingHTTPServer:
    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    return server


@contextmanager
def running_hub(root: Path) -> Iterator[Hub]:
    """Serve the repositories in ``root`` while the context lasts."""
    hub = Hub(root)
    server = _serve(hub, 0)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder as a Hugging Face hub.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--port", type=int, default=8901)
    parser.add_argument("--fault", type=json.loads, action="append", default=[], help="a JSON object; see Fault")
    arguments = parser.parse_args()
    hub = Hub(arguments.root, faults=[Fault(**fault) for fault in arguments.fault], is_printing=True)
    server = _serve(hub, arguments.port)
    print(f"HF_ENDPOINT={hub.url}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
