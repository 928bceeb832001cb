"""Facts and notes say what really answered, from which commits and with which code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from depqa_ray.code_version import CodeVersion
from depqa_ray.engines.base import EngineInfo
from depqa_ray.report.build import index_view
from depqa_ray.report.provenance import provenance_view
from depqa_ray.report.render import render
from depqa_ray.report.view import ProvenanceView
from depqa_ray.results.manifest import Manifest
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import RunRecords
from depqa_ray.results.replicas import ReplicaDescription, describe_replica
from tests.report.pages import read_page
from tests.sample_run import sample_manifest, velcarn

COMMIT = "1cfa9a7208912126459214e8b04321603b3df60c"
CODE = CodeVersion("0.1.0", "1a2b3c4d5e6f", "0f0f0f0f0f0f", "/opt/depqa_ray")
INFO = EngineInfo("shared_prefix", "some/model", "NVIDIA H200", "bfloat16", 7, code=CODE)


def answering(**fields: Any) -> ReplicaDescription:
    return describe_replica("answer", replace(INFO, **fields))


def asked_for_edges(**fields: Any) -> ReplicaDescription:
    return describe_replica("edge", replace(INFO, **fields))


def manifest_of(*replicas: ReplicaDescription, **fields: Any) -> Manifest:
    labels = {"engine": "shared_prefix", "model": "some/model", "dataset": "squad"} | fields.pop("labels", {})
    return replace(sample_manifest(**labels), replicas=replicas, **fields)


def provenance(*replicas: ReplicaDescription, **fields: Any) -> ProvenanceView:
    return provenance_view(compute_results(RunRecords(manifest_of(*replicas, **fields), (velcarn(),))))


def facts(*replicas: ReplicaDescription, **fields: Any) -> Mapping[str, str]:
    return dict(provenance(*replicas, **fields).facts)


def test_engine_that_really_answered_is_shown() -> None:
    """If another engine answered, it is named, and so is the one that was asked for."""
    assert facts(answering())["Engine"] == "shared_prefix"
    assert facts(answering(engine="transformers"))["Engine"] == "transformers (asked for: shared_prefix)"
    mixed = facts(answering(), answering(engine="transformers"), asked_for_edges(engine="openai"))
    assert mixed["Engine"] == "shared_prefix and transformers (asked for: shared_prefix)"


def test_engine_of_the_dependencies_is_shown() -> None:
    """If another engine than asked for proposed the dependencies, it is named."""
    fields = {"labels": {"edges": "model (big/model, shared_prefix)"}, "settings": {"deps_engine": "shared_prefix"}}
    assert facts(asked_for_edges(), **fields)["Dependencies"] == "model (big/model, shared_prefix)"
    found = facts(asked_for_edges(engine="transformers"), commits={"edge_model": COMMIT}, **fields)["Dependencies"]
    assert found == "model (big/model, shared_prefix) at 1cfa9a7, answered by transformers"


def test_device_is_that_of_the_replicas() -> None:
    """If replicas are known, their devices are shown, not those of the cluster."""
    assert facts()["Device"] == "Imaginary Accelerator"
    assert facts(answering(device="CPU, 4 threads"))["Device"] == "CPU, 4 threads"
    assert facts(answering(), asked_for_edges())["Device"] == "NVIDIA H200"
    both = facts(answering(), answering(device="NVIDIA A100"), asked_for_edges(device="CPU, 4 threads"))
    assert both["Device"] == "NVIDIA H200, NVIDIA A100; for dependencies: CPU, 4 threads"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("some/model", "some/model at 1cfa9a7"),
        ("some/model@v1", "some/model@v1 at 1cfa9a7"),
        (f"some/model@{COMMIT}", "some/model at 1cfa9a7"),
        ("some/model@1cfa9a72", "some/model at 1cfa9a7"),
    ],
)
def test_commits_are_shown(name: str, shown: str) -> None:
    """If a commit is known, it stands behind the name."""
    fields = {"labels": {"model": name, "dataset": name}}
    found = facts(commits={"model": COMMIT, "dataset": COMMIT}, **fields)
    assert (found["Model"], found["Data set"]) == (shown, shown)
    assert facts(**fields)["Model"] == name


def test_commit_of_the_edge_model_is_shown() -> None:
    found = facts(commits={"edge_model": COMMIT}, labels={"edges": "model (big/model, transformers)"})
    assert found["Dependencies"] == "model (big/model, transformers) at 1cfa9a7"


def test_code_is_shown() -> None:
    """The package's version is shown with the digest of its sources, or alone for earlier runs."""
    assert facts(code=CODE)["Code"] == "depqa-ray 0.1.0, sources 1a2b3c4d5e6f"
    assert facts(code=replace(CODE, version=""))["Code"] == "depqa-ray, sources 1a2b3c4d5e6f"
    assert facts(code=None, versions={"depqa-ray": "0.0.9"})["Code"] == "depqa-ray 0.0.9"
    assert facts(code=None, versions={})["Code"] == "unknown"


def test_each_note_of_a_replica_is_shown_once() -> None:
    """If several kinds of replicas say the same, it is one note; a note about dependencies says so."""
    found = provenance(
        asked_for_edges(notes=("No template.", "No kernel.")), answering(notes=("No template.", "It is slow."))
    )
    assert found.notes == ("No template.", "It is slow.", "Dependencies: No kernel.")


def test_replicas_that_differ_are_noted() -> None:
    """If replicas of one role differ in what latencies depend on, a note says in what."""
    slow = answering(device="CPU, 4 threads", dtype="float32", engine="transformers", code=replace(CODE, kernel=""))
    assert provenance(answering(), slow).notes == (
        "Replicas differ, and latencies mix them: engine (shared_prefix; transformers), "
        "device (NVIDIA H200; CPU, 4 threads), dtype (bfloat16; float32), compiled kernel (yes; no).",
    )
    other = asked_for_edges(code=replace(CODE, sources="ffff"))
    assert provenance(answering(), asked_for_edges(), other).notes == (
        "Replicas that are asked for dependencies differ, and latencies mix them: "
        "code (depqa-ray 0.1.0, sources 1a2b3c4d5e6f; depqa-ray 0.1.0, sources ffff).",
    )


def test_harmless_differences_are_not_noted() -> None:
    """If replicas differ in a folder or in their own build of the kernel, or in their role, no note says so."""
    elsewhere = answering(code=replace(CODE, folder="/srv/depqa_ray", kernel="abababababab"))
    assert provenance(answering(), elsewhere, asked_for_edges(device="CPU, 4 threads")).notes == ()


def test_note_with_markup_is_text_on_the_page() -> None:
    """If a note holds a script, the page shows its text and runs nothing."""
    note = "<script>alert(1)</script> & \x1b[31mred"
    html = render(index_view(compute_results(RunRecords(manifest_of(answering(notes=(note,))), (velcarn(),)))))
    page = read_page(html)
    (shown,) = (element.text for element in page.all("p") if element.attributes.get("role") == "note")
    assert "<script>alert(1)</script> & \u241b[31mred" in shown
    assert not page.all("script") and "\x1b" not in html


def test_long_note_is_shortened() -> None:
    """If a note is very long, its beginning is shown."""
    (note,) = provenance(answering(notes=("word " * 300,))).notes
    assert 390 < len(note) <= 400 and note.endswith("…")
