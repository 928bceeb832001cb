"""The manifest's content, and data that it must never contain."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from depqa_ray.results.manifest import (
    Manifest,
    RunLabels,
    fingerprint,
    make_manifest,
    manifest_to_json,
    public_settings,
    settings_manifest,
)
from depqa_ray.settings.load import Settings, load_settings


def test_secrets_are_left_out_at_any_depth() -> None:
    settings = {
        "api_key": "a",
        "HF_TOKEN": "b",
        "clientSecret": "c",
        "tokens": "d",
        "password": "e",
        "nested": {"list": [{"secret": "f", "kept": 1}]},
        "extra_headers": {"Authorization": "g"},
    }

    assert public_settings(settings) == {"nested": {"list": [{"kept": 1}]}, "extra_headers": {}}


def test_counts_of_tokens_and_tokenizers_are_no_secrets() -> None:
    settings = {"max_new_tokens": 48, "prompt_tokens": None, "tokenizer": "plain"}

    assert public_settings(settings) == settings


def test_values_become_plain_json() -> None:
    settings = {"a": Path("x") / "y", "b": (1, 2.5), "c": {"z", "y"}, "d": float("inf"), "e": True, 5: None}

    assert public_settings(settings) == {"a": "x/y", "b": [1, 2.5], "c": ["y", "z"], "d": "inf", "e": True, "5": None}


def test_home_folders_and_users_in_addresses_are_cut() -> None:
    settings = {"run_dir": str(Path.home() / "runs"), "url": "https://ann:p@w@example.org/v1?key=p", "half": "\udcff"}

    assert public_settings(settings) == {"run_dir": "~/runs", "url": "https://example.org/v1", "half": "?"}


def test_the_manifest_describes_the_machine_and_does_not_name_it() -> None:
    manifest = manifest_to_json(make_manifest(RunLabels(model="m"), {"a": 1}, started="2026-01-01T00:00:00+00:00"))

    assert manifest["system"] == f"{platform.system()} {platform.machine()}"
    assert manifest["python"] == platform.python_version()
    assert manifest["cpus"] > 0
    assert manifest["versions"]["numpy"]
    assert set(manifest) == {
        "version", "labels", "settings", "fingerprint", "started", "prompt_version", "versions", "python", "system",
        "cpus", "devices",
    }  # fmt: skip


def test_fingerprint_follows_the_answer_affecting_settings() -> None:
    """The fingerprint follows the settings that affect answers and no others."""

    def of(**settings: object) -> str:
        return make_manifest(RunLabels(), settings, started="now", answer_affecting={"seed", "model"}).fingerprint

    assert of(seed=1, model="a", out="x") == of(model="a", seed=1, out="y")
    assert of(seed=1, model="a") != of(seed=2, model="a")
    assert len(of()) == 64


def test_fingerprint_ignores_secrets() -> None:
    """The fingerprint does not depend on secrets."""
    assert fingerprint({"seed": 1, "token": "a"}) == fingerprint({"seed": 1, "token": "b"})


def test_a_manifest_is_made_from_settings() -> None:
    settings = Settings(model_name="embedded", dataset="embedded", engine="simulated")

    manifest = settings_manifest(settings, ["sequential"], started="now")

    assert manifest.labels == RunLabels("embedded", "simulated", "embedded", "model", True, ("sequential",), True)
    assert manifest.settings["max_new_tokens"] == settings.max_new_tokens
    assert manifest.fingerprint != settings_manifest(settings, ["full_batch"], started="now").fingerprint


def test_system_prompt_is_kept_and_changes_the_fingerprint(tmp_path: Path) -> None:
    """The manifest keeps the text of the system prompt, and another text gives another fingerprint."""
    path = tmp_path / "line.txt"

    def of(text: str) -> Manifest:
        path.write_text(text, "utf-8")
        return settings_manifest(load_settings({"system_prompt_file": str(path)}), ["sequential"], started="now")

    assert of("Be brief.").settings["system_prompt"] == "Be brief."
    assert of("Be brief.").fingerprint == of("Be brief.\n").fingerprint
    assert of("Be brief.").fingerprint != of("Be briefer.").fingerprint
    private = "See https://example.org/?key={}"
    assert "1" not in of(private.format(1)).settings["system_prompt"]
    assert of(private.format(1)).fingerprint != of(private.format(2)).fingerprint


def test_the_examples_are_kept_and_follow_from_the_settings() -> None:
    plain = settings_manifest(Settings(), ["sequential"], started="now")
    shown = settings_manifest(Settings(), ["sequential"], started="now", examples=["a", "b"])
    assert (plain.settings["examples"], shown.settings["examples"]) == ([], ["a", "b"])
    assert plain.fingerprint == shown.fingerprint
    assert plain.fingerprint != settings_manifest(Settings(shots=1), ["sequential"], started="now").fingerprint


@pytest.mark.parametrize("prefix", ["", "musique:"])
def test_the_home_folder_is_cut_from_the_data_sets_name_too(prefix: str) -> None:
    settings = Settings(dataset=f"{prefix}{Path.home()}/data/x.jsonl", model_name="embedded", engine="simulated")
    manifest = settings_manifest(settings, ["sequential"], started="now")
    assert manifest.labels.dataset == manifest.settings["dataset"] == f"{prefix}~/data/x.jsonl"


def test_manifest_names_the_edge_model() -> None:
    """If a model is asked for edges, the manifest names it."""
    settings = Settings(deps_engine="openai", deps_model="big/model", engine="simulated")
    assert settings_manifest(settings, ["sequential"], started="now").labels.edges == "model (big/model, openai)"
