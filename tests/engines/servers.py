"""Servers for the tests of the openai engine: a real one, and one that follows a script."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from depqa_ray.reader import weights_folder

READER = str(weights_folder())
"""The embedded reader's model name in `transformers serve`: its folder."""


def require_openai() -> None:
    """Skip the test if the client is not installed."""
    pytest.importorskip("openai", reason="openai is not installed: pip install 'depqa-ray[openai]'")


@contextmanager
def transformers_serve() -> Iterator[str]:
    """Run `transformers serve` with the embedded reader, thinking off as in the local engines; yields its base URL."""
    require_openai()
    for needed in ("fastapi", "uvicorn", "accelerate"):
        pytest.importorskip(needed, reason=f"`transformers serve` needs {needed}: pip install {needed}")
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", READER]
    options = f"--host 127.0.0.1 --port {port} --device cpu --dtype float32 --reasoning off".split()
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([*command, *options], env={**os.environ, "HF_HUB_OFFLINE": "1"}, **quiet)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=10).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"`transformers serve` did not start (exit code {server.poll()})")


class Reply(NamedTuple):
    """A reply of the scripted server, sent after ``seconds``. A body other than text is sent as JSON.

    Without other ``headers`` it asks for a pause of a millisecond before a retry, so that the tests do not wait.
    """

    status: int
    body: Any
    seconds: float = 0.0
    headers: tuple[tuple[str, str], ...] = (("retry-after-ms", "1"),)


def error(code: int | str | None, message: str, **more: Any) -> dict[str, Any]:
    """An error object, as servers send it with any status."""
    return {"error": {"code": code, "message": message, **more}}


def completion(
    text: object, reason: str | None = "stop", cached: int | None = None, reasoning: str = "", **usage: int
) -> dict[str, Any]:
    """A chat completion in the form that servers send; ``reasoning`` as SGLang and llama.cpp send thoughts."""
    counts: dict[str, Any] = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10} | usage
    if cached is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": cached}
    message = {"role": "assistant", "content": text} | ({"reasoning_content": reasoning} if reasoning else {})
    choice = {"index": 0, "finish_reason": reason, "message": message}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": counts}


class Scripted:
    """A server that replies to a request with what ``script`` returns.

    - ``asked``: the requests' bodies, in order; ``keys``: their Authorization headers; ``paths``: their paths;
      ``arrivals``: when they came, in seconds.
    - ``most``: the most requests at the same time.
    """

    def __init__(self, script: Callable[[dict[str, Any], int], Reply]) -> None:
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.paths: list[str] = []
        self.arrivals: list[float] = []
        self.here = self.most = 0
        self.lock = threading.Lock()
        self.url = ""

    def times(self, word: str) -> int:
        """How many requests contained the word."""
        return sum(word in json.dumps(body) for body in self.asked)

    def take(self, body: dict[str, Any], key: str, path: str) -> Reply:
        with self.lock:
            self.asked.append(body)
            self.keys.append(key)
            self.paths.append(path)
            self.arrivals.append(time.monotonic())
            self.here += 1
            self.most = max(self.most, self.here)
            number = sum(earlier["messages"] == body["messages"] for earlier in self.asked)
        reply = self.script(body, number)
        time.sleep(reply.seconds)
        with self.lock:
            self.here -= 1
        return reply


@contextmanager
def scripted(script: Callable[[dict[str, Any], int], Reply], elsewhere: Reply | None = None) -> Iterator[Scripted]:
    """Run a :class:`Scripted` server. ``script`` gets a request's body and how often it has come, from 1.

    If ``elsewhere`` is given, it is the reply at all addresses other than ``/v1/chat/completions``.
    """
    state = Scripted(script)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = state.take(body, self.headers["authorization"], self.path)
            if elsewhere is not None and self.path != "/v1/chat/completions":
                reply = elsewhere
            is_text = isinstance(reply.body, str)
            sent = (reply.body if is_text else json.dumps(reply.body)).encode()
            try:
                self.send_response(reply.status)
                self.send_header("content-type", "text/html" if is_text else "application/json")
                self.send_header("content-length", str(len(sent)))
                for header in reply.headers:
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(sent)
            except OSError:  # the client is gone
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
