"""What a run's manifest and results keep of its replicas."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.code_version import CodeVersion
from depqa_ray.engines.base import EngineInfo
from depqa_ray.errors import StoreError
from depqa_ray.results.manifest import Manifest, manifest_from_json, manifest_to_json
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import RunRecords
from depqa_ray.results.replicas import ReplicaDescription, describe_replica
from depqa_ray.results.schema import RunResults
from depqa_ray.results.store import RunStore
from tests.sample_run import sample_manifest, sample_records, write_sample

CODE = CodeVersion("0.1.0", "1a2b3c4d5e6f", "", "/home/ann/venv/depqa_ray")
INFO = EngineInfo(
    "transformers", "some/model", "NVIDIA H200", "bfloat16", 7, notes=("It has no chat template.",), code=CODE
)


def changed(**fields: Any) -> EngineInfo:
    return replace(INFO, **fields)


def test_description_says_what_the_engine_said() -> None:
    """A description has the role and the engine's own words, and a folder without its owner."""
    assert describe_replica("answer", INFO) == ReplicaDescription(
        "answer", "transformers", "some/model", "NVIDIA H200", "bfloat16", 7, ("It has no chat template.",),
        replace(CODE, folder="~/venv/depqa_ray"),
    )  # fmt: skip


def test_private_parts_of_a_description_are_cut() -> None:
    """If a replica names a password, a key or a home folder, its description does not."""
    info = changed(
        model="/home/ann/models/x",
        device="the server at https://ann:secret@example.org/v1?key=secret",
        notes=("/home/ann/models/x has no chat template", "see https://example.org/?key=secret", "  \n"),
    )

    described = describe_replica("answer", info)

    assert described.model == "~/models/x"
    assert described.device == "the server at https://example.org/v1"
    assert described.notes == ("~/models/x has no chat template", "see https://example.org/")


def test_note_of_any_length_is_cut() -> None:
    """If a server's note is very long, the manifest keeps its beginning."""
    (note,) = describe_replica("answer", changed(notes=("x" * 1_000_000,))).notes
    assert len(note) == 1000


def test_equal_replicas_are_one_entry(tmp_path: Path) -> None:
    """A manifest has an entry for each kind of replica, in order of first appearance."""
    with RunStore.create(tmp_path, sample_manifest()) as store:
        for _ in range(64):
            store.add_replica("answer", INFO)
        store.add_replica("edge", INFO)
        store.add_replica("answer", changed(dtype="float32"))
        store.add_replica("answer", INFO)

    found = RunStore.open(tmp_path).manifest.replicas

    assert [(replica.role, replica.dtype) for replica in found] == [
        ("answer", "bfloat16"), ("edge", "bfloat16"), ("answer", "float32")
    ]  # fmt: skip


def test_replicas_are_read_back_as_they_were_added(tmp_path: Path) -> None:
    """A manifest with replicas is read back as it was written, and a run goes on from there."""
    with RunStore.create(tmp_path, sample_manifest()) as store:
        store.add_replica("answer", INFO)
        store.add_replica("answer", changed(code=None, notes=()))
        written = store.manifest

    with RunStore.open(tmp_path) as store:
        assert store.manifest == store.read().manifest == written
        store.add_replica("answer", INFO)
        assert store.manifest == written


def test_known_replica_does_not_write_the_manifest(tmp_path: Path) -> None:
    """If an equal replica is in the manifest, the file is not touched."""
    store = RunStore.create(tmp_path, sample_manifest())
    store.add_replica("answer", INFO)
    (tmp_path / "manifest.json").unlink()

    store.add_replica("answer", INFO)

    assert not (tmp_path / "manifest.json").exists()


def test_replica_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    """If the manifest cannot be replaced, StoreError is raised and the old one stays."""
    store = RunStore.create(tmp_path, sample_manifest())
    (tmp_path / f".manifest.json.{os.getpid()}.{threading.get_ident()}").mkdir()

    with pytest.raises(StoreError, match="cannot write"):
        store.add_replica("answer", INFO)

    assert RunStore.open(tmp_path).manifest.replicas == ()


def test_results_say_what_really_answered() -> None:
    """The results have commits, code, kinds of replicas and the engines that answered."""
    replicas = (describe_replica("edge", changed(engine="openai")), describe_replica("answer", INFO))
    manifest = replace(sample_manifest(engine="shared_prefix"), commits={"model": "1cfa9a7"}, replicas=replicas)

    run = json.loads(compute_results(RunRecords(manifest)).to_json())["run"]

    assert (run["engine"], run["answering_engines"]) == ("shared_prefix", ["transformers"])
    assert run["commits"] == {"model": "1cfa9a7"}
    assert set(run["code"]) == {"version", "sources", "kernel", "folder"}
    assert [(replica["role"], replica["engine"]) for replica in run["replicas"]] == [
        ("edge", "openai"), ("answer", "transformers")
    ]  # fmt: skip
    assert run["replicas"][1]["notes"] == ["It has no chat template."]


def old_manifest() -> dict[str, Any]:
    """A manifest as earlier versions wrote it."""
    data = json.loads(json.dumps(manifest_to_json(sample_manifest())))
    return {name: data[name] for name in data if name not in ("commits", "code", "replicas")}


def test_manifest_of_an_earlier_version_is_read() -> None:
    """If a manifest lacks commits, code and replicas, it is read without them."""
    found: Manifest = manifest_from_json(old_manifest())

    assert found == replace(sample_manifest(), code=None)
    assert (found.commits, found.replicas, found.answering_engines) == ({}, (), ())


def test_run_of_an_earlier_version_has_its_figures(tmp_path: Path) -> None:
    """If a run directory is of an earlier version, its figures are those of today."""
    write_sample(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(old_manifest()))

    old, new = compute_results(RunStore.open(tmp_path).read()), compute_results(sample_records())

    assert old.strategies == new.strategies and old.passages == new.passages
    assert (old.run.code, old.run.replicas, old.run.commits) == (None, [], {})


def test_results_of_an_earlier_version_are_read() -> None:
    """If a results file lacks the fields about replicas, it is read without them."""
    data = json.loads(compute_results(sample_records()).to_json())
    for name in ("answering_engines", "commits", "code", "replicas"):
        del data["run"][name]

    found = RunResults.model_validate(data)

    assert (found.version, found.run.replicas, found.run.code) == (3, [], None)
