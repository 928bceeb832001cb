"""Servers for the tests of the engine that asks one: a real one, and one that fails by script."""

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
"""What `transformers serve` calls the embedded reader: its folder."""


def require_openai() -> None:
    """Skip the test where the client is not installed."""
    pytest.importorskip("openai", reason="openai is not installed: pip install 'depqa-ray[openai]'")


@contextmanager
def transformers_serve() -> Iterator[str]:
    """The embedded reader behind `transformers serve`, thinking off as in the local engines; yields its base URL."""
    require_openai()
    for needed in ("fastapi", "uvicorn", "accelerate"):
        pytest.importorskip(needed, reason=f"`transformers serve` needs {needed}: pip install {needed}")
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", READER]
    options = [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
        "--dtype",
        "float32",
        "--reasoning",
        "off",
    ]
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
    """What the scripted server says; ``seconds`` later. A body that is no text is sent as JSON."""

    status: int
    body: Any
    seconds: float = 0.0


def completion(text: str, reason: str = "stop", cached: int | None = None, **usage: int) -> dict[str, Any]:
    """A chat completion as servers send it."""
    counts: dict[str, Any] = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10} | usage
    if cached is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": cached}
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": counts}


class Scripted:
    """A server that says what ``script`` says to a request. ``asked`` are the requests' bodies, in order.

    ``keys`` are their Authorization headers; ``most`` is the most requests that were there at the same time. Its
    faults name a pause of a millisecond, so that the client's own pauses, which grow, cost the tests no time.
    """

    def __init__(self, script: Callable[[dict[str, Any], int], Reply]) -> None:
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.here = self.most = 0
        self.lock = threading.Lock()
        self.url = ""

    def times(self, word: str) -> int:
        """How many requests had the word in them."""
        return sum(word in json.dumps(body) for body in self.asked)

    def take(self, body: dict[str, Any], key: str) -> Reply:
        with self.lock:
            self.asked.append(body)
            self.keys.append(key)
            self.here += 1
            self.most = max(self.most, self.here)
            number = sum(earlier["messages"] == body["messages"] for earlier in self.asked)
        reply = self.script(body, number)
        time.sleep(reply.seconds)
        with self.lock:
            self.here -= 1
        return reply


@contextmanager
def scripted(script: Callable[[dict[str, Any], int], Reply]) -> Iterator[Scripted]:
    """Runs a :class:`Scripted` server; ``script`` is given a request's body and how often it has come, from 1."""
    state = Scripted(script)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = state.take(body, self.headers["authorization"])
            is_text = isinstance(reply.body, str)
            sent = (reply.body if is_text else json.dumps(reply.body)).encode()
            try:
                self.send_response(reply.status)
                self.send_header("content-type", "text/html" if is_text else "application/json")
                self.send_header("content-length", str(len(sent)))
                self.send_header("retry-after-ms", "1")
                self.end_headers()
                self.wfile.write(sent)
            except OSError:  # who asked has left
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
