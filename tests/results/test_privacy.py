"""A run directory holds no secrets, and nothing that names the machine or its user."""

from __future__ import annotations

from pathlib import Path

import pytest

from depqa_ray.results.privacy import public_settings, public_text


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


@pytest.mark.parametrize(
    ("text", "public"),
    [
        (f"{Path.home()}/models/x", "~/models/x"),
        (f"cannot read {Path.home()}/models/x.", "cannot read ~/models/x."),
        ("cannot read '/home/ann/models/x': it is damaged", "cannot read '~/models/x': it is damaged"),
        ("in /Users/ann: no file", "in ~: no file"),
        ("/mnt/scratch/home/ann/venv/lib", "~/venv/lib"),
        ("the server at https://ann:p@w@example.org/home/v1?key=p", "the server at https://example.org/home/v1"),
        ("/opt/homes/lib", "/opt/homes/lib"),
        ("half \udcff", "half ?"),
    ],
)
def test_text_of_a_replica_names_no_user(text: str, public: str) -> None:
    """If a replica's text names a home folder or a user in an address, that part is cut."""
    assert public_text(text) == public


def test_home_of_a_longer_name_is_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the whole name of the home folder is cut."""
    monkeypatch.setenv("HOME", "/data/people/ann")

    assert public_text("in /data/people/ann/x, /data/people/anna/x") == "in ~/x, /data/people/anna/x"


def test_long_paths_are_made_public_quickly() -> None:
    """A text of a million characters takes no time worth mentioning."""
    assert public_text("/a" * 500_000).startswith("/a/a")
