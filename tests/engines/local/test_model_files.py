"""Files of a model that are missing or damaged are named before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from depqa_ray import hub
from depqa_ray.engines.local.model_files import UnusableModelError, check_files, model_source, weight_files
from depqa_ray.reader import weights_folder
from depqa_ray.settings.types import EMBEDDED
from tests.engines.damage import truncate

INDEX = "model.safetensors.index.json"


def safetensors(size: int = 64) -> bytes:
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model in two shards, as far as its files go."""
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    (tmp_path / "tokenizer.json").write_text("{}")
    names = [f"model-{number}-of-2.safetensors" for number in (1, 2)]
    for name in names:
        (tmp_path / name).write_bytes(safetensors())
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1]}}))
    return tmp_path


def rename_weights(folder: Path, name: str) -> None:
    (folder / INDEX).unlink()
    for number in (1, 2):
        path = folder / f"model-{number}-of-2.safetensors"
        path.rename(folder / name) if number == 1 else path.unlink()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), r"has no config\.json, only .*1-of-2"),
    "damaged config": (
        lambda f: truncate(f / "config.json"),
        r"config\.json is damaged: it is not JSON; copy or fetch it again",
    ),
    "config of a list": (lambda f: (f / "config.json").write_text("[1]"), r"config\.json is damaged"),
    "nested config": (lambda f: (f / "config.json").write_text("[" * 100_000), r"config\.json is damaged"),
    "damaged tokenizer": (lambda f: truncate(f / "tokenizer.json"), r"tokenizer\.json is damaged"),
    "adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "an adapter .* merge it into its base model"),
    "pickled": (
        lambda f: rename_weights(f, "pytorch_model.bin"),
        r"neither model\.safetensors nor .*pytorch_model\.bin",
    ),
    "other format": (lambda f: rename_weights(f, "q4.gguf"), r"neither model\.safetensors nor .*, only .*q4\.gguf"),
    "no index": (lambda f: (f / INDEX).unlink(), r"neither model\.safetensors nor .*index\.json, only "),
    "damaged index": (lambda f: truncate(f / INDEX), r"index\.json is damaged"),
    "empty index": (lambda f: (f / INDEX).write_text("{}"), r"index\.json is damaged: it names no files"),
    "missing shard": (
        lambda f: (f / "model-2-of-2.safetensors").unlink(),
        r"lacks model-2-of-2\.safetensors, named in",
    ),
    "shard elsewhere": (
        lambda f: (f / INDEX).write_text('{"weight_map": {"a": "../other/model.safetensors"}}'),
        r"lacks \.\./other/model\.safetensors",
    ),
    "cut shard": (
        lambda f: truncate(f / "model-2-of-2.safetensors", 0.9),
        r"model-2-of-2\.safetensors is damaged: it has \d+ bytes instead of \d+; copy or fetch it again",
    ),
    "longer shard": (
        lambda f: (f / "model-1-of-2.safetensors").write_bytes(safetensors() + b"x"),
        r"model-1-of-2\.safetensors is damaged: it has \d+ bytes instead of \d+",
    ),
    "a page instead": (
        lambda f: (f / "model-1-of-2.safetensors").write_text("<html>not found</html>"),
        r"model-1-of-2\.safetensors is damaged: it has no whole safetensors header",
    ),
    "an empty file": (
        lambda f: (f / "model-1-of-2.safetensors").write_bytes(b""),
        r"model-1-of-2\.safetensors is damaged: it has no whole safetensors header",
    ),
    "a pointer of git": (
        lambda f: (f / "model-1-of-2.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 9\n"),
        r"model-1-of-2\.safetensors is damaged: it has no whole safetensors header",
    ),
}


def test_whole_folder_is_accepted(folder: Path) -> None:
    """If all files are there and whole, nothing is refused."""
    check_files(folder)
    assert [path.name for path in weight_files(folder)] == ["model-1-of-2.safetensors", "model-2-of-2.safetensors"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_missing_or_damaged_file_is_named(folder: Path, damage: str) -> None:
    """If a file is missing or damaged, the error names it, in one line, with what to do."""
    do, expected = DAMAGES[damage]
    do(folder)
    with pytest.raises(UnusableModelError, match=expected) as caught:
        check_files(folder)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)


def test_damaged_file_of_the_cache_is_the_one_to_delete(folder: Path) -> None:
    """If a damaged file is a link of the hub's cache, the advice names the file itself: a link would come back."""
    path, blob = folder / "model-1-of-2.safetensors", folder / "blob"
    path.rename(blob)
    path.symlink_to(blob)
    truncate(blob)
    with pytest.raises(UnusableModelError, match=f"1-of-2.safetensors is damaged.*; delete {blob.resolve()} and run"):
        check_files(folder)


def test_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(UnusableModelError, match=r"has no config\.json: it is empty"):
        check_files(tmp_path)


def test_models_are_loaded_from_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is itself, "embedded" the package's, a hub's name the folder of its commit; a lost path is refused."""
    asked = []

    def found(name: str, commit: str = "") -> Path:
        asked.append((name, commit))
        return folder

    monkeypatch.setattr(hub, "model_folder", found)
    assert model_source(str(folder)) == folder
    assert model_source(EMBEDDED) == weights_folder()
    assert model_source("owner/name", "c0ffee") == model_source("gpt2") == folder
    assert asked == [("owner/name", "c0ffee"), ("gpt2", "")]
    for lost in (str(folder / "nowhere"), "./nowhere", "~/models/x", "a/b/c"):
        with pytest.raises(UnusableModelError, match="no such folder"):
            model_source(lost)
