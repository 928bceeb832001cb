"""A run that asks a server: the key reaches the server, by way of the replicas, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.results.store import RunStore
from tests.engines.servers import Reply, completion, require_openai, scripted

KEY = "sk-very-secret-0123456789"


@pytest.mark.slow
def test_given_a_key_in_the_environment_then_the_server_gets_it_and_no_file_of_the_run_holds_it(tmp_path: Path) -> None:
    require_openai()
    questions = count()  # the first one is refused

    def script(body: dict[str, Any], number: int) -> Reply:
        if "none?" in body["messages"][1]["content"] or next(questions):
            return Reply(200, completion('{"answer": "a"} and so on'))
        return Reply(400, {"error": {"message": f"not with {KEY}"}})

    with scripted(script) as server:
        command = [sys.executable, "-m", "depqa_ray", "run", "--engine", "openai", "--dataset", "embedded"]
        where = ["--openai-base-url", server.url, "--model-name", "m", "--run-dir", "r", "--html-dir", "pages"]
        ran = subprocess.run(
            [*command, *where, "--context-count", "2"],
            cwd=tmp_path,
            env={**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert set(server.keys) == {f"Bearer {KEY}"}
    results = RunStore.open(tmp_path / "r").read().steps
    assert any("not with ***" in outcome.reason for result in results for outcome in result.outcomes)
    assert any(outcome.answer == "a" for result in results for outcome in result.outcomes)
    written = [path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert KEY not in "".join([*written, ran.stdout, ran.stderr])
