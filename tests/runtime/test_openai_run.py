"""A run that asks a server: the key reaches the server, through the replicas, and is stored nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.results.records import RunRecords
from depqa_ray.results.schema import RunResults
from depqa_ray.results.store import RunStore
from tests.engines.servers import Reply, completion, require_openai, scripted

KEY = "sk-very-secret-0123456789"
ASKS_FOR_EDGES = "name the questions whose answers it needs"


def depqa(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command on the embedded data, in its own folder and process; it must succeed."""
    ran = subprocess.run(
        [sys.executable, "-m", "depqa_ray", *arguments, "--dataset", "embedded"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran


@pytest.mark.slow
def test_key_reaches_the_server_and_no_file_of_the_run(tmp_path: Path) -> None:
    """If the environment holds a key, the server gets it and no file of the run holds it."""
    require_openai()
    questions = count()  # the first one is refused, and so is every request for dependencies

    def script(body: dict[str, Any], number: int) -> Reply:
        content = body["messages"][1]["content"]
        if "none?" in content or (ASKS_FOR_EDGES not in content and next(questions)):
            return Reply(200, completion('{"answer": "a"} and so on'))
        return Reply(400, {"error": {"message": f"not with {KEY}"}})

    with scripted(script) as server:
        where = ["--openai-base-url", server.url, "--model-name", "m", "--run-dir", "r", "--html-dir", "pages"]
        ran = depqa(tmp_path, "run", "--engine", "openai", *where, "--context-count", "2", OPENAI_API_KEY=KEY)
    assert set(server.keys) == {f"Bearer {KEY}"}
    records = RunStore.open(tmp_path / "r").read()
    results = records.steps
    assert ["not with ***" in record.chosen.fallback for record in records.edges] == [True, True]
    assert any("not with ***" in outcome.reason for result in results for outcome in result.outcomes)
    assert any(outcome.answer == "a" for result in results for outcome in result.outcomes)
    written = [path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert KEY not in "".join([*written, ran.stdout, ran.stderr])


@pytest.mark.slow
def test_edge_server_is_asked_for_edges_only_and_only_once(tmp_path: Path) -> None:
    """If a server proposes edges, it is asked for nothing else, and once for each passage."""
    require_openai()

    def script(body: dict[str, Any], number: int) -> Reply:
        return Reply(200, completion('{"Q1": {}, "Q2": {"Q1": 0.9}, "Q3": {"Q9": 0.9}}'))

    def run(name: str) -> RunRecords:
        asking = ["--deps-engine", "openai", "--deps-model", "m", "--deps-base-url", server.url]
        depqa(tmp_path, "run", "--engine", "simulated", *asking, "--context-count", "3", "--run-dir", name)
        records = RunStore.open(tmp_path / name).read()
        return replace(records, edges=tuple(sorted(records.edges, key=lambda record: record.passage_id)))

    with scripted(script) as server:
        first = run("first")
        # The warm-up, and each of the three passages once.
        asked = [body["messages"][1]["content"] for body in server.asked]
        assert sum(ASKS_FOR_EDGES in text for text in asked) == 3
        assert len(asked) == 4
        second = run("second")
        assert len(server.asked) == 5  # the warm-up alone
    assert {step.replica for step in first.steps if step.step_id == "edges"} == {"edges-0"}
    assert {step.replica for step in first.steps if step.step_id != "edges"} == {"replica-0"}
    found, again = ([record.chosen for record in records.edges] for records in (first, second))
    assert [chosen.selected for chosen in found] == [chosen.selected for chosen in again]
    assert [chosen.cached for chosen in found + again] == [False] * 3 + [True] * 3
    for chosen in found:
        assert [edge.origin for edge in chosen.selected] == ["model"]
        assert (chosen.dropped_counts, chosen.fallback) == ({"unknown question": 1}, "")
    assert not any(step.step_id == "edges" for step in second.steps)


@pytest.mark.slow
@pytest.mark.parametrize("reply", ["", "certainly!", '{"answer": "x', '{"Q1": {"Q1": 1}}'])
def test_run_with_a_nonsense_server_counts_every_fallback(tmp_path: Path, reply: str) -> None:
    """If the server always answers nonsense, the run ends and counts every fallback."""
    require_openai()
    with scripted(lambda body, number: Reply(200, completion(reply))) as server:
        where = ["--openai-base-url", server.url, "--model-name", "m", "--run-dir", "r", "--json-out", "out.json"]
        ran = depqa(tmp_path, "compare", "--engine", "openai", *where, "--context-count", "3", "--no-dep-cache")
    results = RunResults.model_validate_json((tmp_path / "out.json").read_text("utf-8"))
    for summary in results.strategies.values():
        assert (summary.passages, summary.counts.answered) == (3, summary.counts.questions)
    dag = results.strategies["dependency_parallel"].dag
    assert dag is not None and (dag.asked, dag.fallbacks) == (3, 3)
    assert "Fallbacks:" in ran.stdout
